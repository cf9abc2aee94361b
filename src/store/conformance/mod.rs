//! The store conformance suite: every promise of [`Store`], asked of any store.
//!
//! Whoever writes a store runs it in one test:
//!
//! ```
//! use hyper_session::{clock::{Clock, Timestamp}, store::{MemoryStore, conformance}};
//!
//! # /*
//! #[tokio::test(flavor = "multi_thread")]
//! # */
//! async fn my_store_keeps_the_contract() {
//!     let clock = Clock::manual(Timestamp::from_millis(1_000_000));
//!     let make = || std::future::ready(MemoryStore::builder().clock(clock.clone()).build());
//!     conformance::run(&conformance::ManualTime::new(&clock, make)).await.assert_kept();
//! }
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
//! #     .block_on(my_store_keeps_the_contract());
//! ```
//!
//! A store whose time cannot be moved, because a server keeps it, is tested by [`RealTime`], with
//! times short enough to wait for. Anything else implements [`Harness`].
//!
//! The suite uses fresh random keys and tags, so the store need not be empty; only
//! [`Check::CountFollows`] asks that nobody else uses it meanwhile. Checks of concurrency run on the
//! current tokio runtime: only a multi-threaded one shows races inside a store that never suspends.
//!
//! A store whose records travel with the visitor is asked through [`ClientSideHarness`].
//!
//! What a store's [`Capabilities`](super::Capabilities) deny is not asked of it; the [`Report`] says
//! what was left out.

mod check;
mod destroys;
mod expiry;
mod harness;
mod probe;
mod races;
mod records;
mod report;
mod tag_races;
mod tags;
mod visitors;
mod writes;

#[cfg(doc)]
use super::Store;

pub use self::{
    check::{Check, check, run},
    harness::{Harness, ManualTime, RealTime},
    report::{Report, Violation},
    visitors::ClientSideHarness,
};
