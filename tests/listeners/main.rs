//! Listeners that write to `tracing` and `metrics`.
//!
//! A program of its own. `tracing` remembers for the whole process which call sites have a
//! subscriber, so tests without one would hide events from these tests.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "metrics")]
mod events;
#[cfg(all(
    unix,
    feature = "cli",
    feature = "file",
    feature = "forms",
    feature = "metrics",
    feature = "redis"
))]
mod file_stores;
#[cfg(all(
    unix,
    feature = "cli",
    feature = "file",
    feature = "forms",
    feature = "metrics",
    feature = "redis"
))]
mod forms;
#[cfg(all(
    unix,
    feature = "cli",
    feature = "file",
    feature = "forms",
    feature = "metrics",
    feature = "redis"
))]
mod full_run;
mod log;
#[cfg(all(unix, feature = "file", feature = "metrics", feature = "redis"))]
mod metrics;
#[cfg(feature = "redis")]
mod redis_outage;
#[cfg(feature = "metrics")]
mod secrets;
mod store_outages;
mod subscriber;
#[cfg(feature = "metrics")]
mod tokens;
