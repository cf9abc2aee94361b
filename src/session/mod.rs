//! What a handler holds: one visitor's session, for the length of one request.
//!
//! [`Session`] is a cheap handle. [`load`](Session::load) it once, the only await there is, then
//! read and write as on a map; the service commits the changes when the handler has answered.

mod collection;
mod commit;
mod csrf;
mod decide;
mod engine;
mod error;
mod events;
mod flash;
mod identity;
mod input;
mod intended;
mod lifecycle;
mod load;
mod memo;
mod messages;
mod policy;
mod read;
mod renewal;
mod retired;
mod settle;
mod slot;
mod snapshot;
#[cfg(feature = "tracing")]
mod span;
#[cfg(not(feature = "tracing"))]
#[path = "no_span.rs"]
mod span;
mod state;
mod steps;
mod write;

pub use collection::Collection;
pub use commit::Commit;
pub(crate) use engine::Engine;
pub use error::SessionError;
pub(crate) use events::Listeners;
pub use events::{Event, Listener};
#[cfg(feature = "forms")]
pub(crate) use intended::is_own_path;
pub use load::Load;
pub(crate) use memo::Memo;
pub(crate) use policy::Policy;
pub use policy::{CookiePolicy, OnStoreFailure};
pub(crate) use retired::Retired;
pub(crate) use settle::{Closing, Settled};
pub use slot::Session;
pub use snapshot::Snapshot;
