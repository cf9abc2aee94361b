//! The background thread: it collects what has expired, cleans, writes hints and makes segments.

use std::{
    mem::take,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    FileError, FileEvent,
    engine::{Engine, lock},
    index::SHARDS,
    segment::Segment,
    stats::add,
    waiting::enlist,
};

/// How often the thread looks around unasked.
const TICK: Duration = Duration::from_secs(1);
/// How much of the index is swept in one tick: all of it in four.
const SHARDS_A_TICK: usize = SHARDS / 4;

/// What others want of the background thread.
#[derive(Default)]
pub(super) struct Keeper {
    wishes: Mutex<Wishes>,
    /// Cleaning fails at the moment, so nobody waits for it.
    failing: AtomicBool,
}

#[derive(Default)]
struct Wishes {
    /// Mutations that wait until less is owed.
    waiters: Vec<oneshot::Sender<()>>,
    /// Those who asked for everything to be cleaned.
    compactions: Vec<oneshot::Sender<Result<(), FileError>>>,
    over: bool,
}

impl Keeper {
    /// Something to wait for before a mutation is answered, where the cleaner is far behind.
    pub(super) fn wait(&self, engine: &Engine) -> Option<oneshot::Receiver<()>> {
        if !engine.is_overdue() || self.failing.load(Ordering::Relaxed) {
            return None;
        }
        let mut wishes = lock(&self.wishes);
        if wishes.over {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        enlist(&mut wishes.waiters, sender);
        drop(wishes);
        add(&engine.counters.waits, 1);
        engine.nudge.give();
        Some(receiver)
    }

    /// Asks for everything to be cleaned; dropped where the store is closed first.
    pub(super) fn compact(&self, engine: &Engine) -> oneshot::Receiver<Result<(), FileError>> {
        let (sender, receiver) = oneshot::channel();
        let mut wishes = lock(&self.wishes);
        if !wishes.over {
            enlist(&mut wishes.compactions, sender);
        }
        drop(wishes);
        engine.nudge.give();
        receiver
    }

    /// The thread.
    pub(super) fn run(&self, engine: &Engine) {
        let mut shard = 0;
        let mut swept = Instant::now();
        while !engine.nudge.is_stopped() {
            self.watch(engine, engine.prepare_next());
            self.watch(engine, self.clean(engine));
            self.write_hints(engine);
            self.grant(engine);
            if swept.elapsed() >= TICK {
                swept = Instant::now();
                for _ in 0..SHARDS_A_TICK {
                    engine.sweep(shard);
                    shard = (shard + 1) % SHARDS;
                    self.watch(engine, self.clean(engine));
                }
            }
            engine.nudge.sleep(TICK.saturating_sub(swept.elapsed()));
        }
        let mut wishes = lock(&self.wishes);
        wishes.over = true;
        wishes.waiters.clear();
        wishes.compactions.clear();
    }

    /// Reports a failure, and lets go whoever waits for work that is not getting done.
    fn watch(&self, engine: &Engine, done: Result<(), FileError>) {
        let failed = match done {
            Ok(()) => false,
            Err(FileError::Poisoned { .. } | FileError::Closed) => true,
            Err(error) => {
                engine.tell(&FileEvent::CleaningFailed { error: &error });
                true
            }
        };
        self.failing.store(failed, Ordering::Relaxed);
        if failed {
            self.forgive(engine);
            // A nudge would bring it back at once, to fail again.
            engine.nudge.sleep_while(TICK, || true);
        }
    }

    fn forgive(&self, engine: &Engine) {
        engine.debt.store(0, Ordering::Relaxed);
        self.release(engine);
    }

    /// Lets go whoever waits, if little is owed now.
    fn release(&self, engine: &Engine) {
        if engine.is_overdue() {
            return;
        }
        for waiter in take(&mut lock(&self.wishes).waiters) {
            // Whoever stopped waiting has its mutation applied all the same.
            let _ = waiter.send(());
        }
    }

    fn clean(&self, engine: &Engine) -> Result<(), FileError> {
        while engine.wants_cleaning() && !engine.nudge.is_stopped() {
            engine.clean_oldest(|bytes| self.paid(engine, bytes))?;
            engine.prepare_next()?;
        }
        self.forgive(engine);
        Ok(())
    }

    /// Takes `bytes` off what is owed, and rests where there is no hurry.
    fn paid(&self, engine: &Engine, bytes: u64) -> bool {
        let less = |debt: u64| Some(debt.saturating_sub(bytes));
        let _ = engine
            .debt
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.release(engine);
        engine
            .nudge
            .sleep_while(engine.rest_after(bytes), || !engine.is_urgent());
        !engine.nudge.is_stopped()
    }

    fn write_hints(&self, engine: &Engine) {
        for segment in unhinted(engine) {
            if engine.nudge.is_stopped() {
                return;
            }
            // Without a hint, opening takes longer: nothing that anybody has to hear of.
            let _ = engine.write_hint(&segment);
        }
    }

    /// Cleans every segment that is there now, for those who asked for it.
    fn grant(&self, engine: &Engine) {
        for wish in take(&mut lock(&self.wishes).compactions) {
            for shard in 0..SHARDS {
                engine.sweep(shard);
            }
            let _ = wish.send(engine.clean_all());
        }
    }
}

/// Ended segments whose hint was not written yet.
pub(super) fn unhinted(engine: &Engine) -> Vec<Arc<Segment>> {
    let active = engine.lock_log().active.id;
    let segments = engine
        .segments
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    let ended = segments.range(..active).map(|(_, segment)| segment);
    let unhinted = ended.filter(|segment| !segment.hinted.swap(true, Ordering::Relaxed));
    unhinted.map(Arc::clone).collect()
}
