//! A server that is down, hangs or returns. Every operation ends in time, an outage is reported once,
//! and nothing needs a restart.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper_session::{
    id::StoreKey,
    store::{
        ReadOutcome, Store, StoreError,
        redis::{Outage, RedisError, RedisStore, TransientError},
    },
};

use crate::support::redis_servers::{
    Server, free_port,
    sessions::{HOUR, cause, connect, create_session, key, record},
};

/// Returns how long a server hangs in these tests: ten seconds if `REDIS_LONG_TESTS` is set.
fn hang_time() -> Duration {
    let long = std::env::var_os("REDIS_LONG_TESTS").is_some();
    Duration::from_secs(if long { 10 } else { 3 })
}

const TOTAL: Duration = Duration::from_millis(1_500);

/// Extra time for a loaded machine.
const SLACK: Duration = Duration::from_millis(1_000);

type OutageLog = Arc<Mutex<Vec<Outage>>>;

/// Returns a store with short timeouts, and the log of its outages.
fn store(url: &str) -> (RedisStore, OutageLog) {
    let outages = OutageLog::default();
    let log = Arc::clone(&outages);
    let store = RedisStore::builder(url)
        .connect_timeout(Duration::from_millis(500))
        .command_timeout(Duration::from_millis(500))
        .operation_timeout(TOTAL)
        .on_outage(move |outage| log.lock().unwrap().push(*outage))
        .build()
        .unwrap();
    (store, outages)
}

/// Reads until a read succeeds, and returns how long that took.
async fn recovery(store: &RedisStore, key: &StoreKey) -> Duration {
    let start = Instant::now();
    while store.read(key, None).await.is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the store does not recover"
        );
    }
    start.elapsed()
}

/// Reads from many tasks at once while `during` runs, and returns the errors.
async fn read_meanwhile(
    store: &RedisStore,
    key: StoreKey,
    tasks: usize,
    during: impl Future<Output = ()>,
) -> Vec<StoreError> {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let readers: Vec<_> = (0..tasks)
        .map(|_| {
            let (store, stopped) = (store.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut errors = Vec::new();
                while !*stopped.borrow() {
                    let start = Instant::now();
                    errors.extend(store.read(&key, None).await.err());
                    let took = start.elapsed();
                    assert!(took < TOTAL + SLACK, "an operation took {took:?}");
                }
                errors
            })
        })
        .collect();
    during.await;
    stop.send_replace(true);
    let mut errors = Vec::new();
    for reader in readers {
        errors.extend(reader.await.unwrap());
    }
    errors
}

