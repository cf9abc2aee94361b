//! The map of records, and the four methods on it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use ahash::RandomState;
use bytes::Bytes;
use dashmap::{DashMap, Entry, OccupiedEntry};

use super::{
    builder::Settings,
    labels::Labels,
    ring::Ring,
    slot::{Live, Slot, Standing},
    stats::{Counters, Weight},
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, Version, WriteOutcome},
};

/// Shards of the map. More than cores need, so that a shard which grows stops few for a short time.
const SHARDS: usize = 128;

/// How many old keys are looked at for each new one: more than one, so that the store is swept
/// faster than it grows.
const SWEEP_PER_NEW_KEY: usize = 2;

/// What all clones of a store share.
///
/// The clock is asked while the key's shard is locked: otherwise an operation that waited for the
/// lock could find a record alive that another has already seen expired.
pub(super) struct Engine {
    pub(super) settings: Settings,
    /// Hashed with a random seed, though keys are hashes already: owners learn their ids, and who
    /// makes enough sessions could otherwise keep those whose keys fall into one place.
    pub(super) slots: DashMap<StoreKey, Slot, RandomState>,
    pub(super) labels: Labels,
    /// Every key of `slots` is exactly once in `fresh` or `tombs`, or in the hands of the one sweep
    /// that took it out; only that sweep may remove the key from `slots`. Which of the two rings it
    /// is in is a guess at what the slot holds, put right when the key is next looked at.
    pub(super) fresh: Ring,
    /// See `fresh`. Tombstones that were seen once wait here, out of the way of evictions.
    pub(super) tombs: Ring,
    pub(super) counters: Counters,
    /// The number of the next version. One counter for all keys, so that none sees one twice.
    versions: AtomicU64,
    /// Whether a background task sweeps this store.
    pub(super) swept: AtomicBool,
}

impl Engine {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            slots: DashMap::with_hasher_and_shard_amount(RandomState::new(), SHARDS),
            labels: Labels::new(),
            fresh: Ring::new(),
            tombs: Ring::new(),
            counters: Counters::default(),
            versions: AtomicU64::new(1),
            swept: AtomicBool::new(false),
        }
    }

    pub(super) fn read(&self, key: &StoreKey) -> ReadOutcome {
        self.slots.get(key).map_or(ReadOutcome::Absent, |slot| {
            slot.at(self.settings.clock.now()).read()
        })
    }

    pub(super) fn read_touching(&self, key: &StoreKey, ttl: Duration) -> ReadOutcome {
        let Some(mut slot) = self.slots.get_mut(key) else {
            return ReadOutcome::Absent;
        };
        let now = self.settings.clock.now();
        if let Some(live) = slot.live_mut(now) {
            let read = ReadOutcome::Found(live.record());
            live.touch(now, ttl);
            return read;
        }
        slot.at(now).read()
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

    pub(super) fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> WriteOutcome {
        let entry = self.slots.entry(*key);
        let now = self.settings.clock.now();
        let standing = match &entry {
            Entry::Occupied(held) => held.get().at(now),
            Entry::Vacant(_) => Standing::Absent,
        };
        if let Err(refused) = standing.admit(expected) {
            return refused;
        }
        let keeps_tags = matches!(standing, Standing::Live(_));
        let version = self.next_version();
        let live = Live::new(data, version, now.saturating_add(ttl));
        let is_new = match entry {
            Entry::Occupied(mut held) if keeps_tags => self.renew(held.get_mut(), live),
            entry => self.put(entry, Slot::Live(live)),
        };
        if is_new {
            self.fresh.push(*key);
            self.sweep(SWEEP_PER_NEW_KEY);
        }
        self.make_room(key);
        WriteOutcome::Done(version)
    }

    pub(super) fn destroy(&self, key: &StoreKey) {
        let entry = self.slots.entry(*key);
        let end = self
            .settings
            .clock
            .now()
            .saturating_add(self.settings.tombstone);
        if self.put(entry, Slot::Tomb(end)) {
            self.tombs.push(*key);
            self.sweep(SWEEP_PER_NEW_KEY);
        }
        self.make_room_for_tombs(key);
    }

    /// Puts `slot` in the place of whatever is there, and says whether the key is new to the map:
    /// then it belongs in a ring, once the guard inside `entry` is gone.
    fn put(&self, entry: Entry<'_, StoreKey, Slot>, slot: Slot) -> bool {
        match entry {
            Entry::Occupied(mut held) => {
                self.retire(&mut held, slot.weight());
                held.insert(slot);
                false
            }
            Entry::Vacant(place) => {
                self.counters.shift(Weight::default(), slot.weight());
                place.insert(slot);
                true
            }
        }
    }

    /// Puts `live` in the place of a live record, which leaves it its tags.
    fn renew(&self, slot: &mut Slot, mut live: Live) -> bool {
        let before = slot.weight();
        live.tags = slot.take_tags();
        self.counters.shift(before, live.weight());
        *slot = Slot::Live(live);
        false
    }

    /// Ends what is in the slot, which weighs `after` from now on: its tags are struck out.
    fn retire(&self, held: &mut OccupiedEntry<'_, StoreKey, Slot>, after: Weight) {
        self.counters.shift(held.get().weight(), after);
        if let Some(tags) = held.get_mut().take_tags() {
            self.labels.remove_all(&tags, held.key());
        }
    }

    /// Removes `key` from the map if `doomed` says so of its slot. Only for whoever took the key out
    /// of its ring, and a key that stays must go back into one. Gives the weight of what it removed.
    pub(super) fn remove_if(
        &self,
        key: &StoreKey,
        doomed: impl FnOnce(Standing<'_>) -> bool,
    ) -> Option<Weight> {
        let Entry::Occupied(mut held) = self.slots.entry(*key) else {
            return None;
        };
        doomed(held.get().at(self.settings.clock.now())).then(|| {
            let weight = held.get().weight();
            self.retire(&mut held, Weight::default());
            held.remove();
            weight
        })
    }

    fn next_version(&self) -> Version {
        loop {
            if let Some(version) = Version::new(self.versions.fetch_add(1, Relaxed)) {
                return version;
            }
        }
    }
}
