//! Sessions for services built on hyper 1.x: raw, or through tower and axum.
#![doc = include_str!("../README.md")]
// The library does not panic on any input and does not print. Tests, benches and examples may.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

pub mod clock;
pub mod config;
pub mod cookie;
mod csrf_secret;
pub mod document;
pub mod duration;
mod error_chain;
#[cfg(feature = "forms")]
pub mod form;
pub mod id;
pub mod patch;
pub mod seal;
pub mod service;
pub mod session;
pub mod store;
mod sync;
#[cfg(feature = "templates")]
pub mod view;
mod wire;

pub use config::SessionConfig;
pub use service::{SessionExt, SessionService, Sessions};
pub use session::{Session, SessionError};
