//! A server that no longer accepts connections from the store, for example because its password has changed.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper_session::store::{
    Expected, ScanStore, Store, StoreError, WriteRequest,
    redis::{ConnectProblem, Outage, OutageScope, RedisError, RedisStore, TransientError},
};

use crate::support::redis_servers::{
    Server,
    sessions::{HOUR, cause, create_session, key},
};

const TOTAL: Duration = Duration::from_millis(1_500);

const PASSWORD: &str = "pa55word";

type OutageLog = Arc<Mutex<Vec<Outage>>>;

/// Returns a store with short timeouts, and the log of its outages.
fn store(url: &str) -> (RedisStore, OutageLog) {
    let outages = OutageLog::default();
    let log = Arc::clone(&outages);
    let store = RedisStore::builder(url)
        .command_timeout(Duration::from_millis(500))
        .operation_timeout(TOTAL)
        .on_outage(move |outage| log.lock().unwrap().push(outage.clone()))
        .build()
        .unwrap();
    (store, outages)
}

async fn wait_for_reports(outages: &OutageLog, count: usize) {
    let start = Instant::now();
    while outages.lock().unwrap().len() < count {
        assert!(start.elapsed() < 20 * TOTAL, "report {count} is missing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asserts that the error is part of an outage and names the wrong password.
fn assert_denied_outage(error: &StoreError) {
    let RedisError::Outage { problem, .. } = cause(error) else {
        panic!("not an outage: {error:?}");
    };
    assert!(
        matches!(problem, Some(ConnectProblem::Denied(_))),
        "{error:?}"
    );
    assert!(error.retry_after().is_some(), "{error:?}");
}

/// Asserts that an outage has started because of the password, and ends it.
async fn end_outage(server: &Server, store: &RedisStore, outages: &OutageLog) {
    assert_eq!(store.stats().unavailable_servers, 1);
    assert!(!store.is_available(&key()));
    let reply = server.send_as(PASSWORD, &["CONFIG", "SET", "requirepass", ""]);
    assert!(reply.ends_with("+OK\r\n"), "{reply}");
    wait_for_reports(outages, 2).await;
    create_session(store, HOUR).await;
    let outages = outages.lock().unwrap();
    let [Outage::Started { scope, reason, .. }, Outage::Ended { .. }] = &outages[..] else {
        panic!("not one outage: {outages:?}");
    };
    assert_eq!(*scope, OutageScope::All);
    assert!(reason.contains("rejected the user or password"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_is_an_outage_until_the_server_accepts_the_store_again() {
    let mut server = Server::start();
    let (store, outages) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    server.restart_with(&["--requirepass", PASSWORD]);
    let error = store.read(&key, None).await.unwrap_err();
    assert_denied_outage(&error);
    for expected in [Expected::Any, Expected::Absent] {
        let write = WriteRequest::new(&key, "more", HOUR, expected);
        assert_denied_outage(&store.write(write).await.unwrap_err());
    }
    assert_denied_outage(&store.touch(&key, HOUR).await.unwrap_err());
    end_outage(&server, &store, &outages).await;
}

/// The first command fails at once with the reason, since the URL may be wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_accepted_the_store_is_an_outage_too() {
    let server = Server::start_with(&["--requirepass", PASSWORD]);
    let (store, outages) = store(&server.url());
    let error = store.read(&key(), None).await.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::Connect { .. }),
        "{error:?}"
    );
    wait_for_reports(&outages, 1).await;
    assert_denied_outage(&store.read(&key(), None).await.unwrap_err());
    end_outage(&server, &store, &outages).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_is_tried_again_until_the_operation_timeout() {
    let mut server = Server::start();
    let (store, _) = store(&server.url());
    let builder = RedisStore::builder(&server.url()).operation_timeout(Duration::from_secs(60));
    let patient = builder.connect().await.unwrap();
    create_session(&store, HOUR).await;
    server.kill();
    let scan = tokio::spawn(patient.scan_page(None));
    let error = store.scan_page(None).await.unwrap_err();
    let RedisError::Outage { last, .. } = cause(&error) else {
        panic!("not an outage: {error:?}");
    };
    assert_eq!(*last, TransientError::Disconnected, "{error:?}");
    server.restart();
    scan.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_in_a_known_outage_fails_without_an_attempt() {
    let mut server = Server::start();
    let (store, outages) = store(&server.url());
    create_session(&store, HOUR).await;
    server.kill();
    // Every caller cancels.
    while outages.lock().unwrap().is_empty() {
        let scan = tokio::time::timeout(TOTAL / 10, store.scan_page(None)).await;
        assert!(scan.is_err(), "{scan:?}");
    }
    let retries = store.stats().retries;
    let error = store.scan_page(None).await.unwrap_err();
    let is_outage = matches!(cause(&error), RedisError::Outage { .. });
    assert!(is_outage && error.retry_after().is_some(), "{error:?}");
    assert_eq!(store.stats().retries, retries);
}
