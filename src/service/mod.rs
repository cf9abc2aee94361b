//! Session middleware for hyper services and, with the feature `tower`, for tower services.
//!
//! A program builds one [`Sessions`]. It wraps a service ([`wrap`](Sessions::wrap)) or a function that
//! takes the session as an argument ([`wrap_fn`](Sessions::wrap_fn)). With the feature `tower`,
//! `Sessions::layer` returns a layer. With the feature `axum`, `Session` is an extractor, and errors are
//! responses. If a service is wrapped twice with the same `Sessions`, the outer
//! layer creates and commits the session, and the inner layer passes it on. [`collection`](Sessions::collection) gives access to the stored
//! sessions outside of a request.
//!
//! A handler redirects with [`Redirect`], whose target is always on this origin. [`ErrorPages`] renders the
//! error responses of sessions and forms, with the texts of a catalogue ([`Messages`]).

mod body;
mod caching;
mod error_pages;
mod failure;
mod future;
mod hyper;
mod layer_session;
mod messages;
mod origin;
mod redirect;
mod request_info;
mod response;
mod session_ext;
mod sessions;

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "testing")]
mod inspect;
#[cfg(not(feature = "tracing"))]
#[path = "no_log.rs"]
mod log;
#[cfg(feature = "tracing")]
#[path = "tracing.rs"]
mod log;
#[cfg(feature = "metrics")]
#[path = "metrics.rs"]
mod meter;
#[cfg(not(feature = "metrics"))]
#[path = "no_metrics.rs"]
mod meter;
#[cfg(feature = "tracing")]
mod outage_log;
#[cfg(feature = "tracing")]
mod throttle;
#[cfg(feature = "tower")]
mod tower;

#[cfg(feature = "axum")]
pub use axum::{ReadOnlySession, SessionRejection, UnloadedSession};
pub use body::SessionBody;
pub use error_pages::{ErrorPageBody, ErrorPageFuture, ErrorPageService, ErrorPages};
#[cfg(feature = "forms")]
pub(crate) use failure::InputFailure;
pub use failure::RequestFailure;
pub use future::SessionFuture;
pub use hyper::{SessionFn, SessionService};
#[cfg(feature = "testing")]
pub(crate) use inspect::failure_text;
pub use layer_session::SessionLayerConflict;
#[cfg(feature = "tracing")]
pub use log::TracingListener;
pub use messages::Messages;
#[cfg(feature = "forms")]
pub(crate) use messages::english_text;
#[cfg(feature = "metrics")]
pub use meter::{MetricDescription, MetricKind, MetricsListener};
#[cfg(feature = "forms")]
pub(crate) use origin::{Origin, OwnOrigins};
pub use redirect::Redirect;
pub use request_info::{RequestHead, RequestInfo};
pub use session_ext::{MissingSessionLayer, SessionExt};
pub use sessions::{Sessions, SessionsBuilder};
#[cfg(feature = "tower")]
pub use tower::{ErrorPageLayer, SessionLayer};
