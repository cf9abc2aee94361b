//! The requests and services that benches and allocation tests share.
//!
//! A [`Call`] sends one request in process to a service that does almost nothing, and drops the
//! response. It clones the request first, because a service consumes it. The cost of a session is
//! the difference to [`raw`], which clones the request and responds in the same way.

mod calls;
mod document;
mod request;
mod scratch;

pub(crate) use calls::{Access, Call, Job, call, call_each, drive, enter, raw, raw_each, seed};
pub(crate) use document::{COUNTER, Size};
pub(crate) use request::{Body, config, cookie_line, plain, with_cookie};
pub(crate) use scratch::Scratch;
