//! A store that fails or has unreadable records. Failures are reported, and nothing is overwritten.

use std::time::Duration;

use bytes::Bytes;
use hyper_session::{
    SessionError,
    id::StoreKey,
    session::{OnStoreFailure, ReadOnlyReason},
    store::{Expected, ReadOutcome, Store, WriteRequest},
};
use serde_json::json;

use crate::support::{Browser, Call, TestServer, config, object, test_server};

async fn visitor(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.events.clear();
    browser
}

#[tokio::test]
async fn a_failing_read_is_a_503_without_a_cookie() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    server.store.fail(Call::Read);
    let visit = browser
        .request(async |s| {
            let loaded = s.load().await.map(drop);
            assert!(matches!(loaded, Err(SessionError::Store(_))));
            let read = s.get::<i32>("n").unwrap_err();
            assert!(matches!(read, SessionError::Store(_)), "not `NotLoaded`");
        })
        .await;
    assert_eq!(visit.status, 503);
    assert_eq!(visit.cookies(), [""; 0]);
    assert_eq!(visit.headers["cache-control"], "no-store");
    assert_eq!(server.events.names(), ["store_failed"]);
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 1}));
}

#[tokio::test]
async fn the_read_only_policy_gives_an_empty_session_that_overwrites_nothing() {
    let server = test_server(config().on_store_failure(OnStoreFailure::ReadOnly));
    let mut browser = visitor(&server).await;
    server.store.fail(Call::Read);
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap();
            assert!(s.is_read_only() && s.is_empty().unwrap());
            let refused = s.put("n", 2).unwrap_err();
            assert!(matches!(
                refused,
                SessionError::ReadOnly(ReadOnlyReason::StoreFailed)
            ));
            assert!(refused.to_string().contains("its store failed"));
        })
        .await;
    assert_eq!(visit.status, 200);
    assert_eq!(visit.cookies(), [""; 0], "the cookie stays as it is");
    assert_eq!(server.events.with_name("store_failed").len(), 1);
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 1}));
}

#[tokio::test]
async fn a_write_that_fails_at_the_end_is_a_503_under_both_policies() {
    for policy in [OnStoreFailure::Unavailable, OnStoreFailure::ReadOnly] {
        let server = test_server(config().on_store_failure(policy));
        let mut browser = visitor(&server).await;
        server.store.fail(Call::Write);
        let visit = browser
            .request(async |s| drop(s.load().await.unwrap().put("n", 2)))
            .await;
        assert_eq!(visit.status, 503, "{policy:?}");
        assert_eq!(visit.cookies(), [""; 0], "{policy:?}");
        assert_eq!(server.events.with_name("committed"), []);
        assert_eq!(server.events.with_name("store_failed").len(), 1);
        assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 1}));
    }
}

#[tokio::test]
async fn a_new_visitor_whose_first_write_fails_gets_no_cookie() {
    let server = test_server(config());
    let mut browser = server.browser();
    server.store.fail(Call::Write);
    let visit = browser
        .request(async |s| drop(s.load().await.unwrap().put("n", 2)))
        .await;
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 0));
}

#[tokio::test]
async fn a_destroy_that_fails_is_a_503_and_leaves_the_cookie() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    server.store.fail(Call::Destroy);
    let visit = browser.request(async |s| s.destroy().unwrap()).await;
    assert_eq!(visit.status, 503);
    assert!(browser.cookie().is_some(), "the visitor can try again");
    browser.visit(async |s| s.destroy()).await.unwrap();
    assert_eq!(server.memory.stats().records, 0);
}

#[tokio::test]
async fn a_touch_that_fails_spoils_no_response() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    server.advance(Duration::from_secs(120));
    server.store.fail(Call::Read);
    let visit = browser.pass().await;
    assert_eq!(visit.status, 200);
    assert_eq!(server.events.names(), ["store_failed"]);
    server.store.calls();
    browser.pass().await;
    assert_eq!(
        server.store.calls(),
        [Call::Read],
        "the next one tries again"
    );
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_applied_once_at_most() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    server.store.fail_answer(Call::Write);
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap().increment("n").unwrap();
            assert!(s.commit().await.is_err());
            assert!(matches!(s.increment("n"), Err(SessionError::Committed)));
        })
        .await;
    assert_eq!(visit.status, 503, "a handler cannot hide it");
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 2}));
}

