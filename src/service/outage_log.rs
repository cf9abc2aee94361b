//! Outages of stores that do not report them: one log entry at the beginning, one at the end.

use std::{
    mem::take,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tracing::{debug, field::display, warn};

use super::TracingListener;
use crate::{
    clock::{Clock, Timestamp},
    session::{Event, Listener, SessionError},
    store::StoreError,
    sync::lock,
};

/// Minimum time from the end of an outage to the entry about the next one. A store that fails now and
/// then does not fill the log.
const MIN_PAUSE: Duration = Duration::from_secs(10);

/// The [`TracingListener`] of one service, which also recognizes outages of its store.
pub(super) struct OutageListener {
    clock: Clock,
    state: Mutex<OutageState>,
    /// The state has an outage.
    is_out: AtomicBool,
}

#[derive(Default)]
struct OutageState {
    outage: Option<ServiceOutage>,
    /// The end of the last outage.
    ended: Option<Timestamp>,
    /// Failures after that end that began no outage.
    left_out: u64,
    /// The store that reported that it stopped. Its failures are no outage.
    stopped: Option<&'static str>,
}

struct ServiceOutage {
    store: &'static str,
    began: Timestamp,
    failed: u64,
    /// An operation other than a read failed, so a read does not show that the store recovered.
    needs_write: bool,
}

impl OutageListener {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            is_out: AtomicBool::new(false),
        }
    }

    /// Records a failure. The first one begins an outage.
    fn on_failure(&self, error: &StoreError) {
        let mut state = lock(&self.state);
        let now = self.clock.now();
        let is_read = error.operation() == "read";
        if state.stopped == Some(error.store()) {
            return;
        }
        if let Some(outage) = &mut state.outage {
            outage.failed += 1;
            outage.needs_write |= !is_read;
            return;
        }
        let is_pause = |ended| now.duration_since(ended) < MIN_PAUSE;
        if state.ended.is_some_and(is_pause) {
            state.left_out += 1;
            return;
        }
        state.outage = Some(ServiceOutage {
            store: error.store(),
            began: now,
            failed: 1,
            needs_write: !is_read,
        });
        self.is_out.store(true, Ordering::Relaxed);
        warn!(
            target: "hyper_session", event = "store_away", store = error.store(), reason = ?error,
            left_out = take(&mut state.left_out)
        );
    }

    /// Ends an outage after a successful operation of the store.
    #[cold]
    fn on_success(&self, is_read: bool) {
        let mut state = lock(&self.state);
        let Some(outage) = state
            .outage
            .take_if(|outage| !is_read || !outage.needs_write)
        else {
            return;
        };
        let now = self.clock.now();
        state.ended = Some(now);
        self.is_out.store(false, Ordering::Relaxed);
        let (store, lasted) = (outage.store, now.duration_since(outage.began));
        warn!(
            target: "hyper_session", event = "store_back", store, ?lasted, failed = outage.failed
        );
    }
}

impl Listener for OutageListener {
    fn wants_routine_events(&self) -> bool {
        self.is_out.load(Ordering::Relaxed) || TracingListener.wants_routine_events()
    }

    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::StoreStopped { store, .. } => lock(&self.state).stopped = Some(store),
            Event::StoreFailed {
                key,
                error: SessionError::Store(error),
            } if !error.is_outage() && !error.is_unreadable() => {
                self.on_failure(error);
                let key = key.map(display);
                debug!(target: "hyper_session", event = event.name(), key, ?error);
                return;
            }
            // A new session is loaded without the store.
            Event::Initiated { fresh: false, .. } if self.is_out.load(Ordering::Relaxed) => {
                self.on_success(true);
            }
            Event::Committed { .. } | Event::Destroyed { .. }
                if self.is_out.load(Ordering::Relaxed) =>
            {
                self.on_success(false);
            }
            _ => {}
        }
        TracingListener.on_event(event);
    }
}
