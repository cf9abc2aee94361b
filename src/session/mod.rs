//! A visitor's session during one request.
//!
//! [`Session`] is a cheap handle. [`load`](Session::load) is its only read of the store, and the
//! only await that most handlers need. After it, reading and writing work as on a map. The service
//! commits the changes when the handler has returned.

mod backend;
mod collection;
mod commit;
mod cookie_cache;
mod engine;
mod error;
mod events;
mod handle;
#[cfg(feature = "testing")]
mod inspect;
mod key_table;
mod load;
mod max_age;
mod methods;
mod pending_ids;
mod policy;
mod rotation;
mod snapshot;
mod state;
mod trace;
mod typed;
mod visibility;

pub(crate) use backend::Backend;
pub use collection::{SessionCollection, SessionInfo, SessionScan};
pub use commit::Commit;
pub(crate) use commit::{CommitQueues, FinalCommit, SessionOutcome};
pub(crate) use cookie_cache::CookieCache;
pub(crate) use engine::Engine;
pub use error::{ConflictReason, ContentionReason, ReadOnlyReason, SessionError, SizeLimit};
pub(crate) use events::Listeners;
pub use events::{Event, Listener};
pub use handle::Session;
#[cfg(feature = "testing")]
pub(crate) use inspect::{StoredSession, inspect};
pub(crate) use key_table::{RecentChanges, TouchTimes};
pub use load::Load;
pub use max_age::MaxAgeError;
pub(crate) use methods::is_own_path;
pub(crate) use pending_ids::PendingIds;
pub(crate) use policy::Policy;
pub use policy::{CookiePolicy, OnConflict, OnStoreFailure, OnTooLarge};
pub use snapshot::Snapshot;
pub(crate) use trace::OperationMeters;
pub use typed::Typed;
pub(crate) use visibility::is_prefetch;
