//! Proofs of the library's concurrency.
//!
//! The modules under proof are the library's own files. Their locks, atomics and clock are those of `sync`, which loom
//! controls: each test runs in every order of the threads' steps, up to a number of preemptions. The crate takes the
//! place of other crates too: its modules have the interfaces of `tokio`, `dashmap`, `futures_timer` and `getrandom`,
//! as far as the library uses them.
#![cfg(test)]
#![allow(dead_code, reason = "the proofs use a part of each module")]

extern crate self as dashmap;
extern crate self as futures_timer;
extern crate self as getrandom;
extern crate self as tokio;

mod runtime;
mod session;
mod store;
mod sync;
mod table;
/// Tasks of `tokio`.
mod task {
    pub(crate) use crate::runtime::yield_now;
}
/// Timers of `tokio`.
mod time {
    pub(crate) use crate::runtime::sleep;
}
/// The clock of the library, which the tests set.
mod clock {
    pub(crate) use hyper_session::clock::{Clock, Timestamp};
}
/// The lifetime of a session.
mod wire {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Lifetime {
        pub(crate) created: u64,
    }
}
/// Ids and keys.
mod id {
    pub(crate) use hyper_session::id::{SessionId, StoreKey};
}
/// The hash function of tables. It has no random seed, so that each run of a model is the same.
mod random_state {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    pub(crate) type RandomState = BuildHasherDefault<DefaultHasher>;
}

pub(crate) use real_tokio::select;
pub(crate) use runtime::{Delay, fill};
pub(crate) use table::{DashMap, Entry};

/// Runs a model in all orders with at most `preemptions` preemptions.
fn model(preemptions: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}
