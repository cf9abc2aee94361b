//! Slower requests do not bring a destroyed or expired session back.

use std::time::Duration;

use hyper_session::{Session, SessionError, store::MemoryStore};
use serde_json::json;

use crate::support::{Browser, Call, TestServer, config, object, test_server};

/// Signs a visitor in, with a tag.
async fn ada(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser
        .visit(async |s| {
            s.put("user", "ada")?;
            s.tag("ada")
        })
        .await
        .unwrap();
    server.events.clear();
    browser
}

/// Asserts that the old cookie opens an empty session with a new id.
async fn assert_dead(browser: &mut Browser, old: &hyper_session::id::SessionId) {
    browser
        .visit(async |s| {
            assert_eq!(object(s), json!({}));
            assert!(s.id().unwrap() != *old, "a new id");
        })
        .await;
}

async fn id(browser: &mut Browser) -> hyper_session::id::SessionId {
    browser.visit(async |s| s.id()).await.unwrap()
}

/// The way in which a session is destroyed while a slower request uses it.
#[derive(Clone, Copy, Debug)]
enum Destruction {
    Session,
    Tag,
    Key,
}

const DESTRUCTIONS: [Destruction; 3] = [Destruction::Session, Destruction::Tag, Destruction::Key];

impl Destruction {
    async fn run(self, server: &TestServer, browser: &Browser) {
        let mut browser = browser.clone();
        let all = server.sessions.collection();
        match self {
            Self::Session => browser.visit(async |s| s.destroy()).await.unwrap(),
            Self::Tag => assert_eq!(all.destroy_tagged("ada", None).await.unwrap(), 1),
            Self::Key => {
                let key = browser.visit(async |s| s.store_key()).await.unwrap();
                all.destroy(&key).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_slower_request_does_not_bring_a_destroyed_session_back() {
    for destruction in DESTRUCTIONS {
        let server = test_server(config());
        let mut browser = ada(&server).await;
        let (old, mut thief) = (id(&mut browser).await, browser.clone());
        let visit = browser
            .clone()
            .request(async |s| {
                s.load().await.unwrap();
                destruction.run(&server, &browser).await;
                s.put("late", 1).unwrap();
                s.flash("late", 1).unwrap();
                s.tag("ada").unwrap();
            })
            .await;
        assert_eq!(visit.cookies(), [""; 0], "{destruction:?}");
        assert_eq!(
            server.events.with_name("write_dropped").len(),
            1,
            "{destruction:?}"
        );
        assert_eq!(server.memory.stats().records, 0, "{destruction:?}");
        assert_eq!(
            server.sessions.collection().tagged("ada").await.unwrap(),
            []
        );
        assert_dead(&mut thief, &old).await;
    }
}

#[tokio::test]
async fn a_request_that_had_not_loaded_yet_does_not_either() {
    for destruction in DESTRUCTIONS {
        let server = test_server(config());
        let mut browser = ada(&server).await;
        let (old, mut thief) = (id(&mut browser).await, browser.clone());
        browser
            .clone()
            .request(async |s| {
                destruction.run(&server, &browser).await;
                s.load().await.unwrap();
                assert!(s.is_empty().unwrap());
                s.put("late", 1).unwrap();
                assert!(s.id().unwrap() != old);
            })
            .await;
        assert_dead(&mut thief, &old).await;
    }
}

#[tokio::test]
async fn a_session_that_was_never_stored_is_fenced_as_well() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.pass().await;
    let (old, mut thief) = (id(&mut browser).await, browser.clone());
    let mut other = browser.clone();
    browser
        .request(async |s| {
            s.load().await.unwrap();
            other.visit(async |s| s.destroy()).await.unwrap();
            s.put("late", 1).unwrap();
        })
        .await;
    assert_eq!(server.memory.stats().records, 0);
    assert_dead(&mut thief, &old).await;
}

#[tokio::test]
async fn a_write_on_its_way_when_the_session_ends_is_dropped() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let gate = server.store.hold(Call::Write);
    let (mut slow, mut quick) = (browser.clone(), browser.clone());
    tokio::join!(slow.visit(async |s| s.put("late", 1).unwrap()), async {
        gate.reached().await;
        quick.visit(async |s| s.destroy()).await.unwrap();
        gate.open();
    });
    assert_eq!(server.memory.stats().records, 0);
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
}

/// Only the removal fails, so the fence that ends the session stays. It names no new id.
#[tokio::test]
async fn a_session_whose_removal_failed_was_destroyed_and_not_given_a_new_id() {
    type Change = fn(&Session) -> Result<(), SessionError>;
    let changes: [Change; 3] = [
        |s| s.put("late", 1),
        |s| s.update("late", |n: &mut i32| *n += 1).map(drop),
        |s| s.regenerate(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let server = test_server(config());
        let browser = ada(&server).await;
        let mut quick = browser.clone();
        let late = async |s: &Session| {
            server.store.fail(Call::Destroy);
            let destroy = async |s: Session| s.destroy().unwrap();
            assert_eq!(quick.request(destroy).await.status, 503);
            change(s).unwrap();
        };
        browser.clone().visit(late).await;
        let dropped = server.events.with_name("write_dropped");
        let reasons: Vec<_> = dropped.iter().map(|event| &*event.text).collect();
        let reason = "the session was destroyed, expired or evicted";
        assert_eq!(reasons, [reason], "{at}");
    }
}

#[tokio::test]
async fn a_request_that_only_reads_brings_nothing_back() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let mut quick = browser.clone();
    let visit = browser
        .clone()
        .request(async |s| {
            s.load().await.unwrap();
            quick.visit(async |s| s.destroy()).await.unwrap();
        })
        .await;
    assert_eq!(server.memory.stats().records, 0);
    assert_eq!(visit.cookies().len(), 0, "nor the old cookie");
}

#[tokio::test]
async fn when_the_tombstone_is_over_the_old_cookie_opens_nothing_and_gets_a_new_id() {
    for destruction in DESTRUCTIONS {
        let server = test_server(config());
        let mut browser = ada(&server).await;
        let (old, mut thief) = (id(&mut browser).await, browser.clone());
        destruction.run(&server, &browser).await;
        server.advance(Duration::from_secs(600));
        server.memory.sweep();
        assert_eq!(server.memory.stats().tombstones, 0);
        assert_dead(&mut thief, &old).await;
    }
}

#[tokio::test]
async fn a_request_slower_than_the_tombstone_writes_nothing_to_what_it_had_read() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let mut quick = browser.clone();
    browser
        .clone()
        .visit(async |s| {
            quick.visit(async |s| s.destroy()).await.unwrap();
            server.advance(Duration::from_secs(600));
            s.put("late", 1).unwrap();
        })
        .await;
    server.memory.sweep();
    assert_eq!(server.memory.stats().records, 0);
}

#[tokio::test]
async fn the_old_cookie_does_not_come_alive_with_a_later_session() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    let mut thief = browser.clone();
    browser.visit(async |s| s.destroy()).await.unwrap();
    browser.visit(async |s| s.put("user", "bob")).await.unwrap();
    server.advance(Duration::from_secs(600));
    assert_eq!(thief.visit(async |s| object(s)).await, json!({}));
}

