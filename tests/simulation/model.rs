//! The sequential specification: sessions as plain maps, and the search for an order of all events
//! in which a history is correct.
//!
//! A load takes effect when its read is executed. A commit takes effect at one moment between its
//! begin and its end, or never if its outcome is unknown.

mod jobs;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use hyper_session::id::StoreKey;
use serde_json::{Value, json};

use crate::{
    events::{Effect, ModelEvent, Outcome},
    script::{DEFAULT_MAX_AGE, Op, Values, max_age, own, replacement, update_fields},
};

/// Maximum number of rotations that a load follows.
const MAX_HOPS: usize = 2;

/// The name of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RecordId {
    Stored(StoreKey),
    /// The new record of the commit with this number, whose outcome is unknown.
    New(usize),
}

/// A session. The messages carry the number of the commit that flashed them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelRecord {
    pub(crate) data: Values,
    pub(crate) flash: BTreeMap<String, (Value, usize)>,
    pub(crate) tags: BTreeSet<String>,
    /// The timeout in hours.
    pub(crate) max_age: u32,
}

impl Default for ModelRecord {
    fn default() -> Self {
        Self {
            data: Values::new(),
            flash: BTreeMap::new(),
            tags: BTreeSet::new(),
            max_age: DEFAULT_MAX_AGE,
        }
    }
}

/// The content of a session as a request with this cookie sees it at the end.
#[derive(Clone, Debug)]
pub(crate) struct OpenedCookie {
    /// The key of the id in the cookie.
    pub(crate) carried: StoreKey,
    /// The key of the session that it opens.
    pub(crate) key: StoreKey,
    pub(crate) data: Values,
    pub(crate) flash: Values,
    /// The timeout in hours.
    pub(crate) max_age: u32,
}

/// A session as it is stored at the end. `flash` is `None` if no visitor has a cookie for it.
#[derive(Clone, Debug)]
pub(crate) struct FinalRecord {
    pub(crate) key: StoreKey,
    pub(crate) data: Values,
    pub(crate) flash: Option<Values>,
    pub(crate) max_age: Option<u32>,
    pub(crate) tags: BTreeSet<String>,
}

/// The session as one request knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    /// `None` for a new session, whose key is not known.
    id: Option<RecordId>,
    /// The request carried the id.
    is_carried: bool,
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
            is_carried: key.is_some(),
            ..Self::default()
        }
    }
}

/// An old id that forwards to a new one.
#[derive(Clone, Copy, Debug)]
struct ModelForward {
    to: RecordId,
    /// The step at which its window ended.
    ended: Option<usize>,
}

/// The stored sessions, and the progress of every request.
#[derive(Clone, Debug)]
struct World {
    records: BTreeMap<RecordId, ModelRecord>,
    dead: BTreeSet<RecordId>,
    forwards: BTreeMap<RecordId, ModelForward>,
    /// The old ids of sessions that got a new one.
    moved: BTreeSet<RecordId>,
    /// The request that gives its session the new id with this key.
    new_keys: BTreeMap<RecordId, usize>,
    /// The new keys that commits gave to their sessions.
    given_keys: BTreeSet<RecordId>,
    /// The step at which the clock moved last.
    advanced: Option<usize>,
    requests: Vec<Knowledge>,
    next: Vec<usize>,
    /// A text where others increment was not stored in the end. A change in one batch with it may be
    /// refused.
    has_lost_text: bool,
    /// The step at which the last sign-out by an administrator ended, or `usize::MAX` if it failed. Until then,
    /// it may have destroyed the new record of a regeneration, which then stores nothing, but not the old one.
    sign_out_end: usize,
}

/// A change does not fit the stored session.
struct Unfit;

