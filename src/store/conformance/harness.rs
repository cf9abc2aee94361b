//! Where the suite gets its stores, and how time passes for them.

use std::{future::Future, time::Duration};

use crate::{clock::Clock, store::Store};

/// What the suite needs to test a store.
pub trait Harness: Send + Sync {
    /// The store under test.
    type Store: Store;

    /// A store to test. Each check asks for one; it may be the same every time.
    fn store(&self) -> impl Future<Output = Self::Store> + Send;

    /// Lets at least `time` pass for every store that was given out, and little more.
    fn advance(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// A lifetime that the suite can wait for: long enough for a dozen calls of the store, and
    /// shorter than a quarter of the [tombstone time](Self::tombstone_ttl). Default: 5 s.
    fn short_ttl(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// The tombstone time of the stores that are given out. Default: 60 s.
    fn tombstone_ttl(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// Tests stores that take their time from a [`Clock`]: no waiting.
#[derive(Clone, Debug)]
pub struct ManualTime<F> {
    clock: Clock,
    make: F,
}

impl<F> ManualTime<F> {
    /// Stores from `make`, all of them on `clock`, which must be a manual one, with the default
    /// tombstone time of 60 s.
    pub fn new(clock: &Clock, make: F) -> Self {
        let clock = clock.clone();
        Self { clock, make }
    }
}

impl<S, F, Made> Harness for ManualTime<F>
where
    S: Store,
    F: Fn() -> Made + Send + Sync,
    Made: Future<Output = S> + Send,
{
    type Store = S;

    async fn store(&self) -> S {
        (self.make)().await
    }

    async fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }
}

/// Tests stores on real time: the suite waits for what must expire, in all for about thirteen short
/// lifetimes and five tombstone times.
#[derive(Clone, Debug)]
pub struct RealTime<F> {
    make: F,
    short: Duration,
    tombstone: Duration,
}

impl<F> RealTime<F> {
    /// Stores from `make`, whose tombstone time is `tombstone`. Records that have to expire live
    /// for `short`; see [`Harness::short`] for what both must be. On a local server 250 ms and 2 s
    /// do well.
    pub const fn new(make: F, short: Duration, tombstone: Duration) -> Self {
        Self {
            make,
            short,
            tombstone,
        }
    }
}

impl<S, F, Made> Harness for RealTime<F>
where
    S: Store,
    F: Fn() -> Made + Send + Sync,
    Made: Future<Output = S> + Send,
{
    type Store = S;

    async fn store(&self) -> S {
        (self.make)().await
    }

    async fn advance(&self, time: Duration) {
        /// Timers and servers round to milliseconds, in either direction.
        const SLACK: Duration = Duration::from_millis(10);
        tokio::time::sleep(time + SLACK).await;
    }

    fn short_ttl(&self) -> Duration {
        self.short
    }

    fn tombstone_ttl(&self) -> Duration {
        self.tombstone
    }
}
