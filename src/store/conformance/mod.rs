//! The conformance suite: tests any [`Store`] against the promises of its contract.
//!
//! Run it in one test of your store:
//!
//! ```
//! use hyper_session::{clock::{Clock, Timestamp}, store::{MemoryStore, conformance}};
//!
//! # /*
//! #[tokio::test(flavor = "multi_thread")]
//! # */
//! async fn my_store_keeps_the_contract() {
//!     let clock = Clock::manual(Timestamp::from_millis(1_000_000));
//!     let make_store = || std::future::ready(MemoryStore::builder().clock(clock.clone()).build());
//!     let harness = conformance::ManualTime::new(&clock, make_store);
//!     conformance::run(&harness).await.assert_passed();
//! }
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
//! #     .block_on(my_store_keeps_the_contract());
//! ```
//!
//! - [`ManualTime`] tests a store that takes its time from a [`Clock`](crate::clock::Clock). It does
//!   not wait.
//! - [`RealTime`] tests a store whose server keeps the time. It waits for records to expire.
//! - [`ClientSideHarness`] wraps a store that keeps records in cookies.
//! - Anything else implements [`Harness`].
//!
//! The suite uses random keys and tags, so the store need not be empty. Only
//! [`Check::CountFollowsWrites`] requires that no other client uses the store at the same time.
//!
//! Concurrency checks spawn tasks on the current tokio runtime. Use a multi-threaded runtime: on one
//! thread, a store that never suspends shows no races.
//!
//! The suite skips checks that require a capability which the store's
//! [`Capabilities`](super::Capabilities) exclude. The [`Report`] lists them.

mod check;
mod client_side;
mod destroy;
mod expiry;
mod harness;
mod keep;
mod probe;
mod races;
mod records;
mod report;
mod scan;
mod tag_index;
mod tag_races;
mod tags;
mod write;

#[cfg(doc)]
use super::Store;

pub use self::{
    check::{Check, check, run},
    client_side::ClientSideHarness,
    harness::{Harness, ManualTime, RealTime},
    report::{Report, Violation},
};