impl World {
    /// Applies an event of a request. Returns `false` if its observations are wrong at this moment. If
    /// the request is `early`, it read the clock before a window ended that has ended now.
    fn apply(&mut self, request: usize, event: &ModelEvent, early: bool) -> bool {
        let since = if early { event.begun } else { usize::MAX };
        match &event.effect {
            Effect::Advance { is_expiry } => {
                for forward in self.forwards.values_mut() {
                    forward.ended.get_or_insert(event.start);
                }
                self.advanced = Some(event.start);
                if *is_expiry {
                    self.dead.extend(self.records.keys());
                    self.records.clear();
                }
                true
            }
            Effect::Load { .. } => self.load(request, &event.effect, since),
            Effect::Destroy { .. } => {
                if let Some(id) = self.requests[request].id {
                    self.end(self.resolve(id, since));
                    self.dead.insert(id);
                }
                true
            }
            Effect::SignOut { .. } => {
                let tagged = self
                    .records
                    .iter()
                    .filter(|(_, it)| it.tags.contains("first"));
                let tagged: Vec<RecordId> = tagged.map(|(id, _)| *id).collect();
                tagged.into_iter().for_each(|id| self.end(id));
                true
            }
            Effect::Commit { .. } => self.commit(request, event, early),
            Effect::Job(job) => self.run_job(*job, since),
            Effect::View { data, number, late } => self.view(request, data, *number, late),
        }
    }

    /// Ends a session.
    fn end(&mut self, id: RecordId) {
        self.records.remove(&id);
        self.dead.insert(id);
    }

    /// Returns the ids to which an id forwards, one after the other, and first the id itself. A window
    /// that ended at the step `since` or later still forwards.
    fn chain(&self, id: RecordId, since: usize) -> impl Iterator<Item = RecordId> {
        std::iter::successors(Some(id), move |id| {
            let forward = self.forwards.get(id)?;
            let is_open = forward.ended.is_none_or(|ended| ended >= since);
            is_open.then_some(forward.to)
        })
    }

    /// Returns the present id of the session with this id.
    fn resolve(&self, id: RecordId, since: usize) -> RecordId {
        self.chain(id, since).last().unwrap_or(id)
    }

    /// Returns the session that a request with this id loads.
    fn opened(&self, id: RecordId, since: usize) -> Option<(RecordId, &ModelRecord)> {
        let mut ids = self.chain(id, since).take(MAX_HOPS + 1);
        ids.find_map(|id| Some((id, self.records.get(&id)?)))
    }

    fn load(&mut self, request: usize, effect: &Effect, since: usize) -> bool {
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
        let carried = self.requests[request].id;
        let opened = carried.and_then(|id| self.opened(id, since));
        let opened = opened.map(|(id, record)| (id, record.clone()));
        let known = &mut self.requests[request];
        let key = RecordId::Stored(*key);
        if *is_fresh {
            let is_empty = data.is_empty() && flash.is_empty();
            known.is_carried &= known.id == Some(key);
            known.id = Some(key);
            let may_be_used = !self.dead.contains(&key) && !self.records.contains_key(&key);
            return opened.is_none() && is_empty && may_be_used;
        }
        let Some((_, record)) = opened.filter(|(id, _)| *id == key) else {
            return false;
        };
        known.id = Some(key);
        known.is_stored = true;
        known.data = record.data.clone();
        known.incoming = record.flash.clone();
        known.consumes = !is_read_only && !known.incoming.is_empty();
        record.data == *data && texts(&record.flash) == *flash
    }

