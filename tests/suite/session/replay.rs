//! The first cookie of a session, sealed before anything was stored, is sent again after the session
//! has ended. The session's later cookies must not open a record that such a request creates.

use std::time::Duration;

use hyper_session::store::MemoryStore;
use serde_json::json;
use tokio::sync::Notify;

use crate::support::{Browser, Call, TestServer, config, object, test_server};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than tombstones and fences, shorter than a session.
const LATER: Duration = Duration::from_secs(600);

/// Returns a victim with a stored session, and an attacker with its first cookie.
async fn victim_and_attacker(server: &TestServer) -> (Browser, Browser) {
    let mut victim = server.browser();
    victim.pass().await;
    let attacker = victim.clone();
    server.advance(SECOND);
    victim
        .visit(async |s| s.put("user", "victim"))
        .await
        .unwrap();
    (victim, attacker)
}

/// Creates a record under the old id, and asserts that the victim's cookie does not open it.
async fn assert_replay_is_useless(mut victim: Browser, mut attacker: Browser) {
    let put = async |s: &hyper_session::Session| {
        assert_eq!(object(s), json!({}));
        s.put("user", "attacker").unwrap();
        s.id().unwrap()
    };
    let old = attacker.visit(put).await;
    victim
        .visit(async |s| {
            assert_eq!(object(s), json!({}));
            assert!(s.is_fresh() && s.id().unwrap() != old, "a new id");
            s.put("user", "victim again").unwrap();
        })
        .await;
    let data = attacker.visit(async |s| object(s)).await;
    assert_eq!(data, json!({"user": "attacker"}), "nothing was removed");
    let data = victim.visit(async |s| object(s)).await;
    assert_eq!(data, json!({"user": "victim again"}));
}

#[tokio::test]
async fn a_first_cookie_replayed_after_a_sign_out_opens_nothing_for_the_victim() {
    let server = test_server(config());
    let (victim, attacker) = victim_and_attacker(&server).await;
    let mut signs_out = victim.clone();
    signs_out.visit(async |s| s.destroy()).await.unwrap();
    server.advance(LATER);
    assert_replay_is_useless(victim, attacker).await;
}

#[tokio::test]
async fn a_first_cookie_replayed_after_a_regeneration_opens_nothing_for_the_victim() {
    let server = test_server(config());
    let (victim, attacker) = victim_and_attacker(&server).await;
    let mut signs_in = victim.clone();
    signs_in.visit(async |s| s.regenerate()).await.unwrap();
    server.advance(LATER);
    assert_replay_is_useless(victim, attacker).await;
    let user: Option<String> = signs_in.visit(async |s| s.get("user")).await.unwrap();
    assert_eq!(user.as_deref(), Some("victim"));
}

/// The first cookie is replayed while the fence of a regeneration stands, or the tombstone of a
/// sign-out. It opens nothing, and it cannot replace either.
#[tokio::test]
async fn a_first_cookie_replayed_at_once_gets_a_new_id() {
    for sign_out in [false, true] {
        let server = test_server(config());
        let (victim, mut attacker) = victim_and_attacker(&server).await;
        let mut first = attacker.clone();
        let mut ends = victim.clone();
        let end = async |s: &hyper_session::Session| match sign_out {
            true => s.destroy(),
            false => s.regenerate(),
        };
        let (old_id, ended) = ends.visit(async |s| (s.id().unwrap(), end(s).await)).await;
        ended.unwrap();
        attacker
            .visit(async |s| {
                assert_eq!(object(s), json!({}));
                assert!(s.is_fresh() && s.id().unwrap() != old_id);
                s.put("user", "attacker").unwrap();
            })
            .await;
        let again = first.visit(async |s| (object(s), s.id().unwrap())).await;
        assert_eq!(again.0, json!({}));
        assert!(again.1 != old_id);
    }
}

