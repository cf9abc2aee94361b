//! Eviction of records and tombstones when a limit is exceeded.

use super::{
    error::StoreFull,
    eviction_pool::EvictionCandidate,
    slot::{LiveRecord, TableSlot, record_len},
    table::Table,
};
use crate::{id::StoreKey, store::WriteRequest, sync::atomic::Ordering::Relaxed};

/// One in eight sampled records is evicted. A sample has at least eight records, unless there are too many other
/// entries between them.
const SAMPLE: usize = 8;

/// Number of entries after which a sample with a record is complete.
const MAX_VISITED: usize = 1_024;

/// Number of entries that are visited for each eviction, about, if most of them are tombstones.
const VISITED_PER_EVICTION: usize = 128;

impl Table {
    /// Evicts records until the store is within its limits, but not `written`, the record just
    /// written. The caller holds no entry of the record map.
    pub(super) fn make_room(&self, written: &StoreKey) {
        while self.exceeds_limits()
            && !self.settings.refuses_when_full
            && self.evict_excess(written)
        {}
    }

    /// Fails if `request` would exceed a limit. For a store that refuses records when it is full.
    #[cold]
    pub(super) fn check_room(&self, request: &WriteRequest) -> Result<(), StoreFull> {
        let slot = self.slots.partition(&request.key).get(&request.key);
        let before = slot.map(|slot| slot.weight()).unwrap_or_default();
        let (max_records, max_bytes) = (self.settings.max_records, self.settings.max_bytes);
        let (records, bytes) = (self.counters.records(), self.counters.bytes());
        let more_bytes = (record_len(request) as u64).saturating_sub(before.bytes);
        let has_room = (before.records > 0 || records < max_records)
            && (more_bytes == 0 || bytes.saturating_add(more_bytes) <= max_bytes);
        if has_room {
            return Ok(());
        }
        // Frees expired records, as a new record does.
        self.sweep_for_new_key();
        Err(StoreFull {
            records,
            max_records,
            bytes,
            max_bytes,
        })
    }

    /// Evicts one candidate if a limit is exceeded, or adds candidates if there is none. Returns `false` if there is no
    /// record but `written`.
    ///
    /// Checks and evicts under one lock. Otherwise calls at the same time could evict a record each for the same
    /// excess. A sample takes longer, so it is taken without the lock.
    #[inline(never)]
    fn evict_excess(&self, written: &StoreKey) -> bool {
        let mut candidates = self.eviction_pool.candidates();
        if !self.exceeds_limits() {
            return true;
        }
        let evicted = self.evict_candidate(&mut candidates, written);
        // The destructor of the record's data may use the store.
        drop(candidates);
        evicted.is_some() || self.sample_records(written)
    }

    /// Evicts tombstones until the store is within its limit, but not `written`, the tombstone just
    /// written.
    ///
    /// Entries of the queue count, since each tombstone has one. Invalid ones remain if the clock was set back.
    pub(super) fn make_room_for_tombstones(&self, written: &StoreKey) {
        let limit = self.settings.max_tombstones;
        while let Some(entry) = self.tombstone_queue.pop_beyond(limit, written) {
            let now = self.settings.clock.now();
            let evicted = self.remove_tombstone(entry) && entry.0 > now;
            let counter = &self.counters.tombstones_evicted;
            counter.fetch_add(evicted.into(), Relaxed);
        }
    }

    fn exceeds_limits(&self) -> bool {
        self.counters.records() > self.settings.max_records
            || self.counters.bytes() > self.settings.max_bytes
    }

    /// Removes the record of the first candidate that is the same as in its sample, but not `written`. Returns the
    /// record.
    fn evict_candidate(
        &self,
        candidates: &mut Vec<EvictionCandidate>,
        written: &StoreKey,
    ) -> Option<TableSlot> {
        while let Some(candidate) = candidates.pop() {
            if candidate.2 != *written
                && let Some(evicted) = self.evict(candidate)
            {
                return Some(evicted);
            }
        }
        None
    }

    /// Removes a record if it is the same as in the sample, and returns it.
    fn evict(&self, (expires, version, key): EvictionCandidate) -> Option<TableSlot> {
        let mut has_ended = false;
        let removed = self.remove_if(&key, |slot, now| {
            has_ended = slot.has_ended(now);
            let is_same = |live: &LiveRecord| (live.expires, live.version) == (expires, version);
            matches!(slot, TableSlot::Live(live) if is_same(live))
        });
        let counter = match has_ended {
            true => &self.counters.expired,
            false => &self.counters.evicted,
        };
        counter.fetch_add(u64::from(removed.is_some()), Relaxed);
        removed
    }

    /// Adds the first to expire of some records, without `written`, to the pool. Returns `false` if there is no
    /// record.
    fn sample_records(&self, written: &StoreKey) -> bool {
        let partitions = self.slots.partitions();
        let (mut sample, mut visited) = (Vec::new(), 0);
        for _ in partitions {
            let next = self.eviction_pool.next_partition(partitions.len());
            let Some(partition) = partitions.get(next) else {
                break;
            };
            for slot in partition.iter() {
                visited += 1;
                if let TableSlot::Live(live) = slot.value()
                    && slot.key() != written
                {
                    sample.push((live.expires, live.version, *slot.key()));
                }
            }
            if sample.len() >= SAMPLE || visited >= MAX_VISITED && !sample.is_empty() {
                break;
            }
        }
        if sample.is_empty() {
            return false;
        }
        let wanted = (sample.len() / SAMPLE).max(visited / VISITED_PER_EVICTION);
        let taken = wanted.clamp(1, sample.len());
        sample.select_nth_unstable(taken - 1);
        sample.truncate(taken);
        self.eviction_pool.add(sample);
        true
    }
}
