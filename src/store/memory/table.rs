//! The map of records, and the operations of the store contract on it.

use std::time::Duration;

use dashmap::Entry;

use super::{
    eviction_pool::EvictionPool,
    partitions::{Partition, Partitions},
    settings::Settings,
    slot::{LiveRecord, SlotState, TableSlot},
    stats::MemoryCounters,
    sweep_schedule::SweepSchedule,
    tag_index::TagIndex,
    tombstone_queue::TombstoneQueue,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{ReadOutcome, Version, WriteOutcome, WriteRequest},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// The data that all clones of a store share.
///
/// Every operation on a key reads the clock while it holds the lock of the key's shard. Otherwise an operation
/// that waited for the lock could find a record alive after another one saw it expired. A visit of a whole partition
/// uses the time before it, at which fewer entries have ended.
pub(super) struct Table {
    pub(super) settings: Settings,
    pub(super) slots: Partitions<StoreKey, TableSlot>,
    pub(super) tag_index: TagIndex,
    pub(super) tombstone_queue: TombstoneQueue,
    pub(super) eviction_pool: EvictionPool,
    pub(super) sweep_schedule: SweepSchedule,
    pub(super) counters: MemoryCounters,
    /// The next version. One counter for all keys, so that no version repeats.
    next_version: AtomicU64,
    /// The sweeper's thread knows this store, or the clock is manual.
    pub(super) is_swept: AtomicBool,
}

impl Table {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            slots: Partitions::new(settings.partitions),
            // Its entries are smaller than those of `slots`.
            tag_index: TagIndex::new(settings.partitions / 2),
            settings,
            tombstone_queue: TombstoneQueue::default(),
            eviction_pool: EvictionPool::default(),
            sweep_schedule: SweepSchedule::default(),
            counters: MemoryCounters::default(),
            next_version: AtomicU64::new(1),
            is_swept: AtomicBool::new(false),
        }
    }

    pub(super) fn read(&self, key: &StoreKey) -> ReadOutcome {
        let Some(slot) = self.slots.partition(key).get(key) else {
            return ReadOutcome::Absent;
        };
        match slot.state_at(self.settings.clock.now()) {
            SlotState::Absent => {
                drop(slot);
                self.remove_expired(key);
                ReadOutcome::Absent
            }
            state => state.read_outcome(),
        }
    }

    pub(super) fn read_and_touch(&self, key: &StoreKey, ttl: Duration) -> ReadOutcome {
        let Some(mut slot) = self.slots.partition(key).get_mut(key) else {
            return ReadOutcome::Absent;
        };
        let now = self.settings.clock.now();
        if let Some(live) = slot.live_mut(now) {
            let outcome = ReadOutcome::Found(live.record());
            live.touch(now, ttl);
            return outcome;
        }
        match slot.state_at(now) {
            SlotState::Absent => {
                drop(slot);
                self.remove_expired(key);
                ReadOutcome::Absent
            }
            state => state.read_outcome(),
        }
    }

    /// Removes an expired record that a read found absent. It would be live again if the clock were set back.
    #[cold]
    fn remove_expired(&self, key: &StoreKey) {
        let removed = self.remove_if(key, |slot, now| {
            matches!(slot, TableSlot::Live(_)) && slot.has_ended(now)
        });
        let records = removed.map_or(0, |slot| slot.weight().records);
        self.counters.expired.fetch_add(records, Relaxed);
    }

    pub(super) fn touch(&self, key: &StoreKey, ttl: Duration) -> bool {
        let Some(mut slot) = self.slots.partition(key).get_mut(key) else {
            return false;
        };
        let now = self.settings.clock.now();
        slot.live_mut(now)
            .map(|live| live.touch(now, ttl))
            .is_some()
    }

    pub(super) fn time_to_live(&self, key: &StoreKey) -> Option<Duration> {
        let slot = self.slots.partition(key).get(key)?;
        let now = self.settings.clock.now();
        match slot.state_at(now) {
            SlotState::Live(live) => Some(live.expires.duration_since(now)),
            _ => None,
        }
    }

    /// Appends the keys of all live sessions of a partition. Locks one shard after the other. Returns the number of
    /// visited entries.
    pub(super) fn add_live_keys(
        &self,
        partition: &Partition<StoreKey, TableSlot>,
        keys: &mut Vec<StoreKey>,
    ) -> usize {
        let now = self.settings.clock.now();
        let mut visited = 0;
        for slot in partition.iter() {
            visited += 1;
            if let SlotState::Live(_) = slot.state_at(now) {
                keys.push(*slot.key());
            }
        }
        visited
    }

    pub(super) fn write(&self, request: WriteRequest) -> WriteOutcome {
        let key = request.key;
        let mut entry = self.slots.partition(&key).entry(key);
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
        if let Entry::Occupied(occupied) = &mut entry
            && let Some(live) = occupied.get_mut().untagged_mut()
            && request.tags.is_empty()
        {
            // The usual write. Only the number of bytes changes.
            let before = live.weight();
            let replaced = live.replace(request.data, version, expires);
            self.counters.update(before, live.weight());
            drop(entry);
            drop(replaced);
            self.make_room(&key);
            return WriteOutcome::Done(version);
        }
        let live = LiveRecord::new(request.data, request.tags, version, expires);
        if self.replace(entry, TableSlot::Live(live)) {
            self.sweep_for_new_key();
        }
        self.make_room(&key);
        WriteOutcome::Done(version)
    }

    /// Returns `true` if there is a live session under `key` with the tag `name`.
    ///
    /// The index, which yields the key, is not locked when a record is. The session may have ended in between, so
    /// its record decides.
    pub(super) fn has_tag(&self, key: &StoreKey, name: &str) -> bool {
        self.slots.partition(key).get(key).is_some_and(|slot| {
            let state = slot.state_at(self.settings.clock.now());
            matches!(state, SlotState::Live(live) if live.has_tag(name))
        })
    }

    pub(super) fn destroy(&self, key: &StoreKey) {
        let entry = self.slots.partition(key).entry(*key);
        let now = self.settings.clock.now();
        let end = now.saturating_add(self.settings.tombstone_ttl);
        let queued = match &entry {
            Entry::Occupied(occupied) => occupied.get().queued(),
            Entry::Vacant(_) => None,
        };
        let tombstone = TableSlot::Tombstone {
            end,
            queued: queued.unwrap_or(end),
        };
        let is_new_key = self.replace(entry, tombstone);
        if queued.is_none() {
            self.tombstone_queue.push((end, *key));
        }
        if is_new_key {
            self.sweep_for_new_key();
        }
        self.make_room_for_tombstones(key);
    }

    /// Stores `slot`. Returns `true` if the key is new to the map.
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
    pub(super) fn account(
        &self,
        key: &StoreKey,
        before: Option<&TableSlot>,
        after: Option<&TableSlot>,
    ) {
        let weight = |slot: Option<&TableSlot>| slot.map(TableSlot::weight).unwrap_or_default();
        self.counters.update(weight(before), weight(after));
        self.tag_index.update(
            key,
            before.and_then(TableSlot::tags),
            after.and_then(TableSlot::tags),
        );
    }

    /// Removes `key` from the map if `predicate` holds for its slot at this moment, and returns the slot.
    pub(super) fn remove_if(
        &self,
        key: &StoreKey,
        predicate: impl FnOnce(&TableSlot, Timestamp) -> bool,
    ) -> Option<TableSlot> {
        let Entry::Occupied(occupied) = self.slots.partition(key).entry(*key) else {
            return None;
        };
        predicate(occupied.get(), self.settings.clock.now()).then(|| {
            self.account(key, Some(occupied.get()), None);
            occupied.remove()
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
