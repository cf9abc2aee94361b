//! The sequential specification: sessions as plain maps, and the search for an order of all events
//! in which a history is correct.
//!
//! A load takes effect when its read is executed. A commit takes effect at one moment between its
//! begin and its end, or never if its outcome is unknown.

use std::collections::{BTreeMap, BTreeSet};

use hyper_session::id::StoreKey;
use serde_json::{Value, json};

use crate::script::{CommitResult, Entry, Op, Values, own};

/// The name of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RecordId {
    Stored(StoreKey),
    /// The new record of the commit with this number, whose outcome is unknown.
    New(usize),
}

/// A session. The messages carry the number of the commit that flashed them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ModelRecord {
    pub(crate) data: Values,
    pub(crate) flash: BTreeMap<String, (Value, usize)>,
    pub(crate) tags: BTreeSet<String>,
}

/// A session as it is stored at the end. `flash` is `None` if no visitor has a cookie for it.
#[derive(Clone, Debug)]
pub(crate) struct FinalRecord {
    pub(crate) key: StoreKey,
    pub(crate) data: Values,
    pub(crate) flash: Option<Values>,
    pub(crate) tags: BTreeSet<String>,
}

/// The outcome of a commit.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Stored(StoreKey),
    /// The session had ended.
    Dropped,
    Refused,
    /// There was nothing to store.
    Unchanged,
    Unknown,
}

#[derive(Clone, Debug)]
enum Effect {
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
        outcome: Outcome,
        /// The old and the new key of a regeneration that was reported.
        regenerated: Option<(StoreKey, StoreKey)>,
    },
    /// The data that a handler sees after an explicit commit. It may contain changes that were stored
    /// in the same write.
    View(Values),
    Expire,
}

/// One change or observation of a session, between two steps of the schedule.
#[derive(Clone, Debug)]
pub(crate) struct ModelEvent {
    start: usize,
    end: usize,
    effect: Effect,
}

impl ModelEvent {
    /// Returns the event of the clock that moves past the end of every record.
    pub(crate) fn expiry(step: usize) -> Self {
        Self {
            start: step,
            end: step,
            effect: Effect::Expire,
        }
    }

    fn loses_text(&self) -> bool {
        let Effect::Commit { ops, outcome, .. } = &self.effect else {
            return false;
        };
        ops.contains(&Op::PutText) && !matches!(outcome, Outcome::Stored(_))
    }

    /// Returns `true` if a session may be stored under an id that no response set.
    fn may_leave_record(&self) -> bool {
        let Effect::Commit { ops, outcome, .. } = &self.effect else {
            return false;
        };
        *outcome == Outcome::Unknown && ops.contains(&Op::Regenerate)
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
                    start: *step,
                    end: *step,
                    effect,
                });
            }
            Entry::Begun { step, ops } => {
                let number = number * 10 + events.len();
                events.extend(commit_events(number, *step, ops, &entries[at + 1..]));
            }
            _ => {}
        }
    }
    events
}

/// Returns the events of one commit. `rest` is the history after its begin.
fn commit_events(number: usize, begun: usize, ops: &[Op], rest: &[Entry]) -> Vec<ModelEvent> {
    let start = begun + 1;
    let ended = rest.iter().find_map(|entry| match entry {
        Entry::Ended { step, result, view } => Some((*step, *result, view.clone())),
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
            Entry::Destroyed(step) => Some(*step),
            _ => None,
        });
        // A session whose id was never sent is destroyed without a call.
        let is_certain = destroyed.is_some() || result != CommitResult::Unknown;
        let end = match is_certain {
            true => destroyed.unwrap_or(end),
            false => usize::MAX,
        };
        let effect = Effect::Destroy { is_certain };
        events.push(ModelEvent { start, end, effect });
    }
    let committed = unit().find_map(|entry| match entry {
        Entry::Committed(key) => Some(*key),
        _ => None,
    });
    let regenerated = unit().find_map(|entry| match entry {
        Entry::Regenerated { from, to } => Some((*from, *to)),
        _ => None,
    });
    let is_dropped = unit().any(|entry| matches!(entry, Entry::Dropped));
    let outcome = match (committed, result) {
        (Some(key), _) => Outcome::Stored(key),
        (None, _) if is_dropped => Outcome::Dropped,
        (None, CommitResult::Refused) => Outcome::Refused,
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
        outcome,
        regenerated,
    };
    events.push(ModelEvent { start, end, effect });
    if let (Some(_), Some(view)) = (committed, view) {
        let effect = Effect::View(view);
        events.push(ModelEvent { start, end, effect });
    }
    events
}

/// The session as one request knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    /// `None` for a new session, whose key is not known.
    id: Option<RecordId>,
    /// The session was stored when the request loaded it.
    is_stored: bool,
    data: Values,
    /// The messages of this request.
    incoming: BTreeMap<String, (Value, usize)>,
    /// The next commit removes `incoming`.
    consumes: bool,
}