/// Replaces the visitor's record with these bytes and returns its key.
async fn replace_record(server: &TestServer, browser: &mut Browser, bytes: &Bytes) -> StoreKey {
    let key = browser.visit(async |s| s.store_key()).await.unwrap();
    let hour = Duration::from_secs(3_600);
    let write = WriteRequest::new(&key, bytes.clone(), hour, Expected::Any);
    server.memory.write(write).await.unwrap();
    server.events.clear();
    key
}

async fn stored_bytes(server: &TestServer, key: &StoreKey) -> Bytes {
    match server.memory.read(key, None).await.unwrap() {
        ReadOutcome::Found(record) => record.data,
        other => panic!("the record is gone: {other:?}"),
    }
}

#[tokio::test]
async fn a_damaged_or_foreign_record_is_a_new_session_and_expires_by_itself() {
    for damage in [
        &b"\xff\xff\xff\xff"[..],
        b"",
        b"\x02not ours",
        b"{\"n\":1}",
        b"{\"n\":1,\"text\":\"longer than the head of any record of ours\"}",
    ] {
        for policy in [OnStoreFailure::Unavailable, OnStoreFailure::ReadOnly] {
            let server = test_server(config().on_store_failure(policy));
            let mut browser = visitor(&server).await;
            let data = Bytes::copy_from_slice(damage);
            let key = replace_record(&server, &mut browser, &data).await;
            let new = browser
                .visit(async |s| {
                    assert_eq!(object(s), json!({}));
                    assert!(s.is_fresh());
                    s.put("n", 2).unwrap();
                    s.store_key().unwrap()
                })
                .await;
            assert_ne!(new, key, "{damage:?}");
            let unreadable = server.events.with_name("record_unreadable");
            assert_eq!(unreadable.len(), 1, "{damage:?}");
            assert_eq!(unreadable[0].keys, [key]);
            assert_eq!(server.events.with_name("store_failed"), []);
            assert_eq!(stored_bytes(&server, &key).await, data);
            assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 2}));
            server.sessions.collection().destroy(&key).await.unwrap();
            assert_eq!(server.memory.stats().records, 1, "destroyed by its key");
        }
    }
}

#[tokio::test]
async fn a_record_of_a_newer_release_is_an_error_that_says_so_and_is_not_overwritten() {
    for (policy, status) in [
        (OnStoreFailure::Unavailable, 503),
        (OnStoreFailure::ReadOnly, 200),
    ] {
        let server = test_server(config().on_store_failure(policy));
        let mut browser = visitor(&server).await;
        let data = Bytes::from_static(b"\x03of a later release");
        let key = replace_record(&server, &mut browser, &data).await;
        let visit = browser
            .request(async |s| s.load().await.map(|s| s.put("n", 2)).is_ok())
            .await;
        assert_eq!(visit.status, status);
        let failed = server.events.with_name("store_failed");
        assert_eq!(failed.len(), 1);
        assert!(failed[0].text.contains("newer release"), "{failed:?}");
        assert_eq!(stored_bytes(&server, &key).await, data);
    }
}

#[tokio::test]
async fn a_record_damaged_while_a_request_ran_is_not_overwritten_by_its_commit() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let key = browser.visit(async |s| s.store_key()).await.unwrap();
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap().put("n", 2).unwrap();
            let hour = Duration::from_secs(3_600);
            let write = server
                .memory
                .write(WriteRequest::new(&key, "damage", hour, Expected::Any));
            write.await.unwrap();
        })
        .await;
    assert_eq!(visit.status, 503);
    let ReadOutcome::Found(record) = server.memory.read(&key, None).await.unwrap() else {
        panic!("the record is gone");
    };
    assert_eq!(record.data, "damage");
}

#[tokio::test]
async fn a_load_that_was_dropped_can_be_repeated() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let gate = server.store.hold(Call::Read);
    browser
        .request(async |s| {
            tokio::select! {
                _ = s.load() => panic!("the store waits"),
                () = gate.reached() => {}
            }
            assert!(!s.is_loaded());
            assert_eq!(object(s.load().await.unwrap()), json!({"n": 1}));
        })
        .await;
}

#[tokio::test]
async fn a_commit_that_was_dropped_is_not_taken_for_done() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let gate = server.store.hold(Call::Write);
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap().increment("n").unwrap();
            tokio::select! {
                _ = s.commit() => panic!("the store waits"),
                () = gate.reached() => {}
            }
            assert!(matches!(s.put("a", 1), Err(SessionError::Committed)));
        })
        .await;
    assert_eq!(visit.status, 503);
}
