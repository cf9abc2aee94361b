//! Requests of a simulation, and the history that they record.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body_util::Empty;
use hyper_session::{Session, SessionError, id::StoreKey, session::Event};
use serde_json::{Value, json};

use crate::store::Control;

/// The data or the flash messages of a session.
pub(crate) type Values = BTreeMap<String, Value>;

/// The timeout of a session without one of its own, in hours.
pub(crate) const DEFAULT_MAX_AGE: u32 = 2;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// The number that a job adds.
pub(crate) const JOB_AMOUNT: i64 = 100;

/// The tag that a job adds.
pub(crate) const JOB_TAG: &str = "job";

/// The grace window of a rotation.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// An operation of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put,
    /// Puts a text where others increment.
    PutText,
    Increment,
    Forget,
    /// Appends to a list, and adds a value that every actor adds.
    Push,
    /// Removes the first value of the list.
    RemoveValue,
    /// Changes a list by a function.
    Update,
    /// Changes fields of the whole session.
    UpdateAll,
    /// Replaces the whole session.
    Replace,
    Clear,
    Flash,
    Reflash,
    Tag,
    Untag,
    /// Sets a timeout of the session's own.
    MaxAge,
    Regenerate,
    /// Gives the session a new id, with a grace window for the old one.
    Rotate,
    Destroy,
    /// An explicit commit.
    Commit,
    /// An explicit commit, during which the later operations are made, up to the next commit.
    CommitBeside,
}

/// The way in which a request loads its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadKind {
    Write,
    ReadOnly,
    Skip,
}

impl Op {
    pub(crate) fn replaces_id(self) -> bool {
        matches!(self, Self::Regenerate | Self::Rotate)
    }

    fn is_commit(self) -> bool {
        matches!(self, Self::Commit | Self::CommitBeside)
    }
}

/// The kind of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Request,
    /// The clock moves past the end of every record.
    Expiry,
    /// The clock moves past the end of every grace window.
    WindowEnd,
    /// An administrator destroys all sessions with the tag of the first visit.
    SignOut,
    /// A job changes the session of a visitor, through the collection.
    Job(JobChange),
    /// A job lists the sessions with a tag and changes the newest one, which may be the new record of a
    /// request that gives its session a new id.
    ListedJob(JobChange),
}

/// The change of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobChange {
    /// Adds [`JOB_AMOUNT`] to the number.
    Add,
    /// Changes the fields that [`Op::UpdateAll`] changes.
    Fields,
    /// Adds [`JOB_TAG`].
    Tag,
    /// Destroys the session.
    End,
}

impl JobChange {
    /// The changes that keep the session.
    pub(crate) const KEEPING: [Self; 3] = [Self::Add, Self::Fields, Self::Tag];
    pub(crate) const ALL: [Self; 4] = [Self::Add, Self::Fields, Self::Tag, Self::End];
}

/// One actor of a schedule.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) role: Role,
    /// The visitor whose cookie the request carries.
    pub(crate) visitor: usize,
    /// The process that serves the request.
    pub(crate) engine: usize,
    pub(crate) load: LoadKind,
    pub(crate) ops: Vec<Op>,
    /// The request begins when this request has ended, with the cookies of its response.
    pub(crate) follows: Option<usize>,
    /// The schedule may drop the request's future.
    pub(crate) may_be_dropped: bool,
}

impl Actor {
    pub(crate) fn new(load: LoadKind, ops: &[Op]) -> Self {
        Self {
            role: Role::Request,
            visitor: 0,
            engine: 0,
            load,
            ops: ops.to_vec(),
            follows: None,
            may_be_dropped: false,
        }
    }

    /// Returns an actor that is not a request.
    pub(crate) fn with_role(role: Role) -> Self {
        Self {
            role,
            ..Self::new(LoadKind::Skip, &[])
        }
    }

    pub(crate) fn is_clock(&self) -> bool {
        matches!(self.role, Role::Expiry | Role::WindowEnd)
    }
}

/// The result of a commit, as its request sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitResult {
    Success,
    /// Nothing was stored, because a change did not fit.
    Refused,
    /// The changes may be stored or not.
    Unknown,
}

