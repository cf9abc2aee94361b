//! The environments that the suite tests stores in.

use std::{
    future::Future,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{clock::Clock, store::Store, sync::lock};

/// A source of stores to test, and of time.
pub trait Harness: Send + Sync {
    /// The store under test.
    type Store: Store;

    /// Returns a store to test. Each check calls this; it may return the same store every time.
    fn store(&self) -> impl Future<Output = Self::Store> + Send;

    /// Lets at least `time` pass for every returned store, and little more.
    fn advance(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Returns the TTL of records that have to expire. It must be long enough for a dozen calls of
    /// the store, and shorter than a quarter of [`tombstone_ttl`](Self::tombstone_ttl). Default: 5 s.
    fn short_ttl(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Returns the tombstone TTL of the stores. Default: 60 s.
    fn tombstone_ttl(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Makes the answer to the next write of `store` get lost on its way: the server applies the write, and the store
    /// does not learn of it, as if the connection broke. Returns `false` if the harness cannot do this. Default:
    /// `false`.
    fn lose_answer(&self, _store: &Self::Store) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }
}

/// A harness for stores that take their time from a manual [`Clock`]. It does not wait.
#[derive(Clone, Debug)]
pub struct ManualTime<F> {
    clock: Clock,
    make_store: F,
}

impl<F> ManualTime<F> {
    /// Returns a harness that gets its stores from `make_store`.
    ///
    /// All stores must use `clock`, which must be manual, and the default tombstone TTL of 60 s.
    pub fn new(clock: &Clock, make_store: F) -> Self {
        let clock = clock.clone();
        Self { clock, make_store }
    }
}

impl<S, F, StoreReady> Harness for ManualTime<F>
where
    S: Store,
    F: Fn() -> StoreReady + Send + Sync,
    StoreReady: Future<Output = S> + Send,
{
    type Store = S;

    async fn store(&self) -> S {
        (self.make_store)().await
    }

    async fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }
}

/// A harness for stores on real time. If the machine is too slow for a check, the check is repeated with a
/// longer `short_ttl`, at most a fifth of `tombstone_ttl`. The suite waits about twenty times `short_ttl` and
/// five times `tombstone_ttl`.
#[derive(Clone, Debug)]
pub struct RealTime<F> {
    make_store: F,
    short_ttl: Duration,
    tombstone_ttl: Duration,
}

impl<F> RealTime<F> {
    /// Returns a harness that gets its stores from `make_store`. Their tombstone TTL must be
    /// `tombstone_ttl`.
    ///
    /// Records that have to expire get the TTL `short_ttl`; see [`Harness::short_ttl`] for its range.
    /// For a server on the same machine, use 250 ms and 2 s.
    pub const fn new(make_store: F, short_ttl: Duration, tombstone_ttl: Duration) -> Self {
        Self {
            make_store,
            short_ttl,
            tombstone_ttl,
        }
    }
}

impl<S, F, StoreReady> Harness for RealTime<F>
where
    S: Store,
    F: Fn() -> StoreReady + Send + Sync,
    StoreReady: Future<Output = S> + Send,
{
    type Store = S;

    async fn store(&self) -> S {
        (self.make_store)().await
    }

    async fn advance(&self, time: Duration) {
        /// Tolerance for timers and servers that round to milliseconds, up or down.
        const SLACK: Duration = Duration::from_millis(10);
        tokio::time::sleep(time + SLACK).await;
    }

    fn short_ttl(&self) -> Duration {
        self.short_ttl
    }

    fn tombstone_ttl(&self) -> Duration {
        self.tombstone_ttl
    }
}

/// A harness that measures how much more time passes than a check asks for.
pub(super) struct Stopwatch<'h, H> {
    harness: &'h H,
    short_ttl: Duration,
    began: Instant,
    advanced: Mutex<Duration>,
}

impl<'h, H: Harness> Stopwatch<'h, H> {
    /// Makes the harness of a check after `repetitions` attempts that took too long.
    pub(super) fn new(harness: &'h H, repetitions: u32) -> Self {
        let (short, longest) = (harness.short_ttl(), harness.tombstone_ttl() / 5);
        let doubled = short.saturating_mul(1 << repetitions);
        Self {
            harness,
            short_ttl: doubled.min(longest).max(short),
            began: Instant::now(),
            advanced: Mutex::default(),
        }
    }

    /// Returns `true` if so little time has passed between the waits that no time to live can have
    /// ended early.
    pub(super) fn is_in_time(&self) -> bool {
        let extra = self.began.elapsed().saturating_sub(*lock(&self.advanced));
        let shortest = self.short_ttl().min(self.tombstone_ttl());
        extra < shortest / 8
    }
}

impl<H: Harness> Harness for Stopwatch<'_, H> {
    type Store = H::Store;

    async fn store(&self) -> Self::Store {
        self.harness.store().await
    }

    async fn advance(&self, time: Duration) {
        *lock(&self.advanced) += time;
        self.harness.advance(time).await;
    }

    fn short_ttl(&self) -> Duration {
        self.short_ttl
    }

    fn tombstone_ttl(&self) -> Duration {
        self.harness.tombstone_ttl()
    }

    async fn lose_answer(&self, store: &Self::Store) -> bool {
        self.harness.lose_answer(store).await
    }
}
