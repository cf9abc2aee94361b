//! What happened to a session, for whoever wants to know.

use std::{fmt::Debug, sync::Arc, time::Duration};

use super::SessionError;
use crate::id::StoreKey;

/// Something happened to a session. Sessions are named by their [`StoreKey`], which opens nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request opened its session.
    Initiated {
        /// The session.
        key: StoreKey,
        /// It holds nothing yet: no earlier request stored anything under this id.
        fresh: bool,
    },
    /// A request's changes are stored.
    Committed {
        /// The session.
        key: StoreKey,
    },
    /// A session moved to another id.
    Regenerated {
        /// The session under its old id, which is dead now.
        from: StoreKey,
        /// The session under its new id.
        to: StoreKey,
    },
    /// A session was ended.
    Destroyed {
        /// The session that ended.
        key: StoreKey,
    },
    /// Another request had changed the session; both requests' changes are stored.
    ConflictResolved {
        /// The session.
        key: StoreKey,
        /// How often the write was tried again.
        attempts: u32,
    },
    /// A request's changes were not stored: the session had been destroyed or had moved on, it was
    /// too large, or one operation no longer fitted what another request had written.
    WriteDropped {
        /// The session.
        key: StoreKey,
        /// Why.
        reason: &'static str,
    },
    /// A request carried a cookie of our name that we did not issue, or not like this. Of data
    /// cookies, which a client-side store has, the reasons begin with `data_`.
    CookieRejected {
        /// Why, in words that hold nothing of the cookie.
        reason: &'static str,
    },
    /// A request that would have changed something did not come from a page of ours, as far as it
    /// can show, and was refused.
    CsrfFailed {
        /// Why, in words that hold nothing of the request.
        reason: &'static str,
    },
    /// The store failed, held something unreadable, or did not take the session for its size.
    StoreFailed {
        /// The failure.
        error: &'a SessionError,
    },
    /// A store that the configuration opened does not answer any more. Until it is back, each failure
    /// is a [`StoreFailed`](Self::StoreFailed) with an error that
    /// [is of the outage](SessionError::is_outage).
    StoreUnavailable {
        /// The store's name.
        store: &'static str,
        /// What it looks like from here.
        reason: &'a str,
    },
    /// A store that was away answers again.
    StoreRecovered {
        /// The store's name.
        store: &'static str,
        /// How long it has been since the first failure.
        lasted: Duration,
        /// How many of its operations failed meanwhile.
        failed: u64,
    },
    /// A setting was adjusted to what user agents accept.
    ConfigAdjusted {
        /// What was changed and to what.
        reason: &'static str,
    },
}

impl Event<'_> {
    /// The event's name, as logs and metrics spell it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Initiated { .. } => "initiated",
            Self::Committed { .. } => "committed",
            Self::Regenerated { .. } => "migrated",
            Self::Destroyed { .. } => "destroyed",
            Self::ConflictResolved { .. } => "conflict_resolved",
            Self::WriteDropped { .. } => "write_dropped",
            Self::CookieRejected { .. } => "cookie_rejected",
            Self::CsrfFailed { .. } => "csrf_refused",
            Self::StoreFailed { .. } => "store_failed",
            Self::StoreUnavailable { .. } => "store_away",
            Self::StoreRecovered { .. } => "store_back",
            Self::ConfigAdjusted { .. } => "config_adjusted",
        }
    }
}

/// Hears of [`Event`]s.
///
/// Called on the request's own task while the request waits, so it must be quick and must not
/// block. Any `Fn(&Event)` is a listener.
pub trait Listener: Send + Sync + 'static {
    /// Something happened.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Listener for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// The listeners of one engine; an engine without any pays one comparison an event. A clone is for a
/// store, which tells them of outages.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Arc<dyn Listener>>);

impl Listeners {
    pub(crate) fn add(&mut self, listener: impl Listener) {
        self.0.push(Arc::new(listener));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.0.iter().for_each(|listener| listener.on_event(event));
    }
}

impl Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listeners({})", self.0.len())
    }
}
