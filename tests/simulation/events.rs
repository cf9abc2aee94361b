//! The events of a history: what each request observed and changed, and between which steps.

use http::StatusCode;
use hyper_session::id::StoreKey;

use crate::script::{CommitResult, Entry, JobChange, Op, Values};

/// The outcome of a commit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Stored(StoreKey),
    /// The session had ended.
    Dropped,
    Refused,
    /// There was nothing to store.
    Unchanged,
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Load {
        is_read_only: bool,
        is_fresh: bool,
        key: StoreKey,
        data: Values,
        flash: Values,
    },
    Destroy {
        is_certain: bool,
    },
    Commit {
        number: usize,
        /// The request called `destroy` before these operations.
        is_first: bool,
        ops: Vec<Op>,
        /// The key of the new id, if an operation replaces the id.
        new_key: Option<StoreKey>,
        outcome: Outcome,
        /// The old and the new key of a regeneration that was reported.
        regenerated: Option<(StoreKey, StoreKey)>,
    },
    /// The data that a handler sees after an explicit commit, with the changes that it made during the commit. It
    /// may contain changes that were stored in the same write.
    View {
        data: Values,
        number: usize,
        late: Vec<Op>,
    },
    /// An administrator destroys the sessions with the tag of the first visit.
    SignOut {
        is_certain: bool,
    },
    /// A job changes a session.
    Job(ModelJob),
    /// The clock moves past the end of every grace window, and of every record if it is an expiry.
    Advance {
        is_expiry: bool,
    },
}

/// A job that changes the session with this key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelJob {
    /// The number of the actor.
    pub(crate) number: usize,
    pub(crate) change: JobChange,
    pub(crate) key: StoreKey,
    pub(crate) outcome: JobOutcome,
    /// The number that an update returned.
    pub(crate) sum: Option<i64>,
    /// The key is not that of a new record whose request did not give its id to the session. The end of such a
    /// record may have ended nothing, since another request gave the session a new id first.
    is_certain: bool,
}

/// The result of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobOutcome {
    Updated,
    /// There was no session.
    Ended,
    /// The number was a text.
    Unfit,
    Unknown,
}

/// One change or observation of a session, between two steps of the schedule.
#[derive(Clone, Debug)]
pub(crate) struct ModelEvent {
    /// The step from which the request may have read the clock.
    pub(crate) begun: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) effect: Effect,
}

impl ModelEvent {
    fn new(start: usize, end: usize, effect: Effect) -> Self {
        Self {
            begun: start,
            start,
            end,
            effect,
        }
    }

    /// Returns the event of a clock that moves at this step.
    pub(crate) fn advance(step: usize, is_expiry: bool) -> Self {
        Self::new(step, step, Effect::Advance { is_expiry })
    }

    /// Returns the event of an administrator who destroys sessions. `ended` is the step at which the
    /// call returned, and its result. A call that failed may have ended the new record of a rotation,
    /// which takes effect when that replaces the old one.
    pub(crate) fn sign_out(ended: Option<(usize, StatusCode)>) -> Self {
        let succeeded = ended.filter(|(_, status)| *status == StatusCode::OK);
        let end = succeeded.map_or(usize::MAX, |(step, _)| step);
        let is_certain = succeeded.is_some();
        Self::new(0, end, Effect::SignOut { is_certain })
    }

    /// Returns the step at which a sign-out ended, or `usize::MAX` if it failed. `None` for other events.
    pub(crate) fn sign_out_end(&self) -> Option<usize> {
        match self.effect {
            Effect::SignOut { is_certain: true } => Some(self.end),
            Effect::SignOut { is_certain: false } => Some(usize::MAX),
            _ => None,
        }
    }

    /// Returns the event of a job. `chosen` is the key, and the step at which the job knew it. `ended` is the
    /// step at which the call returned, and its result.
    pub(crate) fn job(
        number: usize,
        change: JobChange,
        (start, key): (usize, StoreKey),
        ended: Option<(usize, StatusCode)>,
        sum: Option<i64>,
    ) -> Self {
        let end = ended.map_or(usize::MAX, |(step, _)| step);
        let outcome = match ended.map(|(_, status)| status) {
            Some(StatusCode::OK) => JobOutcome::Updated,
            Some(StatusCode::NOT_FOUND) => JobOutcome::Ended,
            Some(StatusCode::CONFLICT) => JobOutcome::Unfit,
            _ => JobOutcome::Unknown,
        };
        let effect = Effect::Job(ModelJob {
            number,
            change,
            key,
            outcome,
            sum,
            is_certain: true,
        });
        Self::new(start, end, effect)
    }

    /// Returns `true` if it is unknown if the event took effect.
    pub(crate) fn is_optional(&self) -> bool {
        match &self.effect {
            Effect::Destroy { is_certain } | Effect::SignOut { is_certain } => !is_certain,
            Effect::Commit { outcome, .. } => *outcome == Outcome::Unknown,
            Effect::Job(job) => job.outcome == JobOutcome::Unknown || !job.is_certain,
            _ => false,
        }
    }

    /// Returns the key of the new id that a commit gives to its session.
    pub(crate) fn new_key(&self) -> Option<StoreKey> {
        match self.effect {
            Effect::Commit { new_key, .. } => new_key,
            _ => None,
        }
    }

