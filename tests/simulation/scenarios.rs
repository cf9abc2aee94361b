//! The scenarios: every pair of operations, triples, and random ones.

use hyper_session::session::CookiePolicy;

use crate::{
    driver::Scenario,
    schedule::Random,
    script::{Actor, JobChange, LoadKind, Op, Role},
    store::ListOrder,
};

/// A job that destroys the newest session.
const LISTED_END: Role = Role::ListedJob(JobChange::End);

/// Returns an actor for each operation.
fn operations() -> Vec<Actor> {
    let write = |ops: &[Op]| Actor::new(LoadKind::Write, ops);
    let single = [
        Op::Put,
        Op::Increment,
        Op::Forget,
        Op::Push,
        Op::RemoveValue,
        Op::Update,
        Op::UpdateAll,
        Op::Replace,
        Op::Clear,
        Op::Flash,
        Op::Reflash,
        Op::Tag,
        Op::Untag,
        Op::MaxAge,
        Op::Regenerate,
        Op::Rotate,
        Op::Destroy,
    ];
    let mut actors: Vec<Actor> = single.iter().map(|op| write(&[*op])).collect();
    actors.push(write(&[Op::PutText]));
    actors.push(write(&[Op::Increment, Op::Commit, Op::Put]));
    actors.push(Actor::new(LoadKind::ReadOnly, &[]));
    actors.push(Actor::new(LoadKind::Skip, &[]));
    let dropped = [Op::Increment, Op::Tag, Op::Regenerate, Op::Rotate];
    actors.extend(dropped.map(|op| Actor {
        may_be_dropped: true,
        ..write(&[op])
    }));
    let others = [Role::Expiry, Role::WindowEnd, Role::SignOut];
    actors.extend(others.map(Actor::with_role));
    let jobs = JobChange::KEEPING.map(Role::Job);
    actors.extend(jobs.map(Actor::with_role));
    let jobs = JobChange::ALL.map(Role::ListedJob);
    actors.extend(jobs.map(Actor::with_role));
    actors
}

fn scenario(actors: Vec<Actor>) -> Scenario {
    let is_untouched = |it: &Actor| it.load == LoadKind::Skip && it.role == Role::Request;
    let mut engines = actors
        .iter()
        .filter(|it| !it.is_clock())
        .map(|it| it.engine);
    let is_same_process = engines.all(|engine| engine == 0);
    Scenario {
        policy: CookiePolicy::Rolling,
        is_stored: true,
        list_order: ListOrder::OldestFirst,
        is_renewal_due: actors.iter().any(is_untouched),
        // The answer to one process changes nothing that another process can see.
        answers_at_once: !is_same_process,
        // A regeneration that fails may leave its old record, whatever ends the new one.
        max_faults: usize::from(!actors.iter().any(|it| it.role == LISTED_END)),
        max_preemptions: usize::MAX,
        actors,
    }
}

/// Adds a copy of each scenario with an administrator who destroys the newest session first.
fn with_both_orders(mut scenarios: Vec<Scenario>) -> Vec<Scenario> {
    let is_sign_out = |it: &&Scenario| it.actors.iter().any(|it| it.role == Role::SignOut);
    let copies = scenarios.iter().filter(is_sign_out).map(|it| Scenario {
        list_order: ListOrder::NewestFirst,
        ..it.clone()
    });
    let copies: Vec<_> = copies.collect();
    scenarios.extend(copies);
    scenarios
}

/// Returns all pairs of operations, in one process and in two.
pub(crate) fn pairs() -> Vec<Scenario> {
    let operations = operations();
    let mut pairs = Vec::new();
    for (at, first) in operations.iter().enumerate() {
        for second in &operations[at..] {
            // A session that loses its tag meanwhile may be destroyed or not.
            if first.ops.contains(&Op::Untag) && second.role == Role::SignOut {
                continue;
            }
            for engine in 0..2 {
                let mut second = second.clone();
                second.engine = engine;
                pairs.push(scenario(vec![first.clone(), second]));
            }
        }
    }
    with_both_orders(pairs)
}