    fn commit(&mut self, request: usize, event: &ModelEvent, early: bool) -> bool {
        let Effect::Commit {
            number,
            is_first,
            ops,
            new_key,
            outcome,
            regenerated,
        } = &event.effect
        else {
            return false;
        };
        if *is_first {
            self.requests[request] = Knowledge::default();
        }
        let known = self.requests[request].clone();
        let since = if early { event.begun } else { usize::MAX };
        let old = known.id.map(|id| self.resolve(id, since));
        let record = old.and_then(|id| self.records.get(&id));
        let is_dead = match old {
            Some(_) if known.is_stored => record.is_none(),
            Some(id) => self.dead.contains(&id),
            None => false,
        };
        let first = ModelRecord::default();
        let changed = changed(&known, record.unwrap_or(&first), *number, ops);
        let key = match outcome {
            Outcome::Dropped => {
                return is_dead || new_key.is_some() && event.start < self.sign_out_end;
            }
            Outcome::Refused => return changed.is_err() || self.has_lost_text,
            Outcome::Unchanged => {
                let is_same = changed.is_ok_and(|changed| changed == *record.unwrap_or(&first));
                let is_new = !known.is_stored && record.is_none();
                if is_new && new_key.is_some() {
                    self.requests[request].id = None;
                }
                return is_same && (new_key.is_none() || is_new && !known.is_carried);
            }
            Outcome::Stored(key) => Some(RecordId::Stored(*key)),
            Outcome::Unknown => None,
        };
        let Ok(changed) = changed else { return false };
        if is_dead || regenerated.is_some_and(|(from, _)| Some(RecordId::Stored(from)) != old) {
            return false;
        }
        // A rotation is not needed if another request has rotated the session.
        let is_rotated = old != known.id;
        let regenerates = ops.contains(&Op::Regenerate);
        let rotates = ops.contains(&Op::Rotate) && !regenerates;
        let moves = match key {
            Some(_) => regenerated.is_some(),
            None => regenerates || rotates && !is_rotated,
        };
        let is_sent = known.is_stored || known.is_carried;
        if is_sent && !moves && (regenerates || rotates && !is_rotated) {
            return false;
        }
        let new = new_key.map_or(RecordId::New(*number), RecordId::Stored);
        let id = match old.filter(|_| !moves) {
            Some(id) if known.is_stored && key.is_some_and(|key| key != id) => return false,
            Some(id) => key.unwrap_or(id),
            None => key.unwrap_or(new),
        };
        if self.dead.contains(&id) {
            return false;
        }
        if let Some(old) = old.filter(|_| moves) {
            self.end(old);
            self.moved.insert(old);
            let ended = self.advanced.filter(|at| !early && *at >= event.begun);
            let forward = ModelForward { to: id, ended };
            self.forwards.extend(rotates.then_some((old, forward)));
        }
        self.requests[request] = Knowledge {
            id: Some(id),
            is_carried: false,
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
    let cleared = ops
        .iter()
        .rposition(|op| matches!(op, Op::Clear | Op::Replace));
    let actor = number / 10;
    // What the request saw when it called each operation.
    let mut seen = known.data.clone();
    for (at, op) in ops.iter().enumerate() {
        let before = seen.clone();
        // The record was another one, so a change that does not fit is no error here.
        drop(change_data(&mut seen, *op, actor));
        match op {
            Op::Clear if cleared == Some(at) => retain_changed(&mut next.data, &known.data),
            Op::Replace if cleared == Some(at) => {
                let is_changed = |name: &String, value: &Value| known.data.get(name) != Some(value);
                next.data.retain(|name, value| is_changed(name, value));
                next.data.extend(replacement(actor));
            }
            Op::UpdateAll if cleared.is_none_or(|cleared| cleared < at) => {
                put_changed(&mut next.data, &before, &seen);
            }
            _ if cleared.is_none_or(|cleared| cleared < at) => {
                change_data(&mut next.data, *op, actor)?;
            }
            _ => {}
        }
    }
    change_other_parts(known, &mut next, number, ops);
    Ok(next)
}

/// Applies an operation to data that no other request changes.
fn change_data(data: &mut Values, op: Op, actor: usize) -> Result<(), Unfit> {
    let mut put = |name: &str, value| data.insert(name.to_owned(), value);
    match op {
        Op::Put => {
            put("p", json!(actor));
            put(own("p", actor), json!(true));
        }
        Op::PutText => drop(put("n", json!("text"))),
        Op::Increment => {
            let old = data.get("n").map_or(Some(0), Value::as_i64).ok_or(Unfit)?;
            data.insert("n".to_owned(), json!(old + 1));
        }
        Op::Forget => drop(data.remove("f")),
        Op::Push => {
            let list = list_mut(data, "l");
            list.push(json!(actor));
            if !list.contains(&json!("same")) {
                list.push(json!("same"));
            }
            data.entry("a".to_owned()).or_insert(json!(actor));
        }
        Op::RemoveValue => {
            if let Some(Value::Array(list)) = data.get_mut("l") {
                list.retain(|value| *value != "first");
            }
        }
        Op::Update => list_mut(data, "u").insert(0, json!(actor)),
        Op::UpdateAll => update_fields(data, actor),
        Op::Replace => *data = replacement(actor),
        Op::Clear => data.clear(),
        _ => {}
    }
    Ok(())
}

/// Removes what `seen` has too: members, and members of the nested object.
fn retain_changed(data: &mut Values, seen: &Values) {
    data.retain(|name, value| {
        let same = seen.get(name);
        if let (Value::Object(value), Some(Value::Object(same))) = (&mut *value, same) {
            value.retain(|name, value| same.get(name) != Some(value));
            return !value.is_empty();
        }
        same != Some(value)
    });
}

/// Applies the difference between `old` and `new`: members, and members of the nested object.
fn put_changed(data: &mut Values, old: &Values, new: &Values) {
    let empty = json!({});
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        data.remove(name);
    }
    for (name, value) in new
        .iter()
        .filter(|(name, value)| old.get(*name) != Some(value))
    {
        let Value::Object(fields) = value else {
            data.insert(name.clone(), value.clone());
            continue;
        };
        let before = old.get(name).unwrap_or(&empty);
        let object = data.entry(name.clone()).or_insert(json!({}));
        for (field, value) in fields
            .iter()
            .filter(|(field, value)| before.get(*field) != Some(value))
        {
            object[field] = value.clone();
        }
    }
}

fn list_mut<'d>(data: &'d mut Values, name: &str) -> &'d mut Vec<Value> {
    let list = data.entry(name.to_owned()).or_insert(json!([]));
    list.as_array_mut().unwrap()
}

