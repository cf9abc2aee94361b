//! Tasks that change sessions continuously, and a check that no acknowledged change is lost.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hyper_session::{
    id::StoreKey,
    store::{
        Expected, Store, StoreError, WriteOutcome, WriteRequest,
        redis::{RedisError, RedisStore},
    },
};
use tokio::task::JoinHandle;

use super::sessions::{HOUR, append, cause, key, words};

/// A word, and the result of appending it.
pub(crate) type Outcome = (String, Result<(), StoreError>);

pub(crate) struct Load {
    /// The store for the final check. It may have weaker settings than the store under load.
    plain: RedisStore,
    keys: Vec<StoreKey>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Outcome>>>,
}

/// The numbers of changes that were acknowledged and that failed.
#[derive(Debug)]
pub(crate) struct LoadResult {
    pub(crate) kept: usize,
    pub(crate) failed: usize,
}

impl Load {
    /// Starts two tasks for each of `sessions` new sessions. Each operation must finish within `limit`.
    pub(crate) async fn start(
        store: &RedisStore,
        plain: &RedisStore,
        sessions: usize,
        limit: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut keys, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..sessions {
            let key = key();
            let request = WriteRequest::new(&key, "", HOUR, Expected::Absent);
            let empty = store.write(request).await;
            assert!(matches!(empty, Ok(WriteOutcome::Done(_))), "{empty:?}");
            keys.push(key);
            for task in 0..2 {
                let (store, stop) = (store.clone(), Arc::clone(&stop));
                tasks.push(tokio::spawn(async move {
                    let mut done = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let word = format!("{key:?}{task}.{}", done.len());
                        let start = Instant::now();
                        done.push((word.clone(), append(&store, &key, &word).await));
                        let took = start.elapsed();
                        assert!(took < limit, "it took {took:?}");
                        tokio::time::sleep(Duration::from_millis(3)).await;
                    }
                    done
                }));
            }
        }
        let plain = plain.clone();
        Self {
            plain,
            keys,
            stop,
            tasks,
        }
    }

    /// Waits until changes of every session are acknowledged again.
    pub(crate) async fn wait_for_recovery(&self, limit: Duration) {
        let start = Instant::now();
        for key in &self.keys {
            while let Err(error) = append(&self.plain, key, "again").await {
                assert!(start.elapsed() < limit, "it does not recover: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Stops the tasks and checks the sessions. An acknowledged word must exist once, any other at most
    /// once.
    pub(crate) async fn verify(self) -> LoadResult {
        self.stop.store(true, Ordering::Relaxed);
        let mut result = LoadResult { kept: 0, failed: 0 };
        let mut outcomes = Vec::new();
        for task in self.tasks {
            outcomes.extend(task.await.unwrap());
        }
        let mut found: HashMap<String, usize> = HashMap::new();
        for key in &self.keys {
            for word in words(&self.plain, key).await {
                *found.entry(word).or_default() += 1;
            }
        }
        found.remove("again");
        for (word, outcome) in outcomes {
            let times = found.remove(&word).unwrap_or_default();
            match outcome {
                Ok(()) => {
                    assert_eq!(times, 1, "{word} was acknowledged");
                    result.kept += 1;
                }
                Err(error) => {
                    assert!(times <= 1, "{word} is there {times} times: {error}");
                    assert!(is_outage(&error), "{error}");
                    result.failed += 1;
                }
            }
        }
        assert!(found.is_empty(), "no task wrote these: {found:?}");
        result
    }
}

fn is_outage(error: &StoreError) -> bool {
    use RedisError::{Outage, Rejected, TimedOut, UnknownOutcome, Unreplicated};
    matches!(
        cause(error),
        Outage { .. } | TimedOut { .. } | UnknownOutcome { .. } | Unreplicated { .. } | Rejected(_)
    )
}