impl Knowledge {
    /// Returns what a request knows before it loads its session, from the key of its cookie.
    pub(crate) fn from_cookie(key: Option<StoreKey>) -> Self {
        Self {
            id: key.map(RecordId::Stored),
            ..Self::default()
        }
    }
}

/// The stored sessions, and the progress of every request.
#[derive(Clone, Debug)]
struct World {
    records: BTreeMap<RecordId, ModelRecord>,
    dead: BTreeSet<RecordId>,
    requests: Vec<Knowledge>,
    next: Vec<usize>,
    /// A text where others increment was not stored in the end. A change in one batch with it may be
    /// refused.
    has_lost_text: bool,
}

/// A change does not fit the stored session.
struct Unfit;

impl World {
    /// Applies an event of a request. Returns `false` if its observations are wrong at this moment.
    fn apply(&mut self, request: usize, event: &ModelEvent) -> bool {
        match &event.effect {
            Effect::Expire => {
                self.dead.extend(self.records.keys());
                self.records.clear();
                true
            }
            Effect::Load { .. } => self.load(request, &event.effect),
            Effect::Destroy { .. } => {
                if let Some(id) = self.requests[request].id {
                    self.records.remove(&id);
                    self.dead.insert(id);
                }
                true
            }
            Effect::Commit { .. } => self.commit(request, &event.effect),
            Effect::View(view) => {
                let known = &mut self.requests[request];
                known.data = view.clone();
                let record = known.id.and_then(|id| self.records.get(&id));
                record.is_some_and(|record| record.data == *view)
            }
        }
    }

    fn load(&mut self, request: usize, effect: &Effect) -> bool {
        let Effect::Load {
            is_read_only,
            is_fresh,
            key,
            data,
            flash,
        } = effect
        else {
            return false;
        };
        let known = &mut self.requests[request];
        let record = known.id.and_then(|id| self.records.get(&id));
        let key = RecordId::Stored(*key);
        if *is_fresh {
            let is_empty = data.is_empty() && flash.is_empty();
            known.id = Some(key);
            let may_be_used = !self.dead.contains(&key) && !self.records.contains_key(&key);
            return record.is_none() && is_empty && may_be_used;
        }
        let Some(record) = record.filter(|_| known.id == Some(key)) else {
            return false;
        };
        known.is_stored = true;
        known.data = record.data.clone();
        known.incoming = record.flash.clone();
        known.consumes = !is_read_only && !known.incoming.is_empty();
        record.data == *data && texts(&record.flash) == *flash
    }

    fn commit(&mut self, request: usize, effect: &Effect) -> bool {
        let Effect::Commit {
            number,
            is_first,
            ops,
            outcome,
            regenerated,
        } = effect
        else {
            return false;
        };
        if *is_first {
            self.requests[request] = Knowledge::default();
        }
        let known = self.requests[request].clone();
        let record = known.id.and_then(|id| self.records.get(&id));
        let is_dead = match known.id {
            Some(_) if known.is_stored => record.is_none(),
            Some(id) => self.dead.contains(&id),
            None => false,
        };
        let first = ModelRecord::default();
        let changed = changed(&known, record.unwrap_or(&first), *number, ops);
        let key = match outcome {
            Outcome::Dropped => return is_dead,
            Outcome::Refused => return changed.is_err() || self.has_lost_text,
            Outcome::Unchanged => {
                let is_same = changed.is_ok_and(|changed| changed == *record.unwrap_or(&first));
                let is_new = !known.is_stored && record.is_none();
                let regenerates = ops.contains(&Op::Regenerate);
                if is_new && regenerates {
                    self.requests[request].id = None;
                }
                return is_new || is_same && !regenerates;
            }
            Outcome::Stored(key) => Some(RecordId::Stored(*key)),
            Outcome::Unknown => None,
        };
        let Ok(changed) = changed else { return false };
        if is_dead {
            return false;
        }
        let moves = regenerated.is_some() || key.is_none() && ops.contains(&Op::Regenerate);
        if moves && let Some(old) = known.id {
            let from = regenerated.map(|(from, _)| RecordId::Stored(from));
            if from.is_some_and(|from| from != old) {
                return false;
            }
            self.records.remove(&old);
            self.dead.insert(old);
        }
        let new = RecordId::New(*number);
        let id = match known.id.filter(|_| !moves) {
            Some(id) if known.is_stored && key.is_some_and(|key| key != id) => return false,
            Some(id) => key.unwrap_or(id),
            None => key.unwrap_or(new),
        };
        if self.dead.contains(&id) {
            return false;
        }
        self.requests[request] = Knowledge {
            id: Some(id),
            is_stored: true,
            data: changed.data.clone(),
            incoming: known.incoming,
            consumes: false,
        };
        self.records.insert(id, changed);
        true
    }
}

