//! The session around a service: hyper's, and with the feature `tower` also tower's.
//!
//! [`Sessions`] is what a program builds once. It wraps a service ([`wrap`](Sessions::wrap)), or a
//! function that takes the session as an argument ([`wrap_fn`](Sessions::wrap_fn)), and leads to
//! the [`SessionCollection`](crate::session::SessionCollection) of all sessions.

mod body;
mod future;
mod hyper;
mod request;
mod response;
mod sessions;

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tower")]
mod tower;
#[cfg(feature = "tracing")]
mod tracing;

pub use body::SessionBody;
pub use future::SessionFuture;
pub use hyper::{SessionFn, SessionService};
#[cfg(feature = "metrics")]
pub use metrics::MetricsListener;
pub use request::{MissingSessionLayer, SessionExt};
pub use sessions::{Sessions, SessionsBuilder};
#[cfg(feature = "tower")]
pub use tower::SessionLayer;
#[cfg(feature = "tracing")]
pub use tracing::TracingListener;