fn change_other_parts(known: &Knowledge, next: &mut ModelRecord, number: usize, ops: &[Op]) {
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
            Op::MaxAge => next.max_age = max_age(actor),
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
    /// The cookies of all visitors and responses.
    pub(crate) cookies: Vec<OpenedCookie>,
}

impl Run {
    /// Returns `true` if there is an order of all events in which every observation is correct and
    /// the stored sessions are the result.
    pub(crate) fn is_correct(&self) -> bool {
        let keys = self
            .events
            .iter()
            .enumerate()
            .flat_map(|(request, events)| {
                let keys = events.iter().filter_map(ModelEvent::new_key);
                keys.map(move |key| (RecordId::Stored(key), request))
            });
        let events = || self.events.iter().flatten();
        let given = events().filter_map(ModelEvent::given_key);
        let world = World {
            records: self.first.clone(),
            dead: BTreeSet::new(),
            forwards: BTreeMap::new(),
            moved: BTreeSet::new(),
            new_keys: keys.collect(),
            given_keys: given.map(RecordId::Stored).collect(),
            advanced: None,
            requests: self.requests.clone(),
            next: vec![0; self.events.len()],
            has_lost_text: events().any(ModelEvent::loses_text),
            sign_out_end: events()
                .filter_map(ModelEvent::sign_out_end)
                .max()
                .unwrap_or(0),
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
            if event.is_optional() && self.search(&next) {
                return true;
            }
            for early in [false, true] {
                let mut next = next.clone();
                if next.apply(request, event, early) && self.search(&next) {
                    return true;
                }
                if world.advanced.is_none() {
                    break;
                }
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
                    && stored
                        .max_age
                        .is_none_or(|max_age| max_age == record.max_age)
            };
            let Some(at) = left.iter().position(matches) else {
                return false;
            };
            left.remove(at);
        }
        let events = self.events.iter().flatten();
        left.len() <= events.filter(|event| event.may_leave_record()).count()
            && self.cookies.iter().all(|cookie| is_opened(world, cookie))
    }
}

/// Returns `true` if a cookie opens the session of its id, or nothing if that is dead.
fn is_opened(world: &World, cookie: &OpenedCookie) -> bool {
    let carried = RecordId::Stored(cookie.carried);
    let Some((id, record)) = world.opened(carried, usize::MAX) else {
        return cookie.data.is_empty() && cookie.flash.is_empty();
    };
    let is_same = match id {
        RecordId::Stored(key) => cookie.key == key,
        RecordId::New(_) => true,
    };
    is_same
        && cookie.data == record.data
        && cookie.flash == texts(&record.flash)
        && cookie.max_age == record.max_age
}
