//! A server that is down, hangs or returns. Every operation ends in time, an outage is reported once,
//! and nothing needs a restart.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant},
};

use hyper_session::{
    Session, Sessions,
    clock::{Clock, Timestamp},
    config::StoreRegistry,
    id::StoreKey,
    store::{
        Expected, ReadOutcome, Store, StoreError, WriteOutcome, WriteRequest,
        redis::{Outage, OutageScope, RedisError, RedisStore, TransientError},
    },
};
use tokio::{task::JoinHandle, time::timeout};

use crate::support::{
    Browser, config,
    redis_servers::{
        Server, free_port, is_before_7,
        sessions::{HOUR, cause, connect, create_session, key, record},
    },
};

/// Returns how long a server hangs in these tests. It is longer than an operation may take, and ten seconds if
/// `REDIS_LONG_TESTS` is set.
fn hang_time() -> Duration {
    let long = std::env::var_os("REDIS_LONG_TESTS").is_some();
    Duration::from_secs(if long { 10 } else { 6 })
}

const TOTAL: Duration = Duration::from_millis(1_500);
const OUTAGE: Duration = Duration::from_millis(250);

/// Extra time for a loaded machine.
const SLACK: Duration = Duration::from_secs(3);

type OutageLog = Arc<Mutex<Vec<Outage>>>;

/// Returns a store with short timeouts, and the log of its outages.
fn store(url: &str) -> (RedisStore, OutageLog) {
    let outages = OutageLog::default();
    let log = Arc::clone(&outages);
    let store = RedisStore::builder(url)
        .connect_timeout(Duration::from_millis(500))
        .command_timeout(Duration::from_millis(500))
        .operation_timeout(TOTAL)
        .on_outage(move |outage| log.lock().unwrap().push(outage.clone()))
        .build()
        .unwrap();
    (store, outages)
}

