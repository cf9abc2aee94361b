//! The thread that sweeps the memory stores of this process.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, Weak, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use super::table::Table;
use crate::sync::lock;

/// Pause between two sweeps of a store.
const PAUSE: Duration = Duration::from_secs(1);

/// The thread of this process. A timer of a runtime would need a runtime that has timers and that is polled, and
/// would take about 200 instructions each time that the runtime waits for I/O.
static SWEEPER: Sweeper = Sweeper::new();

impl Table {
    /// Lets the process's thread sweep this store, from its first call on.
    ///
    /// A manual clock belongs to a test. There is no thread then, so that the test is repeatable.
    #[inline]
    pub(super) fn ensure_swept(this: &Arc<Self>) {
        if !this.is_swept.load(Relaxed) && !this.is_swept.swap(true, Relaxed) {
            Self::begin_sweeps(this);
        }
    }

    #[cold]
    fn begin_sweeps(this: &Arc<Self>) {
        if !this.settings.clock.is_manual() && !SWEEPER.add(this) {
            // The next call tries again.
            this.is_swept.store(false, Relaxed);
        }
    }
}

/// A thread that runs while there are stores.
pub(super) struct Sweeper(pub(super) Mutex<SweeperState>);

pub(super) struct SweeperState {
    tables: Vec<Weak<Table>>,
    pub(super) is_running: bool,
    /// Starts the thread.
    pub(super) start: fn(&'static Sweeper) -> bool,
}

impl Sweeper {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(SweeperState {
            tables: Vec::new(),
            is_running: false,
            start: Self::start,
        }))
    }

    /// Sweeps a store until its last clone is dropped. Returns `false` if no thread can be started.
    pub(super) fn add(&'static self, table: &Arc<Table>) -> bool {
        let mut state = lock(&self.0);
        if !state.is_running {
            state.is_running = (state.start)(self);
        }
        if state.is_running {
            state.tables.push(Arc::downgrade(table));
        }
        state.is_running
    }

    fn start(&'static self) -> bool {
        let thread = thread::Builder::new().name("session-sweep".to_owned());
        thread.spawn(|| self.run()).is_ok()
    }

    fn run(&self) {
        loop {
            thread::sleep(PAUSE);
            let mut number = 0;
            // A store that is dropped meanwhile ends here, without a lock.
            while let Some(table) = self.table(number) {
                // The data of a record may belong to the user, whose destructor may panic.
                let sweep = || table.upgrade().map(|table| table.sweep_share());
                let _ = catch_unwind(AssertUnwindSafe(sweep));
                number += 1;
            }
            if self.stop_if_unused() {
                return;
            }
        }
    }

    fn table(&self, number: usize) -> Option<Weak<Table>> {
        lock(&self.0).tables.get(number).cloned()
    }

    /// Forgets dropped stores. Returns `true` if there are no others.
    fn stop_if_unused(&self) -> bool {
        let mut state = lock(&self.0);
        state.tables.retain(|table| table.strong_count() > 0);
        state.is_running = !state.tables.is_empty();
        !state.is_running
    }
}