/// An entry of a request's history.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Loaded {
        /// The step at which the handler began.
        begun: usize,
        /// The step at which the last read was executed.
        executed: usize,
        step: usize,
        is_read_only: bool,
        data: Values,
        flash: Values,
    },
    /// The begin of a commit of these operations.
    Begun {
        step: usize,
        ops: Vec<Op>,
        /// The key of the new id, if an operation replaces the id.
        new_key: Option<StoreKey>,
    },
    Ended {
        step: usize,
        result: CommitResult,
        /// The data that the handler sees after an explicit commit.
        view: Option<Values>,
        /// The operations that the handler made during the explicit commit.
        late: Vec<Op>,
    },
    Initiated {
        key: StoreKey,
        is_fresh: bool,
    },
    Committed(StoreKey),
    /// A job chose the session with this key.
    Chosen {
        step: usize,
        key: StoreKey,
    },
    /// A job found the record of a new id that its session did not have yet, and waits.
    Waited,
    /// The number that the update of a job returned.
    Updated(i64),
    Destroyed {
        step: usize,
        key: StoreKey,
    },
    Regenerated {
        step: usize,
        from: StoreKey,
        to: StoreKey,
    },
    Dropped,
}

/// The histories of all requests.
#[derive(Clone, Default)]
pub(crate) struct History {
    control: Control,
    entries: Arc<Mutex<Vec<Vec<Entry>>>>,
}

impl History {
    pub(crate) fn new(control: &Control) -> Self {
        Self {
            control: control.clone(),
            entries: Arc::default(),
        }
    }