    /// Returns the new key that a commit gave to its session.
    pub(crate) fn given_key(&self) -> Option<StoreKey> {
        match self.effect {
            Effect::Commit {
                outcome: Outcome::Stored(key),
                ..
            } if self.new_key() == Some(key) => Some(key),
            _ => None,
        }
    }

    pub(crate) fn loses_text(&self) -> bool {
        let Effect::Commit { ops, outcome, .. } = &self.effect else {
            return false;
        };
        ops.contains(&Op::PutText) && !matches!(outcome, Outcome::Stored(_))
    }

    /// Returns `true` if a session may be stored under an id that no response set.
    pub(crate) fn may_leave_record(&self) -> bool {
        let Effect::Commit { ops, outcome, .. } = &self.effect else {
            return false;
        };
        *outcome == Outcome::Unknown && ops.iter().any(|op| op.replaces_id())
    }
}

/// Lets the end of a new record that is pending take effect at the latest with the commit that stored the record.
pub(crate) fn end_with_commits(events: &mut [Vec<ModelEvent>]) {
    let commits = events.iter().flatten().filter_map(|event| {
        let key = event.new_key()?;
        Some((key, event.end, event.given_key() == Some(key)))
    });
    let commits: Vec<_> = commits.collect();
    for event in events.iter_mut().flatten() {
        if let Effect::Job(job) = &mut event.effect
            && job.change == JobChange::End
            && let Some((_, end, is_stored)) = commits.iter().find(|(key, ..)| *key == job.key)
        {
            event.end = event.end.max(*end);
            job.is_certain = *is_stored;
        }
    }
}

/// Returns the events of a request in the order of its program.
pub(crate) fn events_of(number: usize, entries: &[Entry]) -> Vec<ModelEvent> {
    let mut events = Vec::new();
    let mut initiated = None;
    for (at, entry) in entries.iter().enumerate() {
        match entry {
            Entry::Initiated { key, is_fresh } => initiated = Some((*key, *is_fresh)),
            Entry::Loaded {
                begun,
                executed,
                step,
                is_read_only,
                data,
                flash,
            } => {
                let (key, is_fresh) = initiated.expect("an event of the load");
                let effect = Effect::Load {
                    is_read_only: *is_read_only,
                    is_fresh,
                    key,
                    data: data.clone(),
                    flash: flash.clone(),
                };
                events.push(ModelEvent {
                    begun: *begun,
                    start: *executed,
                    // A request that finds no session may have waited until the end of a window.
                    end: if is_fresh { *step } else { *executed },
                    effect,
                });
            }
            Entry::Begun { step, ops, new_key } => {
                let number = number * 10 + events.len();
                let rest = &entries[at + 1..];
                events.extend(commit_events(number, *step, ops, *new_key, rest));
            }
            _ => {}
        }
    }
    events
}

/// Returns the events of one commit. `rest` is the history after its begin.
fn commit_events(
    number: usize,
    begun: usize,
    ops: &[Op],
    new_key: Option<StoreKey>,
    rest: &[Entry],
) -> Vec<ModelEvent> {
    let start = begun + 1;
    let ended = rest.iter().find_map(|entry| match entry {
        Entry::Ended {
            step,
            result,
            view,
            late,
        } => Some((
            *step,
            *result,
            view.clone().map(|view| (view, late.clone())),
        )),
        _ => None,
    });
    let (end, result, view) = ended.unwrap_or((usize::MAX, CommitResult::Unknown, None));
    let start = start.min(end);
    let unit = || {
        rest.iter()
            .take_while(|entry| !matches!(entry, Entry::Ended { .. }))
    };
    let mut events = Vec::new();
    let mut own_ops = ops;
    if let Some(at) = ops.iter().rposition(|op| *op == Op::Destroy) {
        own_ops = &ops[at + 1..];
        let destroyed = unit().find_map(|entry| match entry {
            Entry::Destroyed { step, .. } => Some(*step),
            _ => None,
        });
        // A session whose id was never sent is destroyed without a call.
        let is_certain = destroyed.is_some() || result != CommitResult::Unknown;
        let end = match is_certain {
            true => destroyed.unwrap_or(end),
            false => usize::MAX,
        };
        let effect = Effect::Destroy { is_certain };
        events.push(ModelEvent::new(start, end, effect));
    }
    let committed = unit().find_map(|entry| match entry {
        Entry::Committed(key) => Some(*key),
        _ => None,
    });
    let regenerated = unit().find_map(|entry| match entry {
        Entry::Regenerated { from, to, .. } => Some((*from, *to)),
        _ => None,
    });
    let is_dropped = unit().any(|entry| matches!(entry, Entry::Dropped));
    let outcome = match (committed, result) {
        (Some(key), _) => Outcome::Stored(key),
        // A refused commit may report that it drops later changes.
        (None, CommitResult::Refused) => Outcome::Refused,
        (None, _) if is_dropped => Outcome::Dropped,
        (None, CommitResult::Unknown) => Outcome::Unknown,
        (None, CommitResult::Success) => Outcome::Unchanged,
    };
    let end = match outcome {
        Outcome::Unknown => usize::MAX,
        _ => end,
    };
    let effect = Effect::Commit {
        number,
        is_first: own_ops.len() < ops.len(),
        ops: own_ops.to_vec(),
        new_key,
        outcome,
        regenerated,
    };
    events.push(ModelEvent::new(start, end, effect));
    if let (Some(_), Some((data, late))) = (committed, view) {
        let effect = Effect::View { data, number, late };
        events.push(ModelEvent::new(start, end, effect));
    }
    events
}
