//! The request cases that benches and allocation counts have in common.
//!
//! A call is one request, answered in process around a service that does next to nothing, and the
//! answer dropped. The request is cloned inside the call, since a service consumes it: what a
//! session costs is the difference to [`raw`], which clones and answers the same.

mod calls;
mod document;
mod request;

pub(crate) use calls::{Call, Job, Way, call, call_each, enter, raw, raw_each, seed};
pub(crate) use document::{COUNTER, Size};
pub(crate) use request::{Body, config, plain, with_cookie};
