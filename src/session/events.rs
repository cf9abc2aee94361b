//! Events of sessions, and their listeners.

use std::{
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use smallvec::SmallVec;

use super::SessionError;
use crate::{clock::Timestamp, id::StoreKey};

/// An event of a session or its store.
///
/// Events identify a session by its [`StoreKey`], which gives no access to it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The load of a session.
    Initiated {
        /// The session's key.
        key: StoreKey,
        /// `true` if nothing was stored under this id.
        fresh: bool,
    },
    /// A successful commit of a request's changes.
    Committed {
        /// The session's key.
        key: StoreKey,
    },
    /// A new id for a session.
    #[doc(alias = "migrated")]
    Regenerated {
        /// The key of the old id. It is dead, or forwards to the new id for a grace window.
        from: StoreKey,
        /// The key of the new id.
        to: StoreKey,
    },
    /// The destruction of a session. Not emitted if the store still knows that the session had ended before, so there
    /// may be no event if an answer of the store was lost. Requests that find an expired record at the same time emit
    /// one each.
    Destroyed {
        /// The session's key.
        key: StoreKey,
    },
    /// A merge with the changes of another request. The changes of both requests are stored.
    ConflictResolved {
        /// The session's key.
        key: StoreKey,
        /// Number of writes that conflicted.
        attempts: u32,
    },
    /// A change that does not fit a change which another request stored first. None of the changes of
    /// its commit were stored, and the commit failed with [`SessionError::Conflict`].
    Conflict {
        /// The session's key.
        key: StoreKey,
        /// The path of the change, or `tags`.
        path: &'a str,
    },
    /// Changes of a request that were not stored, and that no later commit of it stores. The session was destroyed
    /// or regenerated, has expired or was evicted; too many requests changed it; it is over `limits.document`
    /// together with changes of other requests; a task made them during an explicit commit that was refused; or the
    /// policy is to drop changes that are too large or do not fit.
    WriteDropped {
        /// The session's key.
        key: StoreKey,
        /// The reason.
        reason: &'static str,
    },
    /// A stored record whose bytes are damaged or are not a session. The visitor has a new session, and
    /// the record is left to expire.
    RecordUnreadable {
        /// The key of the record.
        key: StoreKey,
    },
    /// A session cookie that this service did not issue, or not in this form. The reasons for data
    /// cookies, which a client-side store has, begin with `data_`.
    CookieRejected {
        /// The reason, without any part of the cookie.
        reason: &'static str,
    },
    /// A failed CSRF check. The request was rejected.
    #[doc(alias = "csrf_refused")]
    CsrfFailed {
        /// The reason, without any part of the request.
        reason: &'static str,
    },
    /// A failure of the store: it did not answer, held a record that this release cannot open, or
    /// rejected the size of the session.
    StoreFailed {
        /// The session's key, if it is known. The record of a newer release is stored under it, for
        /// example.
        key: Option<StoreKey>,
        /// The error.
        error: &'a SessionError,
    },
    /// The beginning of an outage of a store that the configuration opened. Until the store
    /// recovers, each failure is a [`StoreFailed`](Self::StoreFailed) with
    /// [`SessionError::is_outage`].
    #[doc(alias = "store_away")]
    StoreUnavailable {
        /// The store's name.
        store: &'static str,
        /// The server that does not answer; a cluster has an outage for each.
        server: &'a str,
        /// The failure that began the outage.
        reason: &'a str,
    },
    /// The end of a store's outage.
    #[doc(alias = "store_back")]
    StoreRecovered {
        /// The store's name.
        store: &'static str,
        /// The server that answers again.
        server: &'a str,
        /// Time since the first command that was not answered.
        lasted: Duration,
        /// Number of operations that failed or were cancelled during the outage.
        failed: u64,
    },
    /// A store that the configuration opened has stopped: it accepts no more writes until it is opened
    /// again. Remove the cause and restart the service.
    StoreStopped {
        /// The store's name.
        store: &'static str,
        /// The cause.
        reason: &'a str,
    },
    /// A problem of a store that the configuration opened, for its operator. The store continues to work.
    StoreProblem {
        /// The store's name.
        store: &'static str,
        /// The name of the problem. For the file store, `damaged`, `segment_skipped`, `compaction_failed`,
        /// `directory_not_locked` or `clock_behind`.
        problem: &'static str,
        /// The description, with the remedy.
        message: &'a str,
    },
    /// Another application that uses the same keys of a store: at its last start, it had other
    /// application keys. Sessions stay separate, but tags are shared, so logging a user out everywhere ends
    /// sessions of the other application, too. Give each application a prefix of its own. A store reports
    /// this when it is [ready](crate::Sessions::ready).
    ///
    /// It is also reported once after all application keys were replaced without keeping a previous one.
    PrefixShared {
        /// The store's name.
        store: &'static str,
        /// The prefix of the keys, the setting `prefix`.
        prefix: &'a str,
        /// The last start of the other application.
        other_started: Timestamp,
    },
    /// A request that passed layers of two [`Sessions`](crate::Sessions) with one cookie name. It was
    /// answered with a 500. See [`SessionLayerConflict`](crate::service::SessionLayerConflict).
    LayerConflict {
        /// The name of the cookie.
        cookie_name: &'a str,
    },
    /// A setting that was adjusted to a limit of user agents.
    ConfigAdjusted {
        /// The setting and its new value.
        reason: &'static str,
    },
}

