//! A store that holds every call until the scheduler releases it.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::{Poll, Waker},
    time::Duration,
};

use hyper_session::{
    id::StoreKey,
    store::{
        Capabilities, ReadOutcome, Store, StoreError, StoreFuture, Tag, TagStore, WriteOutcome,
        WriteRequest,
    },
};

/// The code that made a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    Request(usize),
    /// The worker of a commit queue of this engine.
    Worker(usize),
}

/// A failure that the schedule injects into a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails and is not executed.
    NotExecuted,
    /// The call is executed, and its answer is lost.
    AnswerLost,
}

/// The part of the store that a call uses. A touch changes nothing that others can observe before the
/// clock moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read(StoreKey),
    Write(StoreKey),
    List,
}

/// The progress of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Held before it is executed.
    Begun,
    Executing(Option<Fault>),
    /// Executed. The answer is held.
    Executed,
    Answered,
}

/// A call of an actor that is not answered yet.
#[derive(Debug)]
struct Call {
    origin: Origin,
    name: &'static str,
    access: Access,
    stage: Stage,
    is_conflict: bool,
    waker: Option<Waker>,
}

/// A call that waits for the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldCall {
    pub(crate) id: usize,
    pub(crate) origin: Origin,
    pub(crate) name: &'static str,
    pub(crate) access: Access,
    pub(crate) is_executed: bool,
}

/// The order in which the store lists sessions. It must not depend on the random ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListOrder {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// The calls of all actors.
#[derive(Default)]
pub(crate) struct Calls {
    calls: BTreeMap<usize, Call>,
    next_id: usize,
    /// The request that the scheduler polls now.
    pub(crate) current: Option<usize>,
    /// The number of the current step of the schedule.
    pub(crate) step: usize,
    /// Number of writes that were executed, and of times that the clock moved.
    pub(crate) changes: usize,
    /// The last call of each request.
    last_calls: BTreeMap<usize, &'static str>,
    /// The step at which the last call of each request was executed.
    pub(crate) executed: BTreeMap<usize, usize>,
    /// Grows whenever a call changes its stage.
    pub(crate) activity: usize,
    /// The answer of the last released call was a conflict.
    pub(crate) answered_conflict: bool,
    /// Every key that was written, oldest first.
    pub(crate) keys: Vec<StoreKey>,
    /// The order of a list of tagged sessions.
    pub(crate) list_order: ListOrder,
    /// Calls are held. Otherwise they run at once.
    pub(crate) holds: bool,
    /// An executed call is answered at once.
    pub(crate) answers_at_once: bool,
}

impl Calls {
    fn sort(&self, keys: &mut [StoreKey]) {
        keys.sort_by_key(|key| self.keys.iter().position(|it| it == key));
        if self.list_order == ListOrder::NewestFirst {
            keys.reverse();
        }
    }
}

/// The scheduler's side of the store.
#[derive(Clone, Default)]
pub(crate) struct Control(Arc<Mutex<Calls>>);

impl Control {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap()
    }

    /// Returns the calls that wait, oldest first.
    pub(crate) fn held(&self) -> Vec<HeldCall> {
        let calls = self.lock();
        let held = calls.calls.iter().filter_map(|(id, call)| {
            let is_executed = match call.stage {
                Stage::Begun => false,
                Stage::Executed => true,
                Stage::Executing(_) | Stage::Answered => return None,
            };
            Some(HeldCall {
                id: *id,
                origin: call.origin,
                name: call.name,
                access: call.access,
                is_executed,
            })
        });
        held.collect()
    }

    /// Returns `true` if a request waits for the store.
    pub(crate) fn has_call(&self, request: usize) -> bool {
        let origin = Origin::Request(request);
        self.lock().calls.values().any(|call| call.origin == origin)
    }

    /// Returns `true` if a released call has not reached its next stage.
    pub(crate) fn is_busy(&self) -> bool {
        let is_busy = |call: &Call| matches!(call.stage, Stage::Executing(_) | Stage::Answered);
        self.lock().calls.values().any(is_busy)
    }

    /// Returns the name of the last call of a request.
    pub(crate) fn last_call(&self, request: usize) -> Option<&'static str> {
        self.lock().last_calls.get(&request).copied()
    }

    /// Lets a held call continue to its next stage.
    pub(crate) fn release(&self, id: usize, fault: Option<Fault>) {
        let mut calls = self.lock();
        calls.activity += 1;
        let call = calls.calls.get_mut(&id).expect("a held call");
        let is_executed = call.stage == Stage::Executed;
        call.stage = match is_executed {
            false => Stage::Executing(fault),
            true => Stage::Answered,
        };
        if let Some(waker) = call.waker.take() {
            waker.wake();
        }
        let is_conflict = is_executed && call.is_conflict;
        calls.answered_conflict = is_conflict;
    }

    fn begin(&self, engine: usize, name: &'static str, access: Access) -> CallGuard {
        let mut calls = self.lock();
        let id = calls.next_id;
        calls.next_id += 1;
        calls.activity += 1;
        if let Access::Write(key) = access
            && !calls.keys.contains(&key)
        {
            calls.keys.push(key);
        }
        if let Some(request) = calls.current {
            calls.last_calls.insert(request, name);
        }
        let origin = calls
            .current
            .map_or(Origin::Worker(engine), Origin::Request);
        let stage = match calls.holds {
            true => Stage::Begun,
            false => Stage::Executing(None),
        };
        let call = Call {
            origin,
            name,
            access,
            stage,
            is_conflict: false,
            waker: None,
        };
        calls.calls.insert(id, call);
        CallGuard {
            control: self.clone(),
            id,
        }
    }
}

