//! A kit for the tests of handlers: a client with cookies, assertions, a manual clock, and a store that
//! fails on request.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use hyper::body::Incoming;
//! use hyper_session::{Session, SessionError, testing::{TestClient, TestSessions}};
//!
//! async fn visit(_: Request<Incoming>, session: Session) -> Result<Response<Full<Bytes>>, SessionError> {
//!     session.load().await?;
//!     let visits = session.increment("visits")?;
//!     Ok(Response::new(Full::from(format!("visit number {visits}"))))
//! }
//!
//! # /*
//! #[tokio::test]
//! # */
//! async fn visits_are_counted() {
//!     let test = TestSessions::new();
//!     let client = TestClient::new(test.sessions(), test.sessions().wrap_fn(visit));
//!     client.get("/").send().await;
//!     client.get("/").send().await.assert_status(200).assert_session("visits", 2);
//! }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(visits_are_counted());
//! ```
//!
//! - [`TestSessions`] are sessions in memory, with a manual clock.
//! - [`TestClient`] is a browser. It calls any service of hyper or tower, without a socket.
//! - [`TestResponse`] asserts what a response says, and what the request left in the session.
//! - [`TestStore`] wraps a store. Its calls can fail and wait, and it counts them.
//!
//! The [guide's page](crate::guide::testing) shows the tests of a login.

#![allow(clippy::panic, reason = "assertions panic")]

mod browser;
mod browser_cookie;
mod client;
mod connection;
mod jar;
mod location;
mod request;
mod response;
mod sent_request;
mod sessions;
mod store;
#[cfg(feature = "tower")]
mod tower;

pub use client::TestClient;
pub use request::TestRequest;
pub use response::TestResponse;
pub use sessions::TestSessions;
pub use store::{Gate, StoreCall, TestStore};