fn assert_one_outage(outages: &OutageLog, failures: usize) {
    match &outages.lock().unwrap()[..] {
        [Outage::Started { .. }, Outage::Ended { failed, .. }] => {
            assert_eq!(usize::try_from(*failed).unwrap(), failures);
        }
        other => panic!("not one outage: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_server_blocks_no_operation_and_is_used_again_when_it_resumes() {
    let server = Server::start();
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    let errors = read_meanwhile(&store, key, 64, async {
        server.freeze();
        tokio::time::sleep(hang_time()).await;
        assert!(store.stats().in_flight <= 64);
        server.thaw();
        recovery(&store, &key).await;
    })
    .await;
    assert!(errors.len() >= 64, "{} failed", errors.len());
    for error in &errors {
        assert!(
            matches!(cause(error), RedisError::TimedOut { .. }),
            "{error}"
        );
    }
    assert_one_outage(&outages, errors.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_is_used_again_when_it_is_back() {
    let mut server = Server::start();
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    let errors = read_meanwhile(&store, key, 16, async {
        server.kill();
        tokio::time::sleep(TOTAL + SLACK).await;
        // With an empty script cache, and without its data.
        server.restart();
        recovery(&store, &key).await;
    })
    .await;
    assert!(!errors.is_empty());
    assert_one_outage(&outages, errors.len());
    let key = create_session(&store, HOUR).await;
    assert!(store.touch(&key, HOUR).await.unwrap());
}

#[tokio::test]
async fn an_outage_shorter_than_the_operation_timeout_fails_no_operation() {
    let mut server = Server::start();
    let (store, outages) = store(&server.url());
    create_session(&store, HOUR).await;
    for _ in 0..3 {
        server.restart();
        create_session(&store, HOUR).await;
    }
    assert!(outages.lock().unwrap().is_empty());
}

/// A server closes connections that were idle for long. The first request after that must not fail.
#[tokio::test]
async fn idle_connections_that_the_server_closed_fail_no_request() {
    let server = Server::start();
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    for _ in 0..20 {
        server.send(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(store.touch(&key, HOUR).await.unwrap());
    }
    assert!(outages.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_emptied_script_cache_fails_no_request() {
    let server = Server::start();
    let store = connect(&server).await;
    let key = create_session(&store, HOUR).await;
    for _ in 0..3 {
        server.send(&["SCRIPT", "FLUSH"]);
        assert!(store.touch(&key, HOUR).await.unwrap());
        create_session(&store, HOUR).await;
    }
}

#[tokio::test]
async fn a_store_may_be_built_before_its_server_runs() {
    let port = free_port();
    let (store, outages) = store(&format!("redis://127.0.0.1:{port}"));
    let error = store.read(&key(), None).await.unwrap_err();
    let disconnected = TransientError::Disconnected;
    assert!(
        matches!(cause(&error), RedisError::TimedOut { last, .. } if *last == disconnected),
        "{error}"
    );
    let _server = Server::start_on(port, &[]);
    let key = key();
    recovery(&store, &key).await;
    assert_eq!(store.read(&key, None).await.unwrap(), ReadOutcome::Absent);
    assert_one_outage(&outages, 1);
}

#[tokio::test]
async fn connecting_without_a_server_fails_in_time_with_a_clear_error() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let start = Instant::now();
    let error = RedisStore::builder(&url)
        .startup_timeout(Duration::from_millis(400))
        .connect()
        .await
        .unwrap_err();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let text = format!("{error:?}");
    assert!(
        text.contains("connect failed") && text.contains("not connected"),
        "{text}"
    );
}

#[tokio::test]
async fn one_operation_more_than_allowed_is_refused_at_once() {
    let server = Server::start();
    let store = RedisStore::builder(&server.url())
        .max_in_flight(8)
        .operation_timeout(TOTAL)
        .connect()
        .await
        .unwrap();
    server.freeze();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.read(&key(), None).await.is_err() })
        })
        .collect();
    while store.stats().in_flight < 8 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    let error = store.read(&key(), None).await.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::Overloaded { limit: 8 }),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_millis(200), "at once");
    for read in waiting {
        assert!(read.await.unwrap(), "the other operations end in time");
    }
    server.thaw();
    recovery(&store, &key()).await;
    assert_eq!(store.stats().in_flight, 0);
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_waited_for() {
    let mut server = Server::start_with(&["--enable-debug-command", "yes"]);
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    server.send(&["DEBUG", "POPULATE", "1000"]);
    assert_eq!(server.send(&["SAVE"]), "+OK\r\n");
    // A thousand keys at 800 us each; the server handles connections in between.
    server.restart_with(&[
        "--key-load-delay",
        "800",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    assert!(
        server.send(&["GET", "x"]).starts_with("-LOADING"),
        "the server is still loading"
    );
    assert_eq!(&*record(&store, &key).await.data, b"data");
    assert!(outages.lock().unwrap().is_empty());
}

#[test]
fn outside_a_runtime_an_operation_fails_without_a_panic() {
    let (store, _) = store("redis://127.0.0.1:1");
    let mut read = Box::pin(store.read(&key(), None));
    let waker = std::task::Waker::noop();
    let polled = read
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));
    let std::task::Poll::Ready(Err(error)) = polled else {
        panic!("{polled:?}")
    };
    assert!(matches!(cause(&error), RedisError::NoRuntime), "{error}");
}
