//! Deadlines that need no runtime.
//!
//! A timer of tokio panics in a runtime without a time driver, and no call reports if there is one. One
//! thread of the process serves all deadlines. It starts with the first deadline that is waited for.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use crate::sync::lock;

/// Minimum time between two wake-ups of the thread, so that many deadlines cost few of them.
const RESOLUTION: Duration = Duration::from_millis(5);

/// A future that is ready when a time has passed since its first poll. Until then it costs nothing.
#[derive(Debug)]
pub(crate) struct Deadline {
    after: Duration,
    armed: Option<(Instant, Arc<Mutex<Option<Waker>>>)>,
}

impl Deadline {
    pub(crate) const fn new(after: Duration) -> Self {
        Self { after, armed: None }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        match &self.armed {
            Some((at, slot)) => {
                *lock(slot) = Some(waker);
                // Checked last, because the thread may have taken the previous waker just now.
                if Instant::now() >= *at {
                    return Poll::Ready(());
                }
            }
            None => {
                // A time beyond the range of the clock never passes.
                if let Some(at) = Instant::now().checked_add(self.after) {
                    let slot = Arc::new(Mutex::new(Some(waker)));
                    TIMER.add(at, slot.clone());
                    self.armed = Some((at, slot));
                }
            }
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some((_, slot)) = &self.armed {
            // The task need not be woken any more.
            *lock(slot) = None;
        }
    }
}

static TIMER: Timer = Timer {
    queue: Mutex::new(TimerQueue {
        entries: BinaryHeap::new(),
        is_running: false,
    }),
    added: Condvar::new(),
};

struct Timer {
    queue: Mutex<TimerQueue>,
    /// Notified when an entry is due before all others.
    added: Condvar,
}

struct TimerQueue {
    entries: BinaryHeap<Reverse<TimerEntry>>,
    is_running: bool,
}

struct TimerEntry {
    at: Instant,
    slot: Arc<Mutex<Option<Waker>>>,
}

impl Timer {
    fn add(&'static self, at: Instant, slot: Arc<Mutex<Option<Waker>>>) {
        let mut queue = lock(&self.queue);
        let is_first = queue.entries.peek().is_none_or(|first| at < first.0.at);
        queue.entries.push(Reverse(TimerEntry { at, slot }));
        if !queue.is_running {
            let builder = thread::Builder::new().name("session-timer".to_owned());
            queue.is_running = builder.spawn(move || self.run()).is_ok();
            if !queue.is_running {
                // Without a thread these deadlines never pass. The next one starts it.
                queue.entries.clear();
            }
        }
        drop(queue);
        if is_first {
            self.added.notify_one();
        }
    }

    fn run(&self) {
        let mut queue = lock(&self.queue);
        loop {
            let now = Instant::now();
            let mut due = Vec::new();
            while queue.entries.peek().is_some_and(|first| first.0.at <= now) {
                due.extend(queue.entries.pop().map(|Reverse(entry)| entry.slot));
            }
            if !due.is_empty() {
                drop(queue);
                let wakers = due.iter().filter_map(|slot| lock(slot).take());
                wakers.for_each(Waker::wake);
                thread::sleep(RESOLUTION);
                queue = lock(&self.queue);
                continue;
            }
            let first = queue.entries.peek().map(|first| first.0.at);
            queue = self.wait(queue, first.map(|at| at.duration_since(now)));
        }
    }

    fn wait<'q>(
        &self,
        queue: MutexGuard<'q, TimerQueue>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'q, TimerQueue> {
        match timeout {
            None => self
                .added
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                self.added
                    .wait_timeout(queue, timeout)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        }
    }
}

impl Ord for TimerEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for TimerEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for TimerEntry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for TimerEntry {}
