//! Freeing memory: what is expired, and what must go because the store is full.

use std::{
    sync::{
        Arc, Weak,
        atomic::Ordering::{AcqRel, Relaxed, Release},
    },
    thread,
    time::Duration,
};

use smallvec::SmallVec;
use tokio::{runtime::Handle, task, time};

use super::{
    engine::Engine,
    ring::{Ring, Taken},
    slot::{Slot, Standing},
};
use crate::{clock::Timestamp, id::StoreKey};

/// How many live records are compared to find the one to evict.
const SAMPLE: usize = 8;

/// How many unsorted keys one search for a tombstone looks at.
const SORTED_AT_ONCE: usize = 64;

/// How many keys the background task looks at before it lets others run.
const BATCH: usize = 256;

/// The background task's pause, and in how many pauses it sees the whole store.
const PAUSE: Duration = Duration::from_secs(1);
const ROUND: usize = 60;

/// What a slot holds that has not ended, and with it the ring where its key belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Live,
    Tomb,
}

/// Every method here that takes keys out of a ring puts each back in one, unless it removed the key
/// from the map.
impl Engine {
    /// Looks at the next `count` keys and removes those whose time is over; how many that were.
    pub(super) fn sweep(&self, count: usize) -> usize {
        let tombs = self.tombs.take(count / 2);
        let fresh = self.fresh.take(count - tombs.len());
        self.sweep_keys(fresh) + self.sweep_keys(tombs)
    }

    /// Looks at every key once.
    pub(super) fn sweep_all(&self) -> usize {
        let sweep = |ring: &Ring| {
            let keys = ring.len();
            let batches = (0..keys).step_by(BATCH);
            batches
                .map(|done| self.sweep_keys(ring.take(BATCH.min(keys - done))))
                .sum::<usize>()
        };
        sweep(&self.tombs) + sweep(&self.fresh)
    }

    fn sweep_keys(&self, keys: Taken) -> usize {
        let all = keys.len();
        let stay = keys
            .into_iter()
            .filter_map(|key| Some((key, self.look(&key)?)));
        all - stay
            .map(|(key, (kind, _))| self.ring(kind).push(key))
            .count()
    }

    /// Evicts until the store is within its limits; `keep` was just written.
    pub(super) fn make_room(&self, keep: &StoreKey) {
        while self.is_over() && self.drop_first(Kind::Live, keep) {}
    }

    /// The same for tombstones. Those of records that were live when last seen are among the
    /// `fresh` keys still; where no other is found, some of these are sorted.
    pub(super) fn make_room_for_tombs(&self, keep: &StoreKey) {
        while self.counters.tombstones() > self.settings.max_tombstones {
            if !self.drop_first(Kind::Tomb, keep) {
                self.sweep_keys(self.fresh.take(SORTED_AT_ONCE));
                if !self.drop_first(Kind::Tomb, keep) {
                    return;
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.counters.records() > self.settings.max_records
            || self.counters.bytes() > self.settings.max_bytes
    }

    /// Of the next few keys of this kind removes those that have ended or, if none has, the one that
    /// will end first, `keep` excepted. `false` when it found nothing to remove.
    fn drop_first(&self, kind: Kind, keep: &StoreKey) -> bool {
        let (sample, has_ended) = self.sample(kind);
        let candidates = sample.iter().filter(|(_, key)| !has_ended && key != keep);
        let victim = candidates.min().copied();
        let mut is_dropped = has_ended;
        for place in sample {
            if victim == Some(place) && self.drop_unended(&place.1, kind) {
                is_dropped = true;
            } else {
                self.ring(kind).push(place.1);
            }
        }
        is_dropped
    }

    /// Takes the next few keys of this kind out of their ring, with the ends of their slots, and
    /// removes what has ended on the way: then it stops, and says so.
    fn sample(&self, kind: Kind) -> (SmallVec<[(Timestamp, StoreKey); SAMPLE]>, bool) {
        let (mut sample, mut has_ended) = (SmallVec::new(), false);
        while sample.len() < SAMPLE && !has_ended {
            let keys = self.ring(kind).take(SAMPLE - sample.len());
            if keys.is_empty() {
                break;
            }
            for key in keys {
                match self.look(&key) {
                    Some((found, end)) if found == kind => sample.push((end, key)),
                    Some((other, _)) => self.ring(other).push(key),
                    None => has_ended = true,
                }
            }
        }
        (sample, has_ended)
    }

    /// Removes a slot of this kind before its time; `false` where it has become something else.
    fn drop_unended(&self, key: &StoreKey, kind: Kind) -> bool {
        let removed = self.remove_if(key, |standing| match standing {
            Standing::Live(_) => kind == Kind::Live,
            Standing::Gone => kind == Kind::Tomb,
            Standing::Absent => true,
        });
        let weight = removed.unwrap_or_default();
        self.counters.evicted.fetch_add(weight.records, Relaxed);
        self.counters
            .fences_dropped
            .fetch_add(weight.tombstones, Relaxed);
        removed.is_some()
    }

    /// What is under `key`, and when it ends; `None` when that time had come and it was removed.
    fn look(&self, key: &StoreKey) -> Option<(Kind, Timestamp)> {
        let slot = self.slots.get(key)?;
        let seen = match (slot.at(self.settings.clock.now()), slot.value()) {
            (Standing::Live(live), _) => Some((Kind::Live, live.expires)),
            (Standing::Gone, Slot::Tomb(end)) => Some((Kind::Tomb, *end)),
            _ => None,
        };
        drop(slot);
        seen.or_else(|| self.remove_ended(key))
    }

    /// Removes what has ended under `key`. Where it was written anew since it was looked at, it is
    /// as good as a record that has just been touched.
    fn remove_ended(&self, key: &StoreKey) -> Option<(Kind, Timestamp)> {
        match self.remove_if(key, |standing| matches!(standing, Standing::Absent)) {
            Some(weight) => {
                self.counters.expired.fetch_add(weight.records, Relaxed);
                None
            }
            None => Some((Kind::Live, Timestamp::MAX)),
        }
    }

    const fn ring(&self, kind: Kind) -> &Ring {
        match kind {
            Kind::Live => &self.fresh,
            Kind::Tomb => &self.tombs,
        }
    }

    /// Sees to it that a task sweeps this store, if a tokio runtime is there to run it.
    pub(super) fn keep_swept(this: &Arc<Self>) {
        if this.swept.load(Relaxed) {
            return;
        }
        if let Ok(runtime) = Handle::try_current()
            && !this.swept.swap(true, AcqRel)
        {
            runtime.spawn(tend(Watch(Arc::downgrade(this))));
        }
    }
}

/// Sweeps a store until its last clone is dropped, or the runtime ends.
async fn tend(watch: Watch) {
    loop {
        time::sleep(PAUSE).await;
        let Some(keys) = watch.0.upgrade().map(|store| store.slots.len()) else {
            return;
        };
        for _ in 0..=keys / ROUND / BATCH {
            let Some(store) = watch.0.upgrade() else {
                return;
            };
            store.sweep(BATCH);
            drop(store);
            task::yield_now().await;
        }
    }
}

/// The background task's hold on its store: not one that keeps the store alive.
struct Watch(Weak<Engine>);

impl Drop for Watch {
    /// The store may outlive its task, when the runtime ends first: another may then be started.
    /// Not after a panic, though, which means that this program's runtimes have no timer.
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade()
            && !thread::panicking()
        {
            store.swept.store(false, Release);
        }
    }
}
