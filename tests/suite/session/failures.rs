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
    server.store.fail(Call::Read);
    let visit = browser.request(async |s| s.destroy().unwrap()).await;
    assert_eq!(visit.status, 503);
    assert!(browser.cookie().is_some(), "the visitor can try again");
    browser.visit(async |s| s.destroy()).await.unwrap();
    assert_eq!(server.memory.stats().records, 0);
}

/// A fence has replaced the session before the removal of its record fails.
#[tokio::test]
async fn a_destroy_whose_removal_fails_has_ended_the_session_and_is_reported_once() {
    for call in ["request", "destroy", "destroy_tagged"] {
        for is_rotated in [false, true] {
            let server = test_server(config());
            let mut browser = visitor(&server).await;
            browser.visit(async |s| s.tag("ada")).await.unwrap();
            let old = browser.visit(async |s| s.store_key()).await.unwrap();
            if is_rotated {
                let grace = Duration::from_secs(30);
                browser.visit(async |s| s.rotate_id(grace)).await.unwrap();
            }
            let all = server.sessions.collection();
            server.store.fail(Call::Destroy);
            let is_error = match call {
                "request" => {
                    let visit = browser.request(async |s| s.destroy().unwrap()).await;
                    visit.status == 503
                }
                "destroy" => all.destroy(&old).await.is_err(),
                _ => all.destroy_tagged("ada", None).await.is_err(),
            };
            assert!(is_error, "{call} {is_rotated}");
            let count = || server.events.with_name("destroyed").len();
            let reported = count();
            // The old key of a rotation is destroyed, too.
            let expected = 1 + usize::from(is_rotated && call == "destroy");
            assert_eq!(reported, expected, "{call} {is_rotated}");
            match call {
                "request" => {
                    let visit = browser.request(async |s| s.destroy().unwrap()).await;
                    assert_eq!(visit.status, 200, "{is_rotated}");
                }
                "destroy" => all.destroy(&old).await.unwrap(),
                _ => assert_eq!(all.destroy_tagged("ada", None).await.unwrap(), 0),
            }
            assert_eq!(count(), reported, "{call} {is_rotated}");
            assert_eq!(
                browser.visit(async |s| object(s)).await,
                json!({}),
                "{call}"
            );
        }
    }
}

/// The session ends before the second call has read it, or before that call writes its fence.
#[tokio::test]
async fn a_destroy_of_a_session_that_had_ended_is_not_reported() {
    for second in ["request", "destroy", "destroy_tagged"] {
        for held in [Call::Read, Call::Write] {
            let server = test_server(config());
            let mut browser = visitor(&server).await;
            browser.visit(async |s| s.tag("ada")).await.unwrap();
            let key = browser.visit(async |s| s.store_key()).await.unwrap();
            let mut late = browser.clone();
            let all = server.sessions.collection();
            let gate = server.store.hold(held);
            let first = async {
                gate.reached().await;
                all.destroy(&key).await.unwrap();
                gate.open();
            };
            let repeat = async {
                match second {
                    "request" => {
                        let visit = late.request(async |s| s.destroy().unwrap()).await;
                        assert_eq!(visit.status, 200);
                        assert!(visit.cookie().contains("Max-Age=0"), "{}", visit.cookie());
                    }
                    "destroy" => all.destroy(&key).await.unwrap(),
                    _ => assert_eq!(all.destroy_tagged("ada", None).await.unwrap(), 0),
                }
            };
            tokio::join!(repeat, first);
            let destroyed = server.events.with_name("destroyed").len();
            assert_eq!(destroyed, 1, "{second} {held:?}");
        }
    }
}

/// The client may disconnect when the session has ended and its record is not yet removed.
#[tokio::test]
async fn a_destroy_that_is_dropped_during_the_removal_is_reported_once() {
    for call in ["request", "destroy"] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let key = browser.visit(async |s| s.store_key()).await.unwrap();
        let (mut again, all) = (browser.clone(), server.sessions.collection());
        let gate = server.store.hold(Call::Destroy);
        let destroy = async {
            match call {
                "request" => drop(browser.request(async |s| s.destroy().unwrap()).await),
                _ => all.destroy(&key).await.unwrap(),
            }
        };
        tokio::select! {
            () = destroy => panic!("the store waits"),
            () = gate.reached() => {}
        }
        let visit = again.request(async |s| s.destroy().unwrap()).await;
        assert_eq!(visit.status, 200);
        assert_eq!(server.events.with_name("destroyed").len(), 1, "{call}");
    }
}

/// Another process has ended the session or given it a new id, and the sign-out has removed the cookie.
#[tokio::test]
async fn a_slow_response_sends_no_id_after_a_sign_out_that_reported_no_end() {
    for end in ["destroy", "regenerate", "rotate and regenerate"] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let mut late = browser.clone();
        let mut elsewhere = browser.clone().with_sessions(&server.another_process());
        if end == "rotate and regenerate" {
            let grace = Duration::from_secs(30);
            elsewhere.visit(async |s| s.rotate_id(grace)).await.unwrap();
        }
        let slow = browser.request(async |s| {
            s.load().await.unwrap();
            let ended = elsewhere.visit(async |s| match end {
                "destroy" => s.destroy(),
                _ => s.regenerate(),
            });
            ended.await.unwrap();
            let visit = late.request(async |s| s.destroy().unwrap()).await;
            assert!(visit.cookie().contains("Max-Age=0"), "{}", visit.cookie());
        });
        assert_eq!(slow.await.cookies(), [""; 0], "{end}");
        assert_eq!(server.events.with_name("destroyed"), []);
    }
}

#[tokio::test]
async fn a_sign_out_under_an_old_id_reports_no_end() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let mut late = browser.clone();
    browser.visit(async |s| s.regenerate()).await.unwrap();
    let visit = late.request(async |s| s.destroy().unwrap()).await;
    assert_eq!(visit.status, 200);
    assert_eq!(server.events.with_name("destroyed"), []);
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 1}));
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