#[tokio::test]
async fn clear_and_logout_at_the_same_time_end_the_session() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let mut quick = browser.clone();
    browser
        .clone()
        .visit(async |s| {
            quick.visit(async |s| s.destroy()).await.unwrap();
            s.clear().unwrap();
        })
        .await;
    assert_eq!(server.memory.stats().records, 0);
}

#[tokio::test]
async fn an_expired_session_is_not_continued_by_a_request_that_read_it_before() {
    let server = test_server(config());
    let browser = ada(&server).await;
    browser
        .clone()
        .visit(async |s| {
            server.advance(Duration::from_secs(3 * 3600));
            s.put("late", 1).unwrap();
        })
        .await;
    server.memory.sweep();
    assert_eq!(server.memory.stats().records, 0);
}

#[tokio::test]
async fn a_logout_by_a_request_that_lost_a_race_still_ends_the_session() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let mut quick = browser.clone();
    browser
        .clone()
        .visit(async |s: &Session| {
            quick.visit(async |s| s.put("b", 1)).await.unwrap();
            s.put("c", 1).unwrap();
            s.destroy().unwrap();
        })
        .await;
    assert_eq!(server.memory.stats().records, 0);
}

#[tokio::test]
async fn a_fence_of_one_session_leaves_all_others_alone() {
    let server = test_server(config());
    let (mut ada, mut bob) = (ada(&server).await, server.browser());
    bob.visit(async |s| s.put("user", "bob")).await.unwrap();
    ada.visit(async |s| s.destroy()).await.unwrap();
    bob.visit(async |s| s.increment("n")).await.unwrap();
    assert_eq!(
        bob.visit(async |s| object(s)).await,
        json!({"user": "bob", "n": 1})
    );
    let _: &MemoryStore = &server.memory;
}
