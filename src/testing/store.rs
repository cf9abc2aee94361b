//! A store whose calls wait or fail on request.

use std::{
    cell::Cell,
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_timer::Delay;
use tokio::sync::Notify;

use crate::{
    id::StoreKey,
    store::{
        Capabilities, ClientSideStore, ReadOutcome, ScanStore, Store, StoreError, StoreFuture,
        StoreStat, Tag, TagStore, WriteOutcome, WriteRequest,
    },
    sync::lock,
};

/// A method of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreCall {
    /// [`Store::read`].
    Read,
    /// [`Store::write`].
    Write,
    /// [`Store::destroy`].
    Destroy,
    /// [`Store::touch`].
    Touch,
    /// [`TagStore::tagged`].
    Tagged,
}

impl StoreCall {
    const fn operation(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destroy => "destroy",
            Self::Touch => "touch",
            Self::Tagged => "list tagged",
        }
    }
}

/// The effect of a rule on a call.
#[derive(Clone, Debug)]
enum CallEffect {
    /// The call waits before it is executed.
    WaitBefore(Gate),
    /// The call is executed, and its result waits.
    WaitAfter(Gate),
    /// The call is executed after this time.
    Delay(Duration),
    /// The call fails without being executed.
    FailBefore,
    /// The call is executed, and reports a failure.
    FailAfter,
}

#[derive(Debug)]
struct CallRule {
    call: StoreCall,
    /// The number of calls that pass first.
    skip: usize,
    effect: CallEffect,
    /// Applies to all later calls.
    permanent: bool,
}

/// The place where a call of a [`TestStore`] waits.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Notify, Notify)>);

impl Gate {
    /// Waits until a call has reached the gate.
    pub async fn reached(&self) {
        self.0.0.notified().await;
    }

    /// Lets the call continue.
    pub fn open(&self) {
        self.0.1.notify_one();
    }

    async fn pass(&self) {
        self.0.0.notify_one();
        self.0.1.notified().await;
    }
}

#[derive(Default)]
struct CallLog {
    rules: Vec<CallRule>,
    calls: Vec<StoreCall>,
    keys: Vec<StoreKey>,
}

/// A store that wraps another one, records its calls, and makes them fail or wait on request. Clones share the
/// rules and the log.
///
/// ```
/// use hyper_session::{MemoryStore, testing::{StoreCall, TestStore}};
///
/// let store = TestStore::new(MemoryStore::new());
/// store.fail(StoreCall::Write); // the next write
/// store.fail_always(StoreCall::Touch);
/// let gate = store.hold(StoreCall::Read); // the next read waits until `gate.open()`
/// # let _ = gate;
/// ```
///
/// A rule for the next call is removed when it is applied. If several rules match a call, the oldest is applied.
/// The calls of the testing kit itself follow no rule and are not recorded.
///
/// Rules do not apply to a store that keeps records in cookies ([`Store::client_side`]).
pub struct TestStore<S> {
    inner: Arc<S>,
    /// Yields to other tasks before and after every call.
    yields: bool,
    log: Arc<Mutex<CallLog>>,
}

impl<S: Store> TestStore<S> {
    /// Wraps a store.
    pub fn new(inner: S) -> Self {
        Self {
            inner: Arc::new(inner),
            yields: false,
            log: Arc::default(),
        }
    }

    /// Wraps a store, and yields to other tasks before and after every call.
    pub fn yielding(inner: S) -> Self {
        Self {
            yields: true,
            ..Self::new(inner)
        }
    }

    /// Makes the next call wait at a gate before it is executed.
    pub fn hold(&self, call: StoreCall) -> Gate {
        self.hold_nth(call, 0)
    }

    /// Makes one call wait before it is executed. The `skip` calls before it pass.
    pub fn hold_nth(&self, call: StoreCall, skip: usize) -> Gate {
        let gate = Gate::default();
        self.add_rule(call, skip, CallEffect::WaitBefore(gate.clone()), false);
        gate
    }

    /// Executes the next call, and makes its result wait at a gate.
    pub fn hold_answer(&self, call: StoreCall) -> Gate {
        self.hold_answer_nth(call, 0)
    }

    /// Executes one call, and makes its result wait at a gate. The `skip` calls before it pass.
    pub fn hold_answer_nth(&self, call: StoreCall, skip: usize) -> Gate {
        let gate = Gate::default();
        self.add_rule(call, skip, CallEffect::WaitAfter(gate.clone()), false);
        gate
    }

    /// Delays every later call by `time`, on the system's clock.
    pub fn delay_always(&self, call: StoreCall, time: Duration) {
        self.add_rule(call, 0, CallEffect::Delay(time), true);
    }

    /// Makes the next call fail without being executed.
    pub fn fail(&self, call: StoreCall) {
        self.fail_nth(call, 0);
    }

    /// Makes one call fail without being executed. The `skip` calls before it pass.
    pub fn fail_nth(&self, call: StoreCall, skip: usize) {
        self.add_rule(call, skip, CallEffect::FailBefore, false);
    }

    /// Executes the next call, but reports a failure.
    pub fn fail_answer(&self, call: StoreCall) {
        self.fail_answer_nth(call, 0);
    }

    /// Executes one call, but reports a failure. The `skip` calls before it pass.
    pub fn fail_answer_nth(&self, call: StoreCall, skip: usize) {
        self.add_rule(call, skip, CallEffect::FailAfter, false);
    }

    /// Makes every later call fail without being executed.
    pub fn fail_always(&self, call: StoreCall) {
        self.add_rule(call, 0, CallEffect::FailBefore, true);
    }

