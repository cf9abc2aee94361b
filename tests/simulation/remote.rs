//! Random schedules on stores that answer from another thread: files, and a real Redis server.

use std::{sync::Arc, time::Duration};

use hyper_session::{
    id::StoreKey,
    store::{
        Capabilities, ReadOutcome, Store, StoreFuture, Tag, TagStore, WriteOutcome, WriteRequest,
    },
};
use tokio::runtime::{Builder, Handle, Runtime};

#[cfg(feature = "redis")]
use crate::support::redis_servers::Server;
use crate::support::scratch::Scratch;
use crate::{Simulation, driver::Machine};

/// Number of random schedules on each store.
const RUNS: u64 = 500;

/// A store whose calls run in a runtime of their own. So the only tasks of the simulation's runtime
/// are the workers of commit queues.
struct RemoteStore {
    store: Arc<dyn Store>,
    runtime: Handle,
}

impl RemoteStore {
    fn run<T: Unpin + Send + 'static>(&self, call: StoreFuture<T>) -> StoreFuture<T> {
        let call = self.runtime.spawn(call);
        StoreFuture::new(async move { call.await.expect("a call that ends") })
    }
}

impl Store for RemoteStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.run(self.store.read(key, touch))
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.run(self.store.write(request))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.run(self.store.destroy(key))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.run(self.store.touch(key, ttl))
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }
}

impl TagStore for RemoteStore {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        self.run(self.store.tags().expect("an index of tags").tagged(tag))
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// Runs random schedules on a store.
fn run(runtime: &Runtime, store: impl Store) {
    let store: Arc<dyn Store> = Arc::new(RemoteStore {
        store: Arc::new(store),
        runtime: runtime.handle().clone(),
    });
    let mut simulation = Simulation::with_machine(move || Machine::with_store(store.clone()));
    (0..RUNS).for_each(|seed| simulation.run_random(seed));
}

#[test]
fn random_schedules_on_the_file_store_are_correct() {
    let (runtime, scratch) = (runtime(), Scratch::new());
    let store = hyper_session::store::FileStore::open(scratch.path());
    run(&runtime, store.unwrap());
}

#[cfg(feature = "redis")]
#[test]
fn random_schedules_on_redis_are_correct() {
    let (runtime, server) = (runtime(), Server::start());
    let url = server.url();
    let store = runtime.block_on(hyper_session::store::RedisStore::connect(&url));
    run(&runtime, store.unwrap());
}
