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

use super::sessions::{HOUR, append, cause, words};

/// A word, and the result of appending it.
pub(crate) type Outcome = (String, Result<(), StoreError>);

/// A change that takes longer was hindered. No group replaces a master in less.
const HINDERED: Duration = Duration::from_millis(500);

pub(crate) struct Load {
    /// The store for the final check. It may have weaker settings than the store under load.
    plain: RedisStore,
    keys: Vec<StoreKey>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<(Vec<Outcome>, usize)>>,
}

/// The numbers of changes that were acknowledged, and of those that failed or took long.
#[derive(Debug)]
pub(crate) struct LoadResult {
    pub(crate) kept: usize,
    pub(crate) hindered: usize,
}

impl Load {
    /// Creates the sessions and starts two tasks for each. Each operation must finish within `limit`.
    pub(crate) async fn start(
        store: &RedisStore,
        plain: &RedisStore,
        keys: &[StoreKey],
        limit: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for key in keys {
            let request = WriteRequest::new(key, "", HOUR, Expected::Absent);
            let empty = store.write(request).await;
            assert!(matches!(empty, Ok(WriteOutcome::Done(_))), "{empty:?}");
            for task in 0..2 {
                let (store, stop, key) = (store.clone(), Arc::clone(&stop), *key);
                tasks.push(tokio::spawn(async move {
                    let (mut done, mut hindered) = (Vec::new(), 0);
                    while !stop.load(Ordering::Relaxed) {
                        let word = format!("{key:?}{task}.{}", done.len());
                        let start = Instant::now();
                        let outcome = append(&store, &key, &word).await;
                        let took = start.elapsed();
                        hindered += usize::from(outcome.is_err() || took >= HINDERED);
                        done.push((word, outcome));
                        assert!(took < limit, "it took {took:?}");
                        tokio::time::sleep(Duration::from_millis(3)).await;
                    }
                    (done, hindered)
                }));
            }
        }
        let plain = plain.clone();
        Self {
            plain,
            keys: keys.to_vec(),
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
        let (mut kept, mut hindered) = (0, 0);
        let mut outcomes = Vec::new();
        for task in self.tasks {
            let (done, count) = task.await.unwrap();
            outcomes.extend(done);
            hindered += count;
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
                    kept += 1;
                }
                Err(error) => {
                    assert!(times <= 1, "{word} is there {times} times: {error}");
                    assert!(is_outage(&error), "{error}");
                }
            }
        }
        assert!(found.is_empty(), "no task wrote these: {found:?}");
        LoadResult { kept, hindered }
    }
}

fn is_outage(error: &StoreError) -> bool {
    use RedisError::{Outage, TimedOut, UnknownOutcome, Unreplicated};
    matches!(
        cause(error),
        Outage { .. } | TimedOut { .. } | UnknownOutcome { .. } | Unreplicated { .. }
    )
}