fn texts(flash: &BTreeMap<String, (Value, usize)>) -> Values {
    let texts = flash
        .iter()
        .map(|(name, (text, _))| (name.clone(), text.clone()));
    texts.collect()
}

/// Returns the record after the operations of one commit.
fn changed(
    known: &Knowledge,
    record: &ModelRecord,
    number: usize,
    ops: &[Op],
) -> Result<ModelRecord, Unfit> {
    let mut next = record.clone();
    if known.consumes {
        next.flash
            .retain(|name, it| known.incoming.get(name) != Some(it));
    }
    let cleared = ops.iter().rposition(|op| *op == Op::Clear);
    if cleared.is_some() {
        next.data
            .retain(|name, it| known.data.get(name) != Some(it));
    }
    let actor = number / 10;
    for op in &ops[cleared.map_or(0, |at| at + 1)..] {
        let mut put = |name: &str, value| next.data.insert(name.to_owned(), value);
        match op {
            Op::Put => {
                put("p", json!(actor));
                put(own("p", actor), json!(true));
            }
            Op::PutText => drop(put("n", json!("text"))),
            Op::Increment => {
                let old = put("n", json!(0)).unwrap_or(json!(0));
                put("n", json!(old.as_i64().ok_or(Unfit)? + 1));
            }
            Op::Forget => drop(next.data.remove("f")),
            _ => {}
        }
    }
    change_messages_and_tags(known, &mut next, number, ops);
    Ok(next)
}

fn change_messages_and_tags(known: &Knowledge, next: &mut ModelRecord, number: usize, ops: &[Op]) {
    let actor = number / 10;
    if ops.contains(&Op::Reflash) {
        let kept = known.incoming.iter();
        let kept = kept.map(|(name, (text, _))| (name.clone(), (text.clone(), number)));
        next.flash.extend(kept);
    }
    if ops.contains(&Op::Flash) {
        for name in ["m", own("m", actor)] {
            let message = (json!(actor), number);
            next.flash.insert(name.to_owned(), message);
        }
    }
    for op in ops {
        match op {
            Op::Tag => next.tags.extend(["t", own("t", actor)].map(str::to_owned)),
            Op::Untag => drop(next.tags.remove("first")),
            _ => {}
        }
    }
}

/// What a schedule began with, and what it left.
pub(crate) struct Run {
    pub(crate) first: BTreeMap<RecordId, ModelRecord>,
    /// The key of the cookie of every request.
    pub(crate) requests: Vec<Knowledge>,
    pub(crate) events: Vec<Vec<ModelEvent>>,
    pub(crate) stored: Vec<FinalRecord>,
}

impl Run {
    /// Returns `true` if there is an order of all events in which every observation is correct and
    /// the stored sessions are the result.
    pub(crate) fn is_correct(&self) -> bool {
        let world = World {
            records: self.first.clone(),
            dead: BTreeSet::new(),
            requests: self.requests.clone(),
            next: vec![0; self.events.len()],
            has_lost_text: self.events.iter().flatten().any(ModelEvent::loses_text),
        };
        self.search(&world)
    }

    fn search(&self, world: &World) -> bool {
        let pending = |request: usize| &self.events[request][world.next[request]..];
        let requests = 0..self.events.len();
        let earliest_end = requests.clone().flat_map(pending).map(|it| it.end).min();
        let Some(earliest_end) = earliest_end else {
            return self.is_result(world);
        };
        for request in requests {
            let Some(event) = pending(request).first() else {
                continue;
            };
            if event.start > earliest_end {
                continue;
            }
            let mut next = world.clone();
            next.next[request] += 1;
            if is_optional(event) && self.search(&next) {
                return true;
            }
            if next.apply(request, event) && self.search(&next) {
                return true;
            }
        }
        false
    }

    /// Returns `true` if the stored sessions are those of the model.
    fn is_result(&self, world: &World) -> bool {
        let mut left: Vec<&FinalRecord> = self.stored.iter().collect();
        for (id, record) in world.records.iter() {
            let matches = |stored: &&FinalRecord| {
                let is_same = match id {
                    RecordId::Stored(key) => stored.key == *key,
                    RecordId::New(_) => true,
                };
                let flash = stored.flash.as_ref();
                is_same
                    && stored.data == record.data
                    && stored.tags == record.tags
                    && flash.is_none_or(|flash| *flash == texts(&record.flash))
            };
            let Some(at) = left.iter().position(matches) else {
                return false;
            };
            left.remove(at);
        }
        let events = self.events.iter().flatten();
        left.len() <= events.filter(|event| event.may_leave_record()).count()
    }
}

fn is_optional(event: &ModelEvent) -> bool {
    match &event.effect {
        Effect::Destroy { is_certain } => !is_certain,
        Effect::Commit { outcome, .. } => *outcome == Outcome::Unknown,
        _ => false,
    }
}