/// Removes the call when it is answered, or dropped with its request.
struct CallGuard {
    control: Control,
    id: usize,
}

impl CallGuard {
    /// Waits until the scheduler releases the call, and returns its fault.
    async fn released(&self) -> Option<Fault> {
        let wait = poll_fn(|cx| {
            let mut calls = self.control.lock();
            let call = calls.calls.get_mut(&self.id).expect("a call");
            match call.stage {
                Stage::Executing(fault) => Poll::Ready(fault),
                Stage::Answered => Poll::Ready(None),
                Stage::Begun | Stage::Executed => {
                    call.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        });
        wait.await
    }

    fn set_executed(&self, is_conflict: bool) {
        let mut calls = self.control.lock();
        calls.activity += 1;
        let at_once = !calls.holds || calls.answers_at_once;
        let step = calls.step;
        let call = calls.calls.get_mut(&self.id).expect("a call");
        call.is_conflict = is_conflict;
        let (origin, access) = (call.origin, call.access);
        call.stage = match at_once {
            true => Stage::Answered,
            false => Stage::Executed,
        };
        calls.changes += usize::from(matches!(access, Access::Write(_)));
        calls.answered_conflict = at_once && is_conflict;
        if let Origin::Request(request) = origin {
            calls.executed.insert(request, step);
        }
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let mut calls = self.control.lock();
        calls.activity += 1;
        calls.calls.remove(&self.id);
    }
}

/// The store as one engine sees it.
#[derive(Clone)]
pub(crate) struct HeldStore {
    engine: usize,
    control: Control,
    inner: Arc<dyn Store>,
}

impl HeldStore {
    pub(crate) fn new(engine: usize, control: &Control, inner: &Arc<dyn Store>) -> Self {
        Self {
            engine,
            control: control.clone(),
            inner: inner.clone(),
        }
    }

    fn run<T: Unpin + Send + 'static>(
        &self,
        name: &'static str,
        access: Access,
        is_conflict: fn(&T) -> bool,
        work: impl FnOnce(&dyn Store) -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let this = self.clone();
        StoreFuture::new(async move {
            let guard = this.control.begin(this.engine, name, access);
            let failure = |text: &str| Err(StoreError::new("simulation", name, text));
            let result = match guard.released().await {
                None => work(&*this.inner).await,
                Some(Fault::NotExecuted) => failure("not executed"),
                Some(Fault::AnswerLost) => {
                    work(&*this.inner).await?;
                    failure("the answer was lost")
                }
            };
            guard.set_executed(result.as_ref().is_ok_and(is_conflict));
            guard.released().await;
            result
        })
    }
}

impl Store for HeldStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        let work = move |inner: &dyn Store| inner.read(&key, touch);
        self.run("read", Access::Read(key), |_| false, work)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let access = Access::Write(request.key);
        let is_conflict = |outcome: &WriteOutcome| matches!(outcome, WriteOutcome::Conflict(_));
        let work = move |inner: &dyn Store| inner.write(request);
        self.run("write", access, is_conflict, work)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        let work = move |inner: &dyn Store| inner.destroy(&key);
        self.run("destroy", Access::Write(key), |()| false, work)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        let work = move |inner: &dyn Store| inner.touch(&key, ttl);
        self.run("touch", Access::Read(key), |_| false, work)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }
}

impl TagStore for HeldStore {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let (tag, control) = (tag.clone(), self.control.clone());
        let work = move |inner: &dyn Store| {
            let listing = inner.tags().expect("an index of tags").tagged(&tag);
            StoreFuture::new(async move {
                let mut keys = listing.await?;
                control.lock().sort(&mut keys);
                Ok(keys)
            })
        };
        self.run("list", Access::List, |_| false, work)
    }
}