impl Event<'_> {
    /// Returns the event's name in logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Initiated { .. } => "initiated",
            Self::Committed { .. } => "committed",
            Self::Regenerated { .. } => "migrated",
            Self::Destroyed { .. } => "destroyed",
            Self::ConflictResolved { .. } => "conflict_resolved",
            Self::Conflict { .. } => "conflict",
            Self::WriteDropped { .. } => "write_dropped",
            Self::RecordUnreadable { .. } => "record_unreadable",
            Self::CookieRejected { .. } => "cookie_rejected",
            Self::CsrfFailed { .. } => "csrf_refused",
            Self::StoreFailed { .. } => "store_failed",
            Self::StoreUnavailable { .. } => "store_away",
            Self::StoreRecovered { .. } => "store_back",
            Self::StoreStopped { .. } => "store_stopped",
            Self::StoreProblem { .. } => "store_problem",
            Self::PrefixShared { .. } => "prefix_shared",
            Self::LayerConflict { .. } => "layer_conflict",
            Self::ConfigAdjusted { .. } => "config_adjusted",
        }
    }
}

/// A receiver of [`Event`]s.
///
/// Listeners run on the request's task while the request waits, so they must be quick and must not
/// block. They may use the session, except for the events of a store, during which its lock may be held:
/// [`StoreUnavailable`](Event::StoreUnavailable), [`StoreRecovered`](Event::StoreRecovered),
/// [`StoreStopped`](Event::StoreStopped) and [`StoreProblem`](Event::StoreProblem). A panic of a listener is
/// caught and ignored: the other listeners get the event, and the request continues. Every `Fn(&Event)` is a
/// listener.
pub trait Listener: Send + Sync + 'static {
    /// Handles an event.
    fn on_event(&self, event: &Event<'_>);

    /// Returns `false` if the listener ignores [`Initiated`](Event::Initiated),
    /// [`Committed`](Event::Committed) and [`ConflictResolved`](Event::ConflictResolved) at the moment.
    /// Requests without other events then cost nothing. Default: `true`.
    fn wants_routine_events(&self) -> bool {
        true
    }
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Listener for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// An event of a session that is locked. The listeners get it when the lock is released, since they may
/// use the session.
#[derive(Debug)]
pub(super) enum QueuedEvent {
    Event(Event<'static>),
    StoreFailed(Option<StoreKey>, SessionError),
}

/// The events of a session that is locked, in order. A request seldom has more than one at once.
pub(super) type QueuedEvents = SmallVec<[QueuedEvent; 1]>;

/// The listeners of one engine. Without listeners, an event costs one comparison. A store that
/// reports outages or problems gets a clone.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Arc<dyn Listener>>);

impl Listeners {
    pub(crate) fn add(&mut self, listener: impl Listener) {
        self.0.push(Arc::new(listener));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `true` if a listener handles the events of requests that succeed. A listener that panics gets them.
    pub(crate) fn want_routine_events(&self) -> bool {
        let wants = |listener: &Arc<dyn Listener>| {
            catch_unwind(AssertUnwindSafe(|| listener.wants_routine_events())).unwrap_or(true)
        };
        self.0.iter().any(wants)
    }

    /// Passes `event` to all listeners. The panic of one affects neither the others nor the request or the
    /// store that emits the event.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        for listener in &self.0 {
            let _panicked = catch_unwind(AssertUnwindSafe(|| listener.on_event(event)));
        }
    }
}

impl Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listeners({})", self.0.len())
    }
}
