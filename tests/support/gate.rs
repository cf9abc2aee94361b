//! A real store whose calls can be held up or made to fail, one by one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hyper_session::{
    id::StoreKey,
    store::{
        Capabilities, Expected, MemoryStore, ReadOutcome, Store, StoreError, StoreFuture, Tag,
        TagStore, WriteOutcome,
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
    Tag,
    Untag,
    Tagged,
    TagsOf,
    CopyTags,
    MoveTags,
}

/// What happens to a call.
#[derive(Clone, Debug)]
enum Fate {
    /// It waits before it does anything.
    Held(Gate),
    /// It is done, and its answer waits.
    HeldAfter(Gate),
    /// It fails and does nothing.
    Fails,
    /// It is done, and says that it failed.
    FailsAfter,
}

#[derive(Debug)]
struct Rule {
    call: Call,
    /// How many calls pass before.
    skip: usize,
    fate: Fate,
    /// For good, not for one call.
    stays: bool,
}

/// Where a call waits.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Notify, Notify)>);

impl Gate {
    /// Waits until a call has come to the gate.
    pub async fn reached(&self) {
        self.0.0.notified().await;
    }

    /// Lets it through.
    pub fn open(&self) {
        self.0.1.notify_one();
    }

    async fn pass(&self) {
        self.0.0.notify_one();
        self.0.1.notified().await;
    }
}

#[derive(Default)]
struct Book {
    rules: Vec<Rule>,
    calls: Vec<Call>,
    keys: Vec<StoreKey>,
}

/// A memory store behind a gate. Without rules it is the memory store, asynchronous.
#[derive(Clone)]
pub struct GateStore {
    inner: MemoryStore,
    /// Whether others get their turn before and after every call.
    yields: bool,
    book: Arc<Mutex<Book>>,
}

impl GateStore {
    pub fn new(inner: MemoryStore) -> Self {
        Self {
            inner,
            yields: false,
            book: Arc::default(),
        }
    }

    /// A store that lets others run before and after every call.
    pub fn yielding(inner: MemoryStore) -> Self {
        Self {
            yields: true,
            ..Self::new(inner)
        }
    }

    /// Holds up the call of this kind that comes after `skip` others.
    pub fn hold_nth(&self, call: Call, skip: usize) -> Gate {
        let gate = Gate::default();
        self.rule(call, skip, Fate::Held(gate.clone()), false);
        gate
    }

    pub fn hold(&self, call: Call) -> Gate {
        self.hold_nth(call, 0)
    }

    /// Holds up the answer of the next call of this kind, which is done by then.
    pub fn hold_answer(&self, call: Call) -> Gate {
        self.hold_answer_nth(call, 0)
    }

    pub fn hold_answer_nth(&self, call: Call, skip: usize) -> Gate {
        let gate = Gate::default();
        self.rule(call, skip, Fate::HeldAfter(gate.clone()), false);
        gate
    }

    pub fn fail(&self, call: Call) {
        self.rule(call, 0, Fate::Fails, false);
    }

    pub fn fail_nth(&self, call: Call, skip: usize) {
        self.rule(call, skip, Fate::Fails, false);
    }

    /// The next call is done, but says that it failed.
    pub fn fail_answer(&self, call: Call) {
        self.rule(call, 0, Fate::FailsAfter, false);
    }

    pub fn fail_answer_nth(&self, call: Call, skip: usize) {
        self.rule(call, skip, Fate::FailsAfter, false);
    }

    pub fn fail_always(&self, call: Call) {
        self.rule(call, 0, Fate::Fails, true);
    }

    pub fn heal(&self) {
        self.book.lock().unwrap().rules.clear();
    }

    /// The calls since the last time this was asked.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.book.lock().unwrap().calls)
    }

    /// Every key that was ever named to the store.
    pub fn keys(&self) -> Vec<StoreKey> {
        self.book.lock().unwrap().keys.clone()
    }

    fn rule(&self, call: Call, skip: usize, fate: Fate, stays: bool) {
        self.book.lock().unwrap().rules.push(Rule {
            call,
            skip,
            fate,
            stays,
        });
    }

    /// Notes a call and finds what is to happen to it.
    fn meet(&self, call: Call, key: Option<&StoreKey>) -> Option<Fate> {
        let mut book = self.book.lock().unwrap();
        book.calls.push(call);
        book.keys.extend(key);
        let at = book.rules.iter_mut().position(|rule| {
            if rule.call != call {
                return false;
            }
            let hit = rule.skip == 0;
            rule.skip = rule.skip.saturating_sub(1);
            hit
        })?;
        if book.rules[at].stays {
            return Some(book.rules[at].fate.clone());
        }
        Some(book.rules.remove(at).fate)
    }

    fn run<T: Unpin + Send + 'static>(
        &self,
        call: Call,
        key: Option<&StoreKey>,
        work: impl FnOnce(&MemoryStore) -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let fate = self.meet(call, key);
        let (inner, yields) = (self.inner.clone(), self.yields);
        StoreFuture::new(async move {
            let failure = || StoreError::new("gate", "answer", "the store was told to fail");
            if yields {
                tokio::task::yield_now().await;
            }
            let answer = match fate {
                None => work(&inner).await,
                Some(Fate::Held(gate)) => {
                    gate.pass().await;
                    work(&inner).await
                }
                Some(Fate::HeldAfter(gate)) => {
                    let answer = work(&inner).await;
                    gate.pass().await;
                    answer
                }
                Some(Fate::Fails) => Err(failure()),
                Some(Fate::FailsAfter) => work(&inner).await.and_then(|_| Err(failure())),
            };
            if yields {
                tokio::task::yield_now().await;
            }
            answer
        })
    }
}

impl Store for GateStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let at = *key;
        self.run(Call::Read, Some(key), move |inner| inner.read(&at, touch))
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        let at = *key;
        self.run(Call::Write, Some(key), move |inner| {
            inner.write(&at, data, ttl, expected)
        })
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
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        let (at, tag) = (*key, tag.clone());
        self.run(Call::Tag, Some(key), move |inner| inner.tag(&at, &tag))
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        let (at, tag) = (*key, tag.clone());
        self.run(Call::Untag, Some(key), move |inner| inner.untag(&at, &tag))
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = tag.clone();
        self.run(Call::Tagged, None, move |inner| inner.tagged(&tag))
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        let at = *key;
        self.run(Call::TagsOf, Some(key), move |inner| inner.tags_of(&at))
    }

    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let (from_key, to) = (*from, *to);
        self.run(Call::MoveTags, Some(from), move |inner| {
            inner.move_tags(&from_key, &to)
        })
    }

    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let (from_key, to) = (*from, *to);
        self.run(Call::CopyTags, Some(from), move |inner| {
            inner.copy_tags(&from_key, &to)
        })
    }
}
