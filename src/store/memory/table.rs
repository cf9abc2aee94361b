//! The map of records, and the operations of the store contract on it.

use std::time::Duration;

use dashmap::{DashMap, Entry};

use super::{
    key_queue::KeyQueue,
    key_set::Bucket,
    settings::Settings,
    slot::{LiveRecord, SlotState, TableSlot},
    stats::{MemoryCounters, Weight},
    tag_index::TagIndex,
};
use crate::{
    id::StoreKey,
    random_state::RandomState,
    store::{ReadOutcome, Version, WriteOutcome, WriteRequest},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// Number of shards of the map. Far more than cores, and so many that a shard grows in about a millisecond
/// while the store has ten million records.
const SHARDS: usize = 512;

/// Number of queued keys that each new key sweeps. More than one, so that sweeping outpaces growth.
const SWEEP_PER_NEW_KEY: usize = 2;

/// The data that all clones of a store share.
///
/// Every operation reads the clock while it holds the lock of the key's shard. Otherwise an operation
/// that waited for the lock could find a record alive after another one saw it expired.
pub(super) struct Table {
    pub(super) settings: Settings,
    /// Keys are hashes already, but visitors learn their ids. The random seed prevents them from
    /// creating many sessions and keeping those whose keys collide.
    pub(super) slots: DashMap<StoreKey, TableSlot, RandomState>,
    pub(super) tag_index: TagIndex,
    /// Invariant: every key of `slots` is exactly once in `live_queue` or `tombstone_queue`, or taken
    /// out by the one sweep that may remove it from `slots`. A key can be in the wrong queue. The next
    /// sweep that inspects it moves it.
    pub(super) live_queue: KeyQueue,
    /// See `live_queue`. A tombstone enters this queue when a sweep first inspects it, out of the way
    /// of evictions.
    pub(super) tombstone_queue: KeyQueue,
    pub(super) counters: MemoryCounters,
    /// The next version. One counter for all keys, so that no version repeats.
    next_version: AtomicU64,
    /// A background task sweeps this store.
    pub(super) sweeper_running: AtomicBool,
}

impl Table {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            slots: DashMap::with_hasher_and_shard_amount(RandomState::new(), SHARDS),
            tag_index: TagIndex::new(),
            live_queue: KeyQueue::new(),
            tombstone_queue: KeyQueue::new(),
            counters: MemoryCounters::default(),
            next_version: AtomicU64::new(1),
            sweeper_running: AtomicBool::new(false),
        }
    }

    pub(super) fn read(&self, key: &StoreKey) -> ReadOutcome {
        self.slots.get(key).map_or(ReadOutcome::Absent, |slot| {
            slot.state_at(self.settings.clock.now()).read_outcome()
        })
    }

    pub(super) fn read_and_touch(&self, key: &StoreKey, ttl: Duration) -> ReadOutcome {
        let Some(mut slot) = self.slots.get_mut(key) else {
            return ReadOutcome::Absent;
        };
        let now = self.settings.clock.now();
        if let Some(live) = slot.live_mut(now) {
            let outcome = ReadOutcome::Found(live.record());
            live.touch(now, ttl);
            return outcome;
        }
        slot.state_at(now).read_outcome()
    }

    pub(super) fn touch(&self, key: &StoreKey, ttl: Duration) -> bool {
        let Some(mut slot) = self.slots.get_mut(key) else {
            return false;
        };
        let now = self.settings.clock.now();
        slot.live_mut(now)
            .map(|live| live.touch(now, ttl))
            .is_some()
    }

    pub(super) fn time_to_live(&self, key: &StoreKey) -> Option<Duration> {
        let slot = self.slots.get(key)?;
        let now = self.settings.clock.now();
        match slot.state_at(now) {
            SlotState::Live(live) => Some(live.expires.duration_since(now)),
            _ => None,
        }
    }

    /// Returns the keys of all live sessions. Locks one shard after the other.
    pub(super) fn live_keys(&self) -> Vec<StoreKey> {
        let now = self.settings.clock.now();
        let is_live = |slot: &TableSlot| matches!(slot.state_at(now), SlotState::Live(_));
        let slots = self.slots.iter().filter(|slot| is_live(slot));
        slots.map(|slot| *slot.key()).collect()
    }

    pub(super) fn write(&self, request: WriteRequest) -> WriteOutcome {
        let key = request.key;
        let entry = self.slots.entry(key);
        let now = self.settings.clock.now();
        let state = match &entry {
            Entry::Occupied(occupied) => occupied.get().state_at(now),
            Entry::Vacant(_) => SlotState::Absent,
        };
        let expires = match state.check_write(request.expected, request.expiry, now) {
            Ok(expires) => expires,
            Err(refusal) => return refusal,
        };
        let version = self.new_version();
        let live = LiveRecord::new(request.data, request.tags, version, expires);
        if self.replace(entry, TableSlot::Live(live)) {
            self.live_queue.push(key);
            self.sweep(SWEEP_PER_NEW_KEY);
        }
        self.make_room(&key);
        WriteOutcome::Done(version)
    }

    /// Returns the keys among `candidates` of live sessions with the tag `name`.
    ///
    /// The index, which yields the candidates, is not locked when a record is. A candidate may have ended
    /// in between, so its record decides.
    pub(super) fn tagged(&self, candidates: &Bucket, name: &str) -> Vec<StoreKey> {
        let has_tag = |key: &&StoreKey| {
            self.slots.get(*key).is_some_and(|slot| {
                let state = slot.state_at(self.settings.clock.now());
                matches!(state, SlotState::Live(live) if live.has_tag(name))
            })
        };
        candidates.iter().filter(has_tag).copied().collect()
    }

    pub(super) fn destroy(&self, key: &StoreKey) {
        let entry = self.slots.entry(*key);
        let now = self.settings.clock.now();
        let end = now.saturating_add(self.settings.tombstone_ttl);
        if self.replace(entry, TableSlot::Tombstone(end)) {
            self.tombstone_queue.push(*key);
            self.sweep(SWEEP_PER_NEW_KEY);
        }
        self.make_room_for_tombstones(key);
    }

    /// Stores `slot`. Returns `true` if the key is new to the map. The caller must then push it into a
    /// queue.
    fn replace(&self, entry: Entry<'_, StoreKey, TableSlot>, slot: TableSlot) -> bool {
        match entry {
            Entry::Occupied(mut occupied) => {
                self.account(occupied.key(), Some(occupied.get()), Some(&slot));
                occupied.insert(slot);
                false
            }
            Entry::Vacant(vacant) => {
                self.account(vacant.key(), None, Some(&slot));
                vacant.insert(slot);
                true
            }
        }
    }

    /// Accounts for a change of the slot under `key`, in the counters and in the tag index.
    fn account(&self, key: &StoreKey, before: Option<&TableSlot>, after: Option<&TableSlot>) {
        let weight = |slot: Option<&TableSlot>| slot.map(TableSlot::weight).unwrap_or_default();
        self.counters.update(weight(before), weight(after));
        self.tag_index.update(
            key,
            before.and_then(TableSlot::tags),
            after.and_then(TableSlot::tags),
        );
    }

    /// Removes `key` from the map if `predicate` holds for its slot, and returns the slot's weight.
    ///
    /// Only the caller that took the key out of its queue may call this. If the key stays, the caller
    /// must push it into a queue again.
    pub(super) fn remove_if(
        &self,
        key: &StoreKey,
        predicate: impl FnOnce(SlotState<'_>) -> bool,
    ) -> Option<Weight> {
        let Entry::Occupied(occupied) = self.slots.entry(*key) else {
            return None;
        };
        predicate(occupied.get().state_at(self.settings.clock.now())).then(|| {
            self.account(key, Some(occupied.get()), None);
            occupied.remove().weight()
        })
    }

    fn new_version(&self) -> Version {
        loop {
            if let Some(version) = Version::new(self.next_version.fetch_add(1, Relaxed)) {
                return version;
            }
        }
    }
}