    /// Removes all rules.
    pub fn clear_rules(&self) {
        lock(&self.log).rules.clear();
    }

    /// Returns the calls since the last time this method was called.
    pub fn calls(&self) -> Vec<StoreCall> {
        std::mem::take(&mut lock(&self.log).calls)
    }

    /// Returns every key that the store was ever called with.
    pub fn keys(&self) -> Vec<StoreKey> {
        lock(&self.log).keys.clone()
    }

    /// Returns the wrapped store.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn add_rule(&self, call: StoreCall, skip: usize, effect: CallEffect, permanent: bool) {
        lock(&self.log).rules.push(CallRule {
            call,
            skip,
            effect,
            permanent,
        });
    }

    /// Records a call and returns the effect of the rule that matches it.
    fn record(&self, call: StoreCall, key: Option<&StoreKey>) -> Option<CallEffect> {
        if IS_UNOBSERVED.get() {
            return None;
        }
        let log = &mut *lock(&self.log);
        log.calls.push(call);
        log.keys.extend(key);
        let at = log.rules.iter_mut().position(|rule| {
            if rule.call != call {
                return false;
            }
            let matches = rule.skip == 0;
            rule.skip = rule.skip.saturating_sub(1);
            matches
        })?;
        let rule = log.rules.get(at)?;
        if rule.permanent {
            return Some(rule.effect.clone());
        }
        Some(log.rules.remove(at).effect)
    }

    fn run<T: Unpin + Send + 'static>(
        &self,
        call: StoreCall,
        key: Option<&StoreKey>,
        work: impl FnOnce(&S) -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let effect = self.record(call, key);
        let (inner, yields) = (self.inner.clone(), self.yields);
        StoreFuture::new(async move {
            let failure =
                || StoreError::new("test", call.operation(), "the test made the call fail");
            yield_if(yields).await;
            let result = match effect {
                None => work(&inner).await,
                Some(CallEffect::WaitBefore(gate)) => {
                    gate.pass().await;
                    work(&inner).await
                }
                Some(CallEffect::WaitAfter(gate)) => {
                    let result = work(&inner).await;
                    gate.pass().await;
                    result
                }
                Some(CallEffect::Delay(time)) => {
                    Delay::new(time).await;
                    work(&inner).await
                }
                Some(CallEffect::FailBefore) => Err(failure()),
                Some(CallEffect::FailAfter) => work(&inner).await.and_then(|_| Err(failure())),
            };
            yield_if(yields).await;
            result
        })
    }
}

async fn yield_if(yields: bool) {
    if yields {
        tokio::task::yield_now().await;
    }
}

impl<S> Clone for TestStore<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            yields: self.yields,
            log: self.log.clone(),
        }
    }
}

impl<S> fmt::Debug for TestStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = lock(&self.log);
        f.debug_struct("TestStore")
            .field("rules", &log.rules)
            .field("calls", &log.calls)
            .finish_non_exhaustive()
    }
}

impl<S: Store> Store for TestStore<S> {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let at = *key;
        self.run(StoreCall::Read, Some(key), move |inner| {
            inner.read(&at, touch)
        })
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let at = request.key;
        self.run(StoreCall::Write, Some(&at), move |inner| {
            inner.write(request)
        })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let at = *key;
        self.run(StoreCall::Destroy, Some(key), move |inner| {
            inner.destroy(&at)
        })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let at = *key;
        self.run(StoreCall::Touch, Some(key), move |inner| {
            inner.touch(&at, ttl)
        })
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        self.inner.tags().map(|_| self as &dyn TagStore)
    }

    fn client_side(&self) -> Option<&dyn ClientSideStore> {
        self.inner.client_side()
    }

    fn scan(&self) -> Option<&dyn ScanStore> {
        self.inner.scan()
    }

    fn time_to_live(&self, key: &StoreKey) -> StoreFuture<Option<Duration>> {
        self.inner.time_to_live(key)
    }

    fn is_available(&self, key: &StoreKey) -> bool {
        self.inner.is_available(key)
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        self.inner.count()
    }

    fn ready(&self) -> StoreFuture<()> {
        self.inner.ready()
    }

    fn report_stats(&self, report: &mut dyn FnMut(&'static str, StoreStat)) {
        self.inner.report_stats(report);
    }

    fn flush(&self) -> StoreFuture<()> {
        self.inner.flush()
    }

    fn close(&self) -> StoreFuture<()> {
        self.inner.close()
    }
}

impl<S: Store> TagStore for TestStore<S> {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = tag.clone();
        self.run(StoreCall::Tagged, None, move |inner| {
            inner.tags().map_or_else(
                || StoreFuture::ready(Ok(Vec::new())),
                |tags| tags.tagged(&tag),
            )
        })
    }

    fn destroy_tagged(&self, tag: &Tag, except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        self.inner.tags()?.destroy_tagged(tag, except)
    }
}

thread_local! {
    /// The testing kit calls the store, not the service under test.
    static IS_UNOBSERVED: Cell<bool> = const { Cell::new(false) };
}

/// Resets the flag of this thread when a poll ends, also by a panic.
struct UnobservedPoll;

impl Drop for UnobservedPoll {
    fn drop(&mut self) {
        IS_UNOBSERVED.set(false);
    }
}

/// Runs `work` without the rules and the log of every [`TestStore`].
pub(super) async fn unobserved<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|cx| {
        IS_UNOBSERVED.set(true);
        let _reset = UnobservedPoll;
        work.as_mut().poll(cx)
    })
    .await
}