/// Returns a request that changes the session during an explicit commit, beside each operation.
pub(crate) fn late_changes() -> Vec<Scenario> {
    let late = [
        &[Op::Increment, Op::CommitBeside, Op::Put, Op::Flash, Op::Tag][..],
        &[
            Op::Put,
            Op::CommitBeside,
            Op::Increment,
            Op::Push,
            Op::Update,
        ],
    ];
    let mut pairs = Vec::new();
    for ops in late {
        for second in operations() {
            for engine in 0..2 {
                let mut second = second.clone();
                second.engine = engine;
                pairs.push(scenario(vec![Actor::new(LoadKind::Write, ops), second]));
            }
        }
    }
    with_both_orders(pairs)
}

/// Returns the pairs of first writes of a session that was never stored.
pub(crate) fn first_writes() -> Vec<Scenario> {
    let ops = [
        Op::Put,
        Op::Increment,
        Op::Clear,
        Op::Flash,
        Op::Tag,
        Op::MaxAge,
        Op::Regenerate,
        Op::Rotate,
        Op::Destroy,
    ];
    let mut pairs = Vec::new();
    for (at, first) in ops.iter().enumerate() {
        for second in &ops[at..] {
            for engine in 0..2 {
                let write = |op: Op| Actor::new(LoadKind::Write, &[Op::Put, op]);
                let mut actors = vec![write(*first), write(*second)];
                actors[1].engine = engine;
                let mut scenario = scenario(actors);
                scenario.is_stored = false;
                pairs.push(scenario);
            }
        }
    }
    pairs
}

/// Returns all triples of the operations that interact most, in one process, and with one or two of
/// them in another process.
pub(crate) fn triples() -> Vec<Scenario> {
    let ops = [
        Op::Put,
        Op::Increment,
        Op::Regenerate,
        Op::Destroy,
        Op::Tag,
        Op::Flash,
    ];
    let mut triples = Vec::new();
    for (at, first) in ops.iter().enumerate() {
        for (next, second) in ops.iter().enumerate().skip(at) {
            for third in &ops[next..] {
                for engines in [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]] {
                    let pairs = [first, second, third].into_iter().zip(engines);
                    let actors = pairs.map(|(op, engine)| Actor {
                        engine,
                        ..Actor::new(LoadKind::Write, &[*op])
                    });
                    let mut scenario = scenario(actors.collect());
                    scenario.answers_at_once = false;
                    scenario.max_preemptions = 2;
                    triples.push(scenario);
                }
            }
        }
    }
    triples
}

/// Returns a session that expires while one request regenerates it and two others write it.
pub(crate) fn expiries() -> Vec<Scenario> {
    let writers = [Op::Increment, Op::Tag, Op::Flash];
    let scenario = |op: &Op| {
        let ops = [Op::Regenerate, Op::Put, *op];
        let mut actors: Vec<Actor> = ops
            .iter()
            .map(|op| Actor::new(LoadKind::Write, &[*op]))
            .collect();
        actors.push(Actor::with_role(Role::Expiry));
        Scenario {
            max_faults: 0,
            max_preemptions: 4,
            ..scenario(actors)
        }
    };
    writers.iter().map(scenario).collect()
}

/// Returns a request that gives its session a new id, another request, and a job that changes the newest
/// session.
pub(crate) fn listed_jobs() -> Vec<Scenario> {
    let ops = [
        Op::Increment,
        Op::UpdateAll,
        Op::Flash,
        Op::Regenerate,
        Op::Rotate,
        Op::Destroy,
    ];
    let mut scenarios = Vec::new();
    for renewal in [Op::Regenerate, Op::Rotate] {
        for other in ops {
            for change in JobChange::ALL {
                for is_stored in [true, false] {
                    for engine in 0..2 {
                        let write = |op: Op| Actor::new(LoadKind::Write, &[Op::Tag, op]);
                        let mut actors = vec![write(renewal), write(other)];
                        actors[1].engine = engine;
                        let mut job = Actor::with_role(Role::ListedJob(change));
                        job.engine = 1 - engine;
                        actors.push(job);
                        let scenario = scenario(actors);
                        scenarios.push(Scenario {
                            is_stored,
                            max_preemptions: 2,
                            ..scenario
                        });
                    }
                }
            }
        }
    }
    scenarios
}

