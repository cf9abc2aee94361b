//! Session middleware for services built on [hyper] 1.x, used directly, through tower and axum, or
//! inside a proxy.
//!
//! A [`Session`] holds the data of one browser between its requests. The browser keeps only a sealed
//! id cookie; a store keeps the data. Concurrent requests of one session keep all their changes: each
//! request records its operations and commits them with a version check, on one machine or on ten.
//!
//! # Where to find things
//!
//! | you want to | use |
//! | --- | --- |
//! | read and write in a handler | [`Session`], from [`SessionExt::session`], as an argument or as an [axum extractor](guide::axum) |
//! | build sessions for a service | [`Sessions`] with a [`SessionConfig`] |
//! | choose where the data lives | [`MemoryStore`], [`FileStore`], [`CookieStore`], [`RedisStore`], [`MigratingStore`] |
//! | write your own store | [`Store`](store::Store) and its [conformance suite](guide::custom_stores) |
//! | end all sessions of a user | [`SessionCollection::destroy_tagged`] |
//! | observe | [`Listener`] and [`Event`], or the features `tracing` and `metrics` |
//! | read forms, redirect with errors, reject forged requests | the module [`form`](guide::forms) |
//! | redirect to the intended page, render error pages, translate messages | [responses](guide::responses) |
//! | learn it in order | the [`guide`] |
//! | come from another session middleware | [porting](guide::porting) |
//!
//! # With hyper
//!
//! ```no_run
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use hyper::{body::Incoming, server::conn::http1};
//! use hyper_session::{MemoryStore, Session, SessionConfig, SessionError, Sessions};
//! use hyper_util::rt::TokioIo;
//!
//! async fn hello(
//!     _: Request<Incoming>,
//!     session: Session,
//! ) -> Result<Response<Full<Bytes>>, SessionError> {
//!     session.load().await?;
//!     let visits = session.increment("visits")?;
//!     Ok(Response::new(Full::from(format!("visit number {visits}"))))
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = SessionConfig::default().secure(false).with_env()?; // reads APP_KEY
//!     let service = Sessions::new(config, MemoryStore::new())?.wrap_fn(hello);
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     loop {
//!         let (stream, _) = listener.accept().await?;
//!         let connection =
//!             http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
//!         tokio::spawn(connection);
//!     }
//! }
//! ```
//!
//! # With axum
//!
//! ```no_run
//! # #[cfg(feature = "axum")] mod axum_example {
//! use axum::{Router, routing::get};
//! use hyper_session::{MemoryStore, Session, SessionConfig, SessionError, Sessions};
//!
//! async fn hello(session: Session) -> Result<String, SessionError> {
//!     let visits = session.increment("visits")?;
//!     Ok(format!("visit number {visits}"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = SessionConfig::default().secure(false).with_env()?; // reads APP_KEY
//! let sessions = Sessions::new(config, MemoryStore::new())?;
//! let app = Router::new().route("/", get(hello)).layer(sessions.layer());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await?;
//! # Ok(()) } }
//! ```
//!
//! # Feature flags
//!
//! | feature | adds |
//! | --- | --- |
//! | `file` (default) | [`FileStore`], on Unix |
//! | `redis` | [`RedisStore`] and its near cache, through `fred` |
//! | `tower` | [`SessionLayer`], and `SessionService` as a tower service |
//! | `axum` | [`Session`] as an extractor, errors as responses, and `tower` |
//! | `forms` | form input, validation errors, CSRF protection |
//! | `garde` | validation errors from `garde` reports |
//! | `templates` | session values in `minijinja` templates |
//! | `tracing` | events as log lines, spans around loads and commits |
//! | `metrics` | durations, events and the state of stores as metrics |
//! | `testing` | a [kit](guide::testing) for the tests of handlers, the conformance suite for stores |
//! | `cli` | the program `session-file` |
//!
//! # The guide
//!
//! [Quick start](guide::quick_start) ·
//! [Configuration](guide::configuration) ·
//! [Stores](guide::stores) ·
//! [Reading and writing](guide::reading_and_writing) ·
//! [Life cycle and ids](guide::life_cycle) ·
//! [Concurrency](guide::concurrency) ·
//! [Flash messages](guide::flash_messages) ·
//! [Forms and validation](guide::forms) ·
//! [Redirects, error pages and languages](guide::responses) ·
//! [Axum](guide::axum) ·
//! [Templates](guide::templates) ·
//! [Events and observability](guide::events) ·
//! [Testing](guide::testing) ·
//! [Custom stores](guide::custom_stores) ·
//! [Security](guide::security) ·
//! [Operations](guide::operations) ·
//! [Proxies](guide::proxies) ·
//! [Alerts](guide::alerts) ·
//! [Porting](guide::porting)
//!
//! [hyper]: https://hyper.rs

#![cfg_attr(docsrs, feature(doc_cfg))]
// The library does not panic on any input and does not print. Tests, benches and examples may. The
// one panic is that of a future polled after its completion, in `completion`.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

pub mod clock;
mod completion;
pub mod config;
pub mod cookie;
mod csrf_secret;
pub mod document;
pub mod duration;
mod error_chain;
#[cfg(feature = "forms")]
pub mod form;
#[cfg(any(doc, doctest))]
pub mod guide;
pub mod id;
#[cfg(all(feature = "file", unix))]
pub mod import;
pub mod patch;
mod random_state;
pub mod seal;
pub mod service;
pub mod session;
pub mod store;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "templates")]
pub mod view;
mod wire;

#[doc(inline)]
pub use config::SessionConfig;
#[doc(inline)]
pub use cookie::SameSite;
#[doc(inline)]
pub use document::TypedKey;
#[doc(inline)]
pub use id::StoreKey;
#[cfg(feature = "tower")]
#[doc(inline)]
pub use service::SessionLayer;
#[doc(inline)]
pub use service::{SessionExt, SessionService, Sessions};
#[doc(inline)]
pub use session::{CookiePolicy, Event, Listener, Session, SessionCollection, SessionError, Typed};
#[cfg(all(feature = "file", unix))]
#[doc(inline)]
pub use store::FileStore;
#[cfg(feature = "redis")]
#[doc(inline)]
pub use store::RedisStore;
#[doc(inline)]
pub use store::{CookieStore, MemoryStore, MigratingStore, Tag};

/// The examples of the README, compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