async fn wait_for<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < 10 * TOTAL, "it does not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Reads until a read succeeds, and returns the number of reads that failed.
async fn recovery(store: &RedisStore, key: &StoreKey) -> usize {
    let (start, mut failed) = (Instant::now(), 0);
    while store.read(key, None).await.is_err() {
        failed += 1;
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the store does not recover"
        );
    }
    failed
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
    let mut failed = 0;
    let errors = read_meanwhile(&store, key, 64, async {
        server.freeze();
        tokio::time::sleep(hang_time()).await;
        assert!(store.stats().in_flight <= 64);
        server.thaw();
        failed = recovery(&store, &key).await;
    })
    .await;
    assert!(errors.len() >= 64, "{} failed", errors.len());
    for error in &errors {
        assert!(matches!(cause(error), RedisError::Outage { .. }), "{error}");
    }
    assert_one_outage(&outages, errors.len() + failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_is_used_again_when_it_is_back() {
    let mut server = Server::start();
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    let mut failed = 0;
    let errors = read_meanwhile(&store, key, 16, async {
        server.kill();
        tokio::time::sleep(2 * TOTAL).await;
        // With an empty script cache, and without its data.
        server.restart();
        failed = recovery(&store, &key).await;
    })
    .await;
    assert!(!errors.is_empty());
    assert_one_outage(&outages, errors.len() + failed);
    let key = create_session(&store, HOUR).await;
    assert!(store.touch(&key, HOUR).await.unwrap());
}

/// During a known outage, the many requests of a page do not wait for each other's timeouts.
#[tokio::test]
async fn a_known_outage_costs_a_touch_nothing_and_a_read_or_write_the_outage_timeout() {
    let mut server = Server::start();
    let (store, _) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    server.kill();
    store.read(&key, None).await.unwrap_err();
    assert!(!store.is_available(&key));
    let start = Instant::now();
    for _ in 0..40 {
        let error = store.touch(&key, HOUR).await.unwrap_err();
        assert!(
            matches!(cause(&error), RedisError::Outage { .. }),
            "{error}"
        );
    }
    // A part of the time of forty waits.
    assert!(start.elapsed() < 10 * OUTAGE, "{:?}", start.elapsed());
    let write = WriteRequest::new(&key, "more", HOUR, Expected::Any);
    let start = Instant::now();
    let (read, touching, written, destroyed) = tokio::join!(
        store.read(&key, None),
        store.read(&key, Some(HOUR)),
        store.write(write),
        store.destroy(&key)
    );
    let took = start.elapsed();
    assert!((OUTAGE..TOTAL).contains(&took), "{took:?}");
    let errors = [read.err(), touching.err(), written.err(), destroyed.err()];
    for error in errors {
        let error = error.expect("the server is away");
        assert!(
            matches!(cause(&error), RedisError::Outage { .. }),
            "{error}"
        );
        let retry_after = error.retry_after().unwrap();
        assert!((1..=30).contains(&retry_after.as_secs()), "{retry_after:?}");
    }
    server.restart();
    recovery(&store, &key).await;
    assert!(store.is_available(&key));
}

/// A page with forty assets, each with a cookie that is due for a renewal.
#[tokio::test]
async fn renewals_are_skipped_in_an_outage_and_a_failed_load_says_when_to_retry() {
    let mut server = Server::start();
    let (store, _) = store(&server.url());
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let stores = StoreRegistry::new().register("redis", store);
    let sessions = Sessions::builder(config().store("redis"));
    let sessions = sessions
        .stores(stores)
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.kill();
    let load = async |s: Session| s.load().await.map(drop);
    assert_eq!(browser.clone().request(load).await.status, 503);
    clock.advance(Duration::from_secs(600));
    let start = Instant::now();
    for _ in 0..40 {
        assert_eq!(browser.clone().pass().await.status, 200);
    }
    // A part of the time of forty waits.
    assert!(start.elapsed() < 10 * OUTAGE, "{:?}", start.elapsed());
    let failed = browser.clone().request(load).await;
    assert_eq!(failed.status, 503);
    let seconds = failed.headers["retry-after"].to_str().unwrap();
    assert!((1..=30).contains(&seconds.parse().unwrap()), "{seconds}");
    server.restart();
    clock.advance(Duration::from_secs(600));
    wait_for(|| async { browser.clone().request(load).await.status == 200 }).await;
    clock.advance(Duration::from_secs(600));
    assert_eq!(browser.pass().await.cookies().len(), 1, "renewed again");
}

/// A layer above the store gives up before the store does.
#[tokio::test]
async fn an_outage_is_reported_if_every_caller_cancels() {
    let server = Server::start();
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    server.freeze();
    let start = Instant::now();
    while outages.lock().unwrap().is_empty() {
        let read = timeout(TOTAL / 10, store.read(&key, None)).await;
        assert!(read.is_err(), "{read:?}");
        assert!(start.elapsed() < 4 * TOTAL, "no report");
    }
    let reported = start.elapsed();
    assert!(reported >= TOTAL - TOTAL / 10, "{reported:?}");
    for _ in 0..3 {
        let read = timeout(TOTAL / 10, store.read(&key, None)).await;
        assert!(read.is_err(), "{read:?}");
    }
    server.thaw();
    wait_for(|| async { outages.lock().unwrap().len() == 2 }).await;
    let outages = outages.lock().unwrap();
    let [
        Outage::Started { scope, .. },
        Outage::Ended { lasted, failed, .. },
    ] = &outages[..]
    else {
        panic!("not one outage: {outages:?}");
    };
    assert_eq!(*scope, OutageScope::All);
    assert!(
        *lasted >= reported - TOTAL / 10,
        "{lasted:?}: since the first command"
    );
    assert!(*failed >= 3, "cancelled operations count");
}

async fn cancel_read(store: &RedisStore, key: &StoreKey) {
    let mut read = store.read(key, None);
    poll_fn(|cx| {
        assert!(Pin::new(&mut read).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    // The command is sent by the time that the caller gives up.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A single cancelled command is enough, and none while the server answers.
#[tokio::test]
async fn one_cancelled_command_reports_an_outage_only_if_the_server_is_away() {
    let server = Server::start();
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    for _ in 0..5 {
        cancel_read(&store, &key).await;
    }
    tokio::time::sleep(2 * TOTAL).await;
    assert!(outages.lock().unwrap().is_empty());
    server.freeze();
    cancel_read(&store, &key).await;
    wait_for(|| async { !outages.lock().unwrap().is_empty() }).await;
    server.thaw();
    wait_for(|| async { outages.lock().unwrap().len() == 2 }).await;
}

fn write(key: &StoreKey, expected: Expected) -> WriteRequest {
    WriteRequest::new(key, "more", HOUR, expected)
}

/// The server hangs while operations of every kind start, some of which are cancelled.
#[tokio::test]
async fn an_outage_counts_every_operation_that_fails_or_is_cancelled() {
    let server = Server::start();
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    server.freeze();
    let (start, mut running) = (Instant::now(), tokio::task::JoinSet::new());
    for number in 0.. {
        if start.elapsed() > 2 * TOTAL {
            break;
        }
        let (store, outages) = (store.clone(), Arc::clone(&outages));
        running.spawn(async move {
            let failed = async {
                match number % 6 {
                    0 => store.read(&key, None).await.is_err(),
                    1 => store.read(&key, Some(HOUR)).await.is_err(),
                    2 => store.touch(&key, HOUR).await.is_err(),
                    3 => store.destroy(&key).await.is_err(),
                    // Its outcome is unknown if its reply is lost.
                    4 => store.write(write(&key, Expected::Any)).await.is_err(),
                    _ => store.write(write(&key, Expected::Absent)).await.is_err(),
                }
            };
            let limit = if number % 4 == 0 {
                TOTAL / 10
            } else {
                2 * TOTAL
            };
            let failed = timeout(limit, failed).await;
            assert_ne!(failed, Ok(false), "operation {number}");
            // Counts from the start of the outage.
            u64::from(!outages.lock().unwrap().is_empty())
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let counted: u64 = running.join_all().await.iter().sum();
    assert!(counted > 0);
    server.thaw();
    wait_for(|| async { outages.lock().unwrap().len() == 2 }).await;
    let outages = outages.lock().unwrap();
    let [Outage::Started { .. }, Outage::Ended { failed, .. }] = &outages[..] else {
        panic!("not one outage: {outages:?}");
    };
    assert_eq!(*failed, counted);
}

/// The master becomes a replica for some seconds. Its reads succeed all the time.
#[tokio::test]
async fn reads_do_not_end_an_outage_of_writes() {
    let server = Server::start();
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    let port = free_port().to_string();
    server.send(&["REPLICAOF", "127.0.0.1", &port]);
    let start = Instant::now();
    let has_started = || !outages.lock().unwrap().is_empty();
    let mut writes = 0;
    while start.elapsed() < 3 * TOTAL {
        let write = WriteRequest::new(&key, "more", HOUR, Expected::Any);
        let writing = async {
            let written = timeout(TOTAL / 10, store.write(write)).await;
            // Counts from the start of the outage.
            writes += u64::from(has_started());
            written
        };
        let (written, read, touching) = tokio::join!(
            writing,
            store.read(&key, None),
            store.read(&key, Some(HOUR))
        );
        assert!(!matches!(written, Ok(Ok(_))), "{written:?}");
        // The client looks for a master after each rejected write, so a read may have to wait.
        for read in [read, touching] {
            assert!(matches!(read, Ok(ReadOutcome::Found(_))), "{read:?}");
        }
    }
    server.send(&["REPLICAOF", "NO", "ONE"]);
    wait_for(|| async { outages.lock().unwrap().len() >= 2 }).await;
    let write = WriteRequest::new(&key, "more", HOUR, Expected::Any);
    assert!(matches!(
        store.write(write).await,
        Ok(WriteOutcome::Done(_))
    ));
    let outages = outages.lock().unwrap();
    let [
        Outage::Started { scope, reason, .. },
        Outage::Ended { lasted, failed, .. },
    ] = &outages[..]
    else {
        panic!("not one outage: {outages:?}");
    };
    assert_eq!(*scope, OutageScope::Writes, "{reason}");
    assert!(*lasted >= 2 * TOTAL, "{lasted:?}");
    assert!(writes > 0);
    assert_eq!(*failed, writes, "the reads have not failed");
}

/// A server whose memory is full rejects most writes, and is asked again each time.
#[tokio::test]
async fn rejected_writes_are_an_outage_until_a_write_is_accepted() {
    let server = Server::start();
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    server.send(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..3 {
        let write = WriteRequest::new(&key, "more", HOUR, Expected::Any);
        let error = store.write(write).await.unwrap_err();
        assert!(error.is_outage() && error.retry_after().is_some());
        assert!(store.touch(&key, HOUR).await.unwrap(), "needs no memory");
        record(&store, &key).await;
    }
    assert_eq!(store.stats().unavailable_servers, 1);
    server.send(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_for(|| async { outages.lock().unwrap().len() == 2 }).await;
    let outages = outages.lock().unwrap();
    let [
        Outage::Started { scope, reason, .. },
        Outage::Ended { failed: 3, .. },
    ] = &outages[..]
    else {
        panic!("not one outage: {outages:?}");
    };
    assert_eq!(*scope, OutageScope::Writes);
    assert!(reason.contains("OOM"), "{reason}");
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
        matches!(cause(&error), RedisError::Outage { last, .. } if *last == disconnected),
        "{error}"
    );
    let _server = Server::start_on(port, &[]);
    let key = key();
    let failed = recovery(&store, &key).await;
    assert_eq!(store.read(&key, None).await.unwrap(), ReadOutcome::Absent);
    assert_one_outage(&outages, 1 + failed);
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
    // The default is ten seconds.
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    let text = format!("{error:?}");
    let refused = format!(
        "{} within 400ms (last attempt: not connected: Connection refused",
        &url[8..]
    );
    assert!(
        text.contains("connect failed") && text.contains(&refused),
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
    let error = store.read(&key(), None).await.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::Overloaded { limit: 8 }),
        "{error}"
    );
    let is_waiting = |read: &JoinHandle<bool>| !read.is_finished();
    assert!(waiting.iter().all(is_waiting), "at once");
    for read in waiting {
        assert!(read.await.unwrap(), "the other operations end in time");
    }
    server.thaw();
    recovery(&store, &key()).await;
    assert_eq!(store.stats().in_flight, 0);
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_waited_for() {
    if is_before_7() {
        // Redis 6.2 does not have these arguments.
        return;
    }
    let mut server = Server::start_with(&["--enable-debug-command", "yes"]);
    let store = RedisStore::builder(&server.url())
        .command_timeout(TOTAL)
        .operation_timeout(Duration::from_secs(20));
    let store = store.connect().await.unwrap();
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
    assert_eq!(store.stats().outages, 0);
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
