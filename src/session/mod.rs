//! What a handler holds: one visitor's session, for the length of one request.
//!
//! [`Session`] is a cheap handle. [`load`](Session::load) it once, the only await there is, then
//! read and write as on a map; the service commits the changes when the handler has answered.

mod collection;
mod commit;
mod engine;
mod error;
mod events;
mod flash;
mod identity;
mod intended;
mod lifecycle;
mod load;
mod messages;
mod policy;
mod read;
mod settle;
mod slot;
mod snapshot;
mod state;
mod write;

pub use collection::Collection;
pub use commit::Commit;
pub(crate) use engine::Engine;
pub use error::SessionError;
pub(crate) use events::Listeners;
pub use events::{Event, Listener};
pub use load::Load;
pub(crate) use policy::Policy;
pub use policy::{CookiePolicy, OnStoreFailure};
pub(crate) use settle::Settled;
pub use slot::Session;
pub use snapshot::Snapshot;