/// Returns a rotation, a request with the old id that runs beside it or after it, and a request with the
/// id of the response; and the end of the window, or an administrator who destroys the session.
pub(crate) fn rotations() -> Vec<Scenario> {
    let ops = [
        Op::Increment,
        Op::Flash,
        Op::Regenerate,
        Op::Rotate,
        Op::Destroy,
    ];
    let mut scenarios = Vec::new();
    for old in ops {
        for new in ops {
            for role in [Role::WindowEnd, Role::SignOut] {
                for engine in 0..2 {
                    let write = |op: Op| Actor::new(LoadKind::Write, &[op]);
                    let mut actors = vec![write(Op::Rotate), write(old), write(new)];
                    actors[1].engine = engine;
                    actors[2].follows = Some(0);
                    actors.push(Actor::with_role(role));
                    scenarios.push(Scenario {
                        max_preemptions: 2,
                        ..scenario(actors)
                    });
                }
            }
        }
    }
    with_both_orders(scenarios)
}

const OPS: [Op; 19] = [
    Op::Put,
    Op::PutText,
    Op::Increment,
    Op::Forget,
    Op::Push,
    Op::RemoveValue,
    Op::Update,
    Op::UpdateAll,
    Op::Replace,
    Op::Clear,
    Op::Flash,
    Op::Reflash,
    Op::Tag,
    Op::Untag,
    Op::MaxAge,
    Op::Regenerate,
    Op::Rotate,
    Op::Destroy,
    Op::Commit,
];

/// Returns a random scenario.
pub(crate) fn random(random: &mut Random) -> Scenario {
    let is_stored = !random.one_in(4);
    let role = match random.below(18) {
        0..3 if is_stored => Role::Expiry,
        3..6 => Role::WindowEnd,
        6 if is_stored => Role::SignOut,
        7..9 => Role::Job(random.pick(&JobChange::KEEPING)),
        9..11 => Role::ListedJob(random.pick(&JobChange::ALL)),
        _ => Role::Request,
    };
    let mut actors: Vec<Actor> = Vec::new();
    for number in 0..2 + random.below(4) {
        let mut actor = random_actor(random);
        // A response may be older than the tombstone of its session only if there is no expiry.
        if number > 0 && role != Role::Expiry && random.one_in(3) {
            let previous = random.below(number);
            actor.follows = Some(previous);
            actor.visitor = actors[previous].visitor;
        }
        actors.push(actor);
    }
    if role != Role::Request {
        let number = random.below(actors.len());
        actors[number].role = role;
        actors[number].may_be_dropped &= !matches!(role, Role::ListedJob(_));
        let followers = actors.iter_mut().filter(|it| it.follows == Some(number));
        followers.for_each(|it| it.follows = None);
        if matches!(role, Role::Job(_)) {
            // The key of a job is that of the visitor's first cookie.
            actors[number].follows = None;
        }
    }
    if role == LISTED_END {
        // A regeneration that is dropped may leave its old record, whatever ends the new one.
        actors.iter_mut().for_each(|it| it.may_be_dropped = false);
    }
    if role == Role::SignOut {
        // Sessions of several visitors, or without the tag, do not end at one moment.
        actors.iter_mut().for_each(|it| {
            it.visitor = 0;
            it.ops.retain(|op| *op != Op::Untag);
        });
    }
    Scenario {
        actors,
        // Under the other policy, a visitor has no cookie before something is stored.
        policy: match is_stored && random.one_in(3) {
            true => CookiePolicy::WhenUsed,
            false => CookiePolicy::Rolling,
        },
        is_stored,
        list_order: match random.one_in(2) {
            true => ListOrder::OldestFirst,
            false => ListOrder::NewestFirst,
        },
        is_renewal_due: random.one_in(3),
        answers_at_once: random.one_in(3),
        max_faults: usize::from(random.one_in(2) && role != LISTED_END),
        max_preemptions: usize::MAX,
    }
}

fn random_actor(random: &mut Random) -> Actor {
    let load = match random.below(10) {
        0 => LoadKind::ReadOnly,
        1 => LoadKind::Skip,
        _ => LoadKind::Write,
    };
    let count = match load {
        LoadKind::Write => 1 + random.below(4),
        _ => 0,
    };
    let ops: Vec<Op> = (0..count).map(|_| random.pick(&OPS)).collect();
    Actor {
        visitor: usize::from(random.one_in(5)),
        engine: random.below(2),
        may_be_dropped: random.one_in(6),
        ..Actor::new(load, &ops)
    }
}