    /// Returns the number of jobs that waited for a new id and then changed the session.
    pub(crate) fn successes_after_wait(&self) -> usize {
        let is_success = |entries: &&Vec<Entry>| {
            let succeeded = |entry: &Entry| {
                matches!(
                    entry,
                    Entry::Ended {
                        result: CommitResult::Success,
                        ..
                    }
                )
            };
            let waited = |entry: &Entry| matches!(entry, Entry::Waited);
            entries.iter().any(waited) && entries.iter().any(succeeded)
        };
        self.lock().iter().filter(is_success).count()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Vec<Entry>>> {
        self.entries.lock().unwrap()
    }

    pub(crate) fn step(&self) -> usize {
        self.control.lock().step
    }

    pub(crate) fn push(&self, actor: usize, entry: Entry) {
        self.lock()[actor].push(entry);
    }

    /// Returns `true` if the last commit of an actor dropped its changes. Those made during it are dropped too.
    fn is_dropped(&self, actor: usize) -> bool {
        let entries = &self.lock()[actor];
        let commit = entries.iter().rev();
        commit
            .take_while(|entry| !matches!(entry, Entry::Begun { .. }))
            .any(|entry| matches!(entry, Entry::Dropped))
    }

    /// Records an event for the request that is polled now.
    pub(crate) fn record(&self, event: &Event<'_>) {
        let Some(actor) = self.control.lock().current else {
            return;
        };
        let entry = match *event {
            Event::Initiated { key, fresh } => Entry::Initiated {
                key,
                is_fresh: fresh,
            },
            Event::Committed { key } => Entry::Committed(key),
            Event::Destroyed { key } => Entry::Destroyed {
                step: self.step(),
                key,
            },
            Event::Regenerated { from, to } => Entry::Regenerated {
                step: self.step(),
                from,
                to,
            },
            Event::WriteDropped { .. } => Entry::Dropped,
            _ => return,
        };
        self.push(actor, entry);
    }
}

/// The handler of a request.
pub(crate) async fn handle(
    session: Session,
    number: usize,
    actor: Actor,
    history: History,
) -> Response<Empty<Bytes>> {
    run(&session, number, &actor, &history).await;
    Response::new(Empty::new())
}

async fn run(session: &Session, number: usize, actor: &Actor, history: &History) {
    let begun = history.step();
    let loaded = match actor.load {
        LoadKind::Write => session.load().await,
        LoadKind::ReadOnly => session.load_read_only().await,
        LoadKind::Skip => Ok(session),
    };
    if loaded.is_err() {
        return;
    }
    if actor.load != LoadKind::Skip {
        let executed = history.control.lock().executed.get(&number).copied();
        let step = history.step();
        let entry = Entry::Loaded {
            begun,
            executed: executed.unwrap_or(step),
            step,
            is_read_only: actor.load == LoadKind::ReadOnly,
            data: session.all().unwrap(),
            flash: session.flash_messages().unwrap().all().unwrap(),
        };
        history.push(number, entry);
    }
    let (mut ops, mut rest) = (Vec::new(), &actor.ops[..]);
    while let Some((op, later)) = rest.split_first() {
        rest = later;
        if !op.is_commit() {
            if apply(session, number, *op).is_ok() {
                ops.push(*op);
            }
            continue;
        }
        history.push(number, begin(session, history, std::mem::take(&mut ops)));
        let mut commit = pin!(session.commit());
        let mut committed = poll_once(commit.as_mut()).await;
        if *op == Op::CommitBeside && committed.is_pending() {
            let count = rest.iter().take_while(|op| !op.is_commit()).count();
            let (late, later) = rest.split_at(count);
            rest = later;
            let is_made = |op: &&Op| apply(session, number, **op).is_ok();
            ops.extend(late.iter().filter(is_made));
        }
        if committed.is_pending() {
            committed = Poll::Ready(commit.await);
        }
        let (result, view) = match committed {
            Poll::Ready(Ok(())) => (CommitResult::Success, session.all().ok()),
            Poll::Ready(Err(SessionError::Conflict { .. })) => (CommitResult::Refused, None),
            _ => (CommitResult::Unknown, None),
        };
        let (step, late) = (history.step(), ops.clone());
        let is_dropped = history.is_dropped(number);
        let ended = Entry::Ended {
            step,
            result,
            view,
            late,
        };
        history.push(number, ended);
        if result != CommitResult::Success || is_dropped {
            return;
        }
    }
    history.push(number, begin(session, history, ops));
}

async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

fn begin(session: &Session, history: &History, ops: Vec<Op>) -> Entry {
    let after_destroy = ops.rsplit(|op| *op == Op::Destroy).next();
    let replaces_id = after_destroy.is_some_and(|ops| ops.iter().any(|op| op.replaces_id()));
    Entry::Begun {
        step: history.step(),
        ops,
        new_key: replaces_id.then(|| session.store_key().unwrap()),
    }
}

fn apply(session: &Session, number: usize, op: Op) -> Result<(), SessionError> {
    match op {
        Op::Put => {
            session.put("p", number)?;
            session.put(own("p", number), true)
        }
        Op::PutText => session.put("n", "text"),
        Op::Increment => session.increment("n").map(drop),
        Op::Forget => session.forget("f").map(drop),
        Op::Push => {
            session.push("l", number)?;
            session.push_unique("l", "same")?;
            session.put_if_absent("a", number).map(drop)
        }
        Op::RemoveValue => session.remove_value("l", "first").map(drop),
        Op::Update => {
            let insert = move |list: &mut Vec<usize>| list.insert(0, number);
            session.update("u", insert).map(drop)
        }
        Op::UpdateAll => session
            .update_all(|all: &mut Values| update_fields(all, number))
            .map(drop),
        Op::Replace => session.replace(replacement(number)),
        Op::Clear => session.clear(),
        Op::Flash => {
            session.flash("m", number)?;
            session.flash(own("m", number), number)
        }
        Op::Reflash => session.reflash(),
        Op::Tag => {
            session.tag("t")?;
            session.tag(own("t", number))
        }
        Op::Untag => session.untag("first"),
        Op::MaxAge => session.set_max_age(HOUR * max_age(number)),
        Op::Regenerate => session.regenerate(),
        Op::Rotate => session.rotate_id(GRACE),
        Op::Destroy => session.destroy(),
        Op::Commit | Op::CommitBeside => Ok(()),
    }
}

/// Returns the timeout that an actor sets, in hours.
pub(crate) fn max_age(number: usize) -> u32 {
    DEFAULT_MAX_AGE + 1 + number as u32
}

/// Changes two fields of a nested object, one of which all actors change, and removes a value.
pub(crate) fn update_fields(all: &mut Values, number: usize) {
    all.remove("f");
    let nested = all.entry("s".to_owned()).or_insert(json!({}));
    nested["same"] = json!(number);
    nested[own("s", number)] = json!(true);
}

/// Returns the values with which an actor replaces all values.
pub(crate) fn replacement(number: usize) -> Values {
    let nested = json!({ own("s", number): false });
    let values = [("p", json!(number)), ("n", json!(10)), ("s", nested)];
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Returns a name that only this actor uses.
pub(crate) fn own(name: &'static str, number: usize) -> &'static str {
    const NAMES: [[&str; 6]; 4] = [
        ["p0", "p1", "p2", "p3", "p4", "p5"],
        ["m0", "m1", "m2", "m3", "m4", "m5"],
        ["s0", "s1", "s2", "s3", "s4", "s5"],
        ["t0", "t1", "t2", "t3", "t4", "t5"],
    ];
    NAMES
        .iter()
        .find(|names| names[0].starts_with(name))
        .unwrap()[number]
}

/// The data of a visitor before the schedule.
pub(crate) fn first_data(visitor: usize) -> Value {
    json!({"visitor": visitor, "n": 0, "p": "first", "f": true, "l": ["first"]})
}
