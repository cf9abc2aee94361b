//! A store that breaks the contract: it retries a write whose answer was lost, and then conflicts with its own record.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper_session::{
    id::StoreKey,
    store::{MemoryStore, ReadOutcome, Store, StoreFuture, WriteOutcome, WriteRequest},
};

#[derive(Clone)]
pub struct RetryingStore {
    memory: MemoryStore,
    loses_answer: Arc<AtomicBool>,
}

impl RetryingStore {
    pub fn new(memory: MemoryStore) -> Self {
        let loses_answer = Arc::default();
        Self {
            memory,
            loses_answer,
        }
    }

    /// Loses the answer to the next write.
    pub fn lose_answer(&self) {
        self.loses_answer.store(true, Relaxed);
    }
}

impl Store for RetryingStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.memory.read(key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        if !self.loses_answer.swap(false, Relaxed) {
            return self.memory.write(request);
        }
        let memory = self.memory.clone();
        StoreFuture::new(async move {
            memory.write(request.clone()).await?;
            memory.write(request).await
        })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.memory.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.memory.touch(key, ttl)
    }
}
