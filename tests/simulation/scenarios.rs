//! The scenarios: every pair of operations, triples, and random ones.

use hyper_session::session::CookiePolicy;

use crate::{
    driver::Scenario,
    schedule::Random,
    script::{Actor, LoadKind, Op},
};

/// Returns an actor for each operation.
fn operations() -> Vec<Actor> {
    let write = |ops: &[Op]| Actor::new(LoadKind::Write, ops);
    let single = [
        Op::Put,
        Op::Increment,
        Op::Forget,
        Op::Clear,
        Op::Flash,
        Op::Reflash,
        Op::Tag,
        Op::Untag,
        Op::Regenerate,
        Op::Destroy,
    ];
    let mut actors: Vec<Actor> = single.iter().map(|op| write(&[*op])).collect();
    actors.push(write(&[Op::PutText]));
    actors.push(write(&[Op::Increment, Op::Commit, Op::Put]));
    actors.push(Actor::new(LoadKind::ReadOnly, &[]));
    actors.push(Actor::new(LoadKind::Skip, &[]));
    let mut dropped = write(&[Op::Increment]);
    dropped.may_be_dropped = true;
    actors.push(dropped);
    actors.push(expiry());
    actors
}

fn expiry() -> Actor {
    Actor {
        is_expiry: true,
        ..Actor::new(LoadKind::Skip, &[])
    }
}

fn scenario(actors: Vec<Actor>) -> Scenario {
    let is_untouched = |it: &Actor| it.load == LoadKind::Skip && !it.is_expiry;
    let mut engines = actors.iter().filter(|it| !it.is_expiry).map(|it| it.engine);
    let is_same_process = engines.all(|engine| engine == 0);
    Scenario {
        policy: CookiePolicy::Rolling,
        is_stored: true,
        is_renewal_due: actors.iter().any(is_untouched),
        // The answer to one process changes nothing that another process can see.
        answers_at_once: !is_same_process,
        max_faults: 1,
        max_preemptions: usize::MAX,
        actors,
    }
}

/// Returns all pairs of operations, in one process and in two.
pub(crate) fn pairs() -> Vec<Scenario> {
    let operations = operations();
    let mut pairs = Vec::new();
    for (at, first) in operations.iter().enumerate() {
        for second in &operations[at..] {
            for engine in 0..2 {
                let mut second = second.clone();
                second.engine = engine;
                pairs.push(scenario(vec![first.clone(), second]));
            }
        }
    }
    pairs
}

/// Returns the pairs of first writes of a session that was never stored.
pub(crate) fn first_writes() -> Vec<Scenario> {
    let ops = [
        Op::Put,
        Op::Increment,
        Op::Clear,
        Op::Flash,
        Op::Tag,
        Op::Regenerate,
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
        actors.push(expiry());
        Scenario {
            max_faults: 0,
            max_preemptions: 4,
            ..scenario(actors)
        }
    };
    writers.iter().map(scenario).collect()
}

const OPS: [Op; 12] = [
    Op::Put,
    Op::PutText,
    Op::Increment,
    Op::Forget,
    Op::Clear,
    Op::Flash,
    Op::Reflash,
    Op::Tag,
    Op::Untag,
    Op::Regenerate,
    Op::Destroy,
    Op::Commit,
];

/// Returns a random scenario.
pub(crate) fn random(random: &mut Random) -> Scenario {
    let is_stored = !random.one_in(4);
    let has_expiry = is_stored && random.one_in(6);
    let mut actors: Vec<Actor> = Vec::new();
    for number in 0..2 + random.below(4) {
        let mut actor = random_actor(random);
        // A response may be older than the tombstone of its session only if there is no expiry.
        if number > 0 && !has_expiry && random.one_in(3) {
            let previous = random.below(number);
            actor.follows = Some(previous);
            actor.visitor = actors[previous].visitor;
        }
        actors.push(actor);
    }
    if has_expiry {
        let number = random.below(actors.len());
        actors[number].is_expiry = true;
    }
    Scenario {
        actors,
        // Under the other policy, a visitor has no cookie before something is stored.
        policy: match is_stored && random.one_in(3) {
            true => CookiePolicy::WhenUsed,
            false => CookiePolicy::Rolling,
        },
        is_stored,
        is_renewal_due: random.one_in(3),
        answers_at_once: random.one_in(3),
        max_faults: usize::from(random.one_in(2)),
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
