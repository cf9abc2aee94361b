//! What a handler holds: one visitor's session, for the length of one request.
//!
//! [`Session`] is a cheap handle. [`load`](Session::load) it once, the only await there is, then
//! read and write as on a map; the service commits the changes when the handler has answered.

mod backing;
mod collection;
mod commit;
mod csrf;
mod decide;
mod engine;
mod error;
mod events;
mod flash;
mod identity;
#[cfg(feature = "file")]
mod import;
mod input;
mod intended;
mod lifecycle;
mod load;
mod memo;
mod messages;
mod moving;
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
mod standing;
mod state;
mod steps;
mod too_large;
mod write;

pub(crate) use backing::Backing;
pub use collection::SessionCollection;
pub use commit::Commit;
pub(crate) use engine::Engine;
pub use error::SessionError;
pub(crate) use events::Listeners;
pub use events::{Event, Listener};
#[cfg(feature = "file")]
pub use import::adonis_file;
#[cfg(feature = "forms")]
pub(crate) use intended::is_own_path;
pub use load::Load;
pub(crate) use memo::Memo;
pub(crate) use policy::Policy;
pub use policy::{CookiePolicy, OnStoreFailure, OnTooLarge};
pub(crate) use retired::Retired;
pub(crate) use settle::{Closing, Failure, Settled};
pub use slot::Session;
pub use snapshot::Snapshot;