#[tokio::test]
async fn a_first_cookie_replayed_after_an_eviction_opens_nothing_for_the_victim() {
    let server = test_server(config());
    let small = MemoryStore::builder()
        .clock(server.clock.clone())
        .max_records(8)
        .build();
    let sessions = server.with_store(small);
    let mut victim = Browser::new(&sessions);
    victim.pass().await;
    let attacker = victim.clone();
    server.advance(SECOND);
    victim
        .visit(async |s| s.put("user", "victim"))
        .await
        .unwrap();
    let crowd = Browser::new(&sessions);
    for _ in 0..1_000 {
        server.advance(SECOND / 1_000);
        crowd.clone().visit(async |s| s.put("n", 1)).await.unwrap();
    }
    assert_replay_is_useless(victim, attacker).await;
}

#[tokio::test]
async fn a_first_cookie_replayed_after_the_store_was_emptied_opens_nothing_for_the_victim() {
    let server = test_server(config());
    let (victim, attacker) = victim_and_attacker(&server).await;
    server.advance(SECOND);
    let empty = MemoryStore::builder().clock(server.clock.clone()).build();
    let sessions = server.with_store(empty);
    let (victim, attacker) = (
        victim.with_sessions(&sessions),
        attacker.with_sessions(&sessions),
    );
    assert_replay_is_useless(victim, attacker).await;
}

#[tokio::test]
async fn a_slower_request_stores_nothing_in_the_session_that_a_replay_began() {
    for regenerates in [false, true] {
        let server = test_server(config());
        let (mut victim, mut attacker) = victim_and_attacker(&server).await;
        let key = victim.visit(async |s| s.store_key()).await.unwrap();
        let visit = victim
            .request(async |s| {
                let s = s.load().await.unwrap();
                server.sessions.collection().destroy(&key).await.unwrap();
                server.advance(LATER);
                let put = async |s: &hyper_session::Session| s.put("user", "attacker");
                attacker.visit(put).await.unwrap();
                s.put("secret", 1).unwrap();
                if regenerates {
                    s.regenerate().unwrap();
                }
            })
            .await;
        assert_eq!(visit.status, 200);
        let data = attacker.visit(async |s| object(s)).await;
        assert_eq!(data, json!({"user": "attacker"}));
        assert_eq!(server.events.with_name("write_dropped").len(), 1);
        assert_eq!(server.events.with_name("migrated"), []);
    }
}

#[tokio::test]
async fn both_cookies_of_parallel_first_writes_open_the_one_session() {
    let server = test_server(config());
    let mut slow = server.browser();
    slow.pass().await;
    let mut quick = slow.clone();
    slow.visit(async |s| {
        server.advance(SECOND);
        quick.visit(async |s| s.put("quick", 1)).await.unwrap();
        s.put("slow", 1).unwrap();
    })
    .await;
    for browser in [&mut slow, &mut quick] {
        let data = browser.visit(async |s| object(s)).await;
        assert_eq!(data, json!({"quick": 1, "slow": 1}));
    }
}

/// The slower request commits while the requests of the new session wait in a queue.
#[tokio::test]
async fn a_slower_request_stores_nothing_in_the_queue_of_another_session_with_its_id() {
    let server = test_server(config());
    let (mut victim, mut attacker) = victim_and_attacker(&server).await;
    let mut signs_out = victim.clone();
    let (loaded, queued) = (Notify::new(), Notify::new());
    tokio::join!(
        victim.visit(async |s| {
            loaded.notify_one();
            queued.notified().await;
            s.put("late", true).unwrap();
        }),
        async {
            loaded.notified().await;
            signs_out.visit(async |s| s.destroy()).await.unwrap();
            server.advance(LATER);
            attacker.visit(async |s| s.put("n", 0)).await.unwrap();
            let conflicting = server.store.hold(Call::Write);
            let batch = server.store.hold_nth(Call::Write, 1);
            let mut other = attacker.clone();
            let opening = attacker.visit(async |s| s.increment("n").unwrap());
            tokio::join!(opening, async {
                conflicting.reached().await;
                other.visit(async |s| s.increment("n").unwrap()).await;
                conflicting.open();
                batch.reached().await;
                queued.notify_one();
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                batch.open();
            });
        }
    );
    let stored = attacker.visit(async |s| object(s)).await;
    assert_eq!(stored, json!({"n": 2}));
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
}
