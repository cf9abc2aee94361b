//! A store whose calls wait or fail on request, one by one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_session::{
    id::StoreKey,
    store::{
        Capabilities, MemoryStore, ReadOutcome, Store, StoreError, StoreFuture, Tag, TagStore,
        WriteOutcome, WriteRequest,
    },
};
use tokio::sync::Notify;

/// A method of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    Write,
    Destroy,
    Touch,
    Tagged,
}

/// The effect of a rule on a call.
#[derive(Clone, Debug)]
enum Effect {
    /// The call waits before it is executed.
    WaitBefore(Gate),
    /// The call is executed, and its result waits.
    WaitAfter(Gate),
    /// The call fails without being executed.
    FailBefore,
    /// The call is executed, and reports a failure.
    FailAfter,
}

#[derive(Debug)]
struct Rule {
    call: Call,
    /// The number of calls that pass first.
    skip: usize,
    effect: Effect,
    /// For all later calls, not for one.
    permanent: bool,
}

/// The place where a call waits.
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
struct GateState {
    rules: Vec<Rule>,
    calls: Vec<Call>,
    keys: Vec<StoreKey>,
}

/// A memory store behind a gate. Without rules it works as the memory store, asynchronously.
#[derive(Clone)]
pub struct GateStore {
    inner: MemoryStore,
    /// Yields to other tasks before and after every call.
    yields: bool,
    state: Arc<Mutex<GateState>>,
}

impl GateStore {
    pub fn new(inner: MemoryStore) -> Self {
        Self {
            inner,
            yields: false,
            state: Arc::default(),
        }
    }

    /// Creates a store that yields to other tasks before and after every call.
    pub fn yielding(inner: MemoryStore) -> Self {
        Self {
            yields: true,
            ..Self::new(inner)
        }
    }

    /// Makes one call of this kind wait, after `skip` others.
    pub fn hold_nth(&self, call: Call, skip: usize) -> Gate {
        let gate = Gate::default();
        self.rule(call, skip, Effect::WaitBefore(gate.clone()), false);
        gate
    }

    pub fn hold(&self, call: Call) -> Gate {
        self.hold_nth(call, 0)
    }

    /// Makes the result of the next call of this kind wait. The call itself is executed.
    pub fn hold_answer(&self, call: Call) -> Gate {
        self.hold_answer_nth(call, 0)
    }

    pub fn hold_answer_nth(&self, call: Call, skip: usize) -> Gate {
        let gate = Gate::default();
        self.rule(call, skip, Effect::WaitAfter(gate.clone()), false);
        gate
    }

    pub fn fail(&self, call: Call) {
        self.rule(call, 0, Effect::FailBefore, false);
    }

    pub fn fail_nth(&self, call: Call, skip: usize) {
        self.rule(call, skip, Effect::FailBefore, false);
    }

    /// Executes the next call, but reports a failure.
    pub fn fail_answer(&self, call: Call) {
        self.rule(call, 0, Effect::FailAfter, false);
    }

    pub fn fail_answer_nth(&self, call: Call, skip: usize) {
        self.rule(call, skip, Effect::FailAfter, false);
    }

    pub fn fail_always(&self, call: Call) {
        self.rule(call, 0, Effect::FailBefore, true);
    }

    pub fn clear_rules(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    /// Returns the calls since the last time this method was called.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// Returns every key that the store was ever called with.
    pub fn keys(&self) -> Vec<StoreKey> {
        self.state.lock().unwrap().keys.clone()
    }

    fn rule(&self, call: Call, skip: usize, effect: Effect, permanent: bool) {
        self.state.lock().unwrap().rules.push(Rule {
            call,
            skip,
            effect,
            permanent,
        });
    }

    /// Records a call and returns the effect of the rule that matches it.
    fn record(&self, call: Call, key: Option<&StoreKey>) -> Option<Effect> {
        let mut state = self.state.lock().unwrap();
        state.calls.push(call);
        state.keys.extend(key);
        let at = state.rules.iter_mut().position(|rule| {
            if rule.call != call {
                return false;
            }
            let matches = rule.skip == 0;
            rule.skip = rule.skip.saturating_sub(1);
            matches
        })?;
        if state.rules[at].permanent {
            return Some(state.rules[at].effect.clone());
        }
        Some(state.rules.remove(at).effect)
    }

    fn run<T: Unpin + Send + 'static>(
        &self,
        call: Call,
        key: Option<&StoreKey>,
        work: impl FnOnce(&MemoryStore) -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let effect = self.record(call, key);
        let (inner, yields) = (self.inner.clone(), self.yields);
        StoreFuture::new(async move {
            let failure = || StoreError::new("gate", "answer", "the test made the call fail");
            if yields {
                tokio::task::yield_now().await;
            }
            let result = match effect {
                None => work(&inner).await,
                Some(Effect::WaitBefore(gate)) => {
                    gate.pass().await;
                    work(&inner).await
                }
                Some(Effect::WaitAfter(gate)) => {
                    let result = work(&inner).await;
                    gate.pass().await;
                    result
                }
                Some(Effect::FailBefore) => Err(failure()),
                Some(Effect::FailAfter) => work(&inner).await.and_then(|_| Err(failure())),
            };
            if yields {
                tokio::task::yield_now().await;
            }
            result
        })
    }
}

impl Store for GateStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let at = *key;
        self.run(Call::Read, Some(key), move |inner| inner.read(&at, touch))
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let at = request.key;
        self.run(Call::Write, Some(&at), move |inner| inner.write(request))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let at = *key;
        self.run(Call::Destroy, Some(key), move |inner| inner.destroy(&at))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let at = *key;
        self.run(Call::Touch, Some(key), move |inner| inner.touch(&at, ttl))
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        self.inner.count()
    }
}

impl TagStore for GateStore {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = tag.clone();
        self.run(Call::Tagged, None, move |inner| inner.tagged(&tag))
    }
}
