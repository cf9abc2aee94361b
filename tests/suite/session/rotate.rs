//! A session is rotated to a new id, with a grace window for the old one.

use std::time::Duration;

use hyper_session::{
    Session,
    id::{SessionId, StoreKey},
    session::CookiePolicy,
    store::{Expected, ReadOutcome, Store, WriteRequest},
};
use serde_json::{Value, json};

use super::regenerate::ada;
use crate::support::{Browser, Call, TestServer, config, cookie_server, data, object, test_server};

const GRACE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

async fn id(browser: &mut Browser) -> SessionId {
    browser.visit(async |s| s.id()).await.unwrap()
}

async fn rotate(browser: &mut Browser) {
    browser.visit(async |s| s.rotate_id(GRACE)).await.unwrap();
}

/// Returns a browser with the new id, and one with the old id.
async fn rotated(server: &TestServer) -> (Browser, Browser) {
    let mut browser = ada(server).await;
    let old = browser.clone();
    rotate(&mut browser).await;
    (browser, old)
}

#[tokio::test]
async fn within_the_window_the_old_id_opens_the_session_and_receives_its_cookie() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        let server = test_server(config().cookie_policy(policy));
        let (mut new, mut old) = rotated(&server).await;
        server.advance(GRACE - SECOND);
        old.visit(async |s| {
            assert_eq!(object(s), json!({"n": 1}));
            assert!(!s.is_fresh() && !s.has_regenerated());
        })
        .await;
        server.advance(GRACE);
        assert_eq!(data(&mut old).await, json!({"n": 1}), "it has the cookie");
        assert!(id(&mut old).await == id(&mut new).await);
    }
}

#[tokio::test]
async fn after_the_window_the_old_id_opens_nothing() {
    let server = test_server(config());
    let (mut new, mut old) = rotated(&server).await;
    server.advance(GRACE);
    old.visit(async |s| assert!(s.is_fresh() && s.is_empty().unwrap()))
        .await;
    assert!(id(&mut old).await != id(&mut new).await);
    assert_eq!(data(&mut new).await, json!({"n": 1}));
}

#[tokio::test]
async fn a_window_longer_than_the_fence_lasts() {
    let server = test_server(config());
    let mut new = ada(&server).await;
    let mut old = new.clone();
    let hour = SECOND * 3600;
    new.visit(async |s| s.rotate_id(hour)).await.unwrap();
    server.advance(hour - SECOND);
    assert_eq!(data(&mut old).await, json!({"n": 1}));
}

#[tokio::test]
async fn the_window_ends_with_the_session() {
    let server = test_server(config().age(SECOND * 3600).absolute_timeout(SECOND * 7200));
    let mut new = ada(&server).await;
    server.advance(SECOND * 3000);
    data(&mut new).await;
    let mut old = new.clone();
    server.store.calls();
    let day = SECOND * 86_400;
    new.visit(async |s| s.rotate_id(day)).await.unwrap();
    server.advance(SECOND * 4201);
    server.memory.sweep();
    assert_eq!(server.memory.stats().records, 0);
    assert_eq!(data(&mut old).await, json!({}));
}

#[tokio::test]
async fn a_window_of_zero_is_none() {
    let server = test_server(config());
    let mut new = ada(&server).await;
    let mut old = new.clone();
    let zero = Duration::ZERO;
    new.visit(async |s| s.rotate_id(zero)).await.unwrap();
    assert_eq!(data(&mut old).await, json!({}));
}

#[tokio::test]
async fn a_request_that_does_not_use_its_session_does_not_follow() {
    let server = test_server(config().touch_interval(SECOND));
    let (mut new, mut old) = rotated(&server).await;
    server.advance(SECOND * 2);
    assert_eq!(old.pass().await.cookies(), [""; 0]);
    assert_eq!(data(&mut old).await, data(&mut new).await);
}

#[tokio::test]
async fn a_followed_id_costs_one_more_read() {
    let server = test_server(config());
    let (mut new, mut old) = rotated(&server).await;
    server.store.calls();
    data(&mut old).await;
    assert_eq!(server.store.calls(), [Call::Read, Call::Read]);
    data(&mut new).await;
    assert_eq!(server.store.calls(), [Call::Read]);
}

#[tokio::test]
async fn changes_under_the_old_id_are_stored_under_the_new_one() {
    let server = test_server(config());
    let (mut new, mut old) = rotated(&server).await;
    old.visit(async |s| {
        s.increment("n").unwrap();
        s.commit().await.unwrap();
        s.flash("m", 1)
    })
    .await
    .unwrap();
    new.visit(async |s| {
        assert_eq!(object(s), json!({"n": 2}));
        let messages: Value = s.flash_messages().unwrap().all().unwrap();
        assert_eq!(messages, json!({"m": 1}));
    })
    .await;
}

/// The first cookie of a session, from before the sign-in, is the attacker's.
#[tokio::test]
async fn an_id_planted_before_the_sign_in_opens_nothing() {
    for rotates_first in [true, false] {
        let server = test_server(config());
        let mut victim = server.browser();
        victim.pass().await;
        let mut planted = vec![victim.clone()];
        if rotates_first {
            victim.visit(async |s| s.put("n", 1)).await.unwrap();
            planted.push(victim.clone());
            rotate(&mut victim).await;
            planted.push(victim.clone());
        }
        let sign_in = async |s: &Session| {
            s.regenerate().unwrap();
            s.rotate_id(GRACE).unwrap();
            s.put("user", "ada").unwrap();
        };
        victim.visit(sign_in).await;
        for attacker in &mut planted {
            assert_eq!(data(attacker).await, json!({}));
        }
        let mut last = victim.clone();
        let user: Option<String> = victim.visit(async |s| s.get("user")).await.unwrap();
        assert_eq!(user.as_deref(), Some("ada"));
        rotate(&mut victim).await;
        assert_ne!(data(&mut last).await, json!({}), "its rights are the same");
        for attacker in &mut planted {
            assert_eq!(data(attacker).await, json!({}));
        }
    }
}

#[tokio::test]
async fn a_sign_in_under_the_old_id_ends_the_window() {
    let server = test_server(config());
    let (mut new, mut old) = rotated(&server).await;
    let mut planted = old.clone();
    old.visit(async |s| s.regenerate()).await.unwrap();
    assert_eq!(data(&mut planted).await, json!({}));
    assert_eq!(data(&mut new).await, json!({}));
    assert_eq!(data(&mut old).await, json!({"n": 1}));
}

#[tokio::test]
async fn a_regeneration_in_the_same_request_has_no_window() {
    let server = test_server(config());
    let mut new = ada(&server).await;
    let mut old = new.clone();
    new.visit(async |s| {
        s.rotate_id(GRACE)?;
        s.regenerate()
    })
    .await
    .unwrap();
    assert_eq!(data(&mut old).await, json!({}));
    assert_eq!(data(&mut new).await, json!({"n": 1}));
}

#[tokio::test]
async fn destroy_under_either_id_ends_the_session_under_both() {
    for (by_old, loads) in [(true, true), (true, false), (false, true), (false, false)] {
        let server = test_server(config());
        let (new, old) = rotated(&server).await;
        let mut by = if by_old { &old } else { &new }.clone();
        let visit = by
            .request(async |s| {
                if loads {
                    s.load().await.unwrap();
                }
                s.destroy().unwrap();
            })
            .await;
        assert!(visit.cookie().contains("Max-Age=0"));
        for mut browser in [new, old] {
            assert_eq!(data(&mut browser).await, json!({}), "{by_old} {loads}");
        }
        let tagged = server.sessions.collection().tagged("ada").await.unwrap();
        assert_eq!(tagged, []);
    }
}

#[tokio::test]
async fn a_collection_destroys_the_session_by_its_old_key() {
    let server = test_server(config());
    let mut new = ada(&server).await;
    let key = new.visit(async |s| s.store_key()).await.unwrap();
    let mut old = new.clone();
    rotate(&mut new).await;
    let all = server.sessions.collection();
    let snapshot = all.get(&key).await.unwrap().unwrap();
    assert_eq!(snapshot.get("n").unwrap(), Some(1));
    all.destroy(&key).await.unwrap();
    for browser in [&mut new, &mut old] {
        assert_eq!(data(browser).await, json!({}));
    }
}

#[tokio::test]
async fn destroy_tagged_ends_the_session_under_both_ids() {
    let server = test_server(config());
    let (mut new, mut old) = rotated(&server).await;
    let all = server.sessions.collection();
    assert_eq!(all.destroy_tagged("ada", None).await.unwrap(), 1);
    assert_eq!(data(&mut new).await, json!({}));
    assert_eq!(data(&mut old).await, json!({}));
}

#[tokio::test]
async fn a_load_follows_two_rotations() {
    let server = test_server(config());
    let (mut new, first) = rotated(&server).await;
    let second = new.clone();
    rotate(&mut new).await;
    assert_eq!(data(&mut first.clone()).await, json!({"n": 1}));
    rotate(&mut new).await;
    assert_eq!(data(&mut first.clone()).await, json!({}));
    assert_eq!(data(&mut second.clone()).await, json!({"n": 1}));
}

#[tokio::test]
async fn csrf_tokens_of_the_old_id_are_valid_with_it_during_the_window() {
    let server = test_server(config());
    let mut new = ada(&server).await;
    let token = new.visit(async |s| s.csrf_token()).await.unwrap();
    let mut old = new.clone();
    new.visit(async |s| {
        s.rotate_id(GRACE).unwrap();
        assert!(s.verify_csrf_token(&token));
        let own = s.csrf_token().unwrap();
        assert!(s.verify_csrf_token(&own));
    })
    .await;
    let verify = async |s: &Session| s.verify_csrf_token(&token);
    let mut late = old.clone();
    assert!(old.visit(verify).await);
    assert!(!new.visit(verify).await);
    assert!(
        !new.visit(async |s| {
            s.regenerate().unwrap();
            s.verify_csrf_token(&token)
        })
        .await
    );
    server.advance(GRACE);
    assert!(!late.visit(verify).await);
}

#[tokio::test]
async fn another_process_follows_and_ends_the_session() {
    let server = test_server(config());
    let another = server.another_process();
    let (new, old) = rotated(&server).await;
    let mut there = old.clone().with_sessions(&another);
    assert_eq!(data(&mut there).await, json!({"n": 1}));
    let mut there = old.clone().with_sessions(&another);
    there.visit(async |s| s.destroy()).await.unwrap();
    for mut browser in [new, old] {
        assert_eq!(data(&mut browser).await, json!({}));
    }
}

#[tokio::test]
async fn a_process_that_knows_of_no_rotation_ends_the_session() {
    for by_key in [false, true] {
        let server = test_server(config());
        let mut new = ada(&server).await;
        let old = new.clone();
        let key = new.visit(async |s| s.store_key()).await.unwrap();
        rotate(&mut new).await;
        let another = server.another_process();
        match by_key {
            true => another.collection().destroy(&key).await.unwrap(),
            false => {
                let mut there = old.clone().with_sessions(&another);
                there.visit(async |s| s.destroy()).await.unwrap();
            }
        }
        for mut browser in [new, old] {
            assert_eq!(data(&mut browser).await, json!({}), "{by_key}");
        }
    }
}

#[tokio::test]
async fn an_explicit_commit_rotates() {
    let server = test_server(config());
    let mut new = ada(&server).await;
    let mut old = new.clone();
    new.visit(async |s| {
        s.rotate_id(GRACE).unwrap();
        s.commit().await.unwrap();
        old.visit(async |s| s.increment("n")).await.unwrap();
        s.increment("n").unwrap();
    })
    .await;
    assert_eq!(data(&mut new).await, json!({"n": 3}));
    assert_eq!(data(&mut old).await, json!({"n": 3}));
}

#[tokio::test]
async fn the_store_contains_no_id() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    let mut ids = vec![id(&mut browser).await];
    for _ in 0..2 {
        rotate(&mut browser).await;
        ids.push(id(&mut browser).await);
    }
    let mut keys = server.store.keys();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3);
    let mut dump = Vec::new();
    for key in &keys {
        let ReadOutcome::Found(record) = server.memory.read(key, None).await.unwrap() else {
            panic!("there is a fence or a session");
        };
        dump.extend_from_slice(key.as_bytes());
        dump.extend_from_slice(&record.data);
    }
    for id in ids {
        let hex: String = id.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        let upper = hex.to_uppercase();
        let base64 = id.to_string();
        let standard = base64.replace('-', "+").replace('_', "/");
        let raw: &[u8] = id.as_bytes();
        for form in [
            raw,
            hex.as_bytes(),
            upper.as_bytes(),
            base64.as_bytes(),
            standard.as_bytes(),
        ] {
            assert!(!dump.windows(form.len()).any(|part| part == form));
        }
    }
}

/// The seal binds a fence to its key. A copy under another id forwards nothing.
#[tokio::test]
async fn a_copied_fence_forwards_nothing() {
    let server = test_server(config());
    let mut thief = server.browser();
    thief.visit(async |s| s.put("n", 2)).await.unwrap();
    let target = thief.visit(async |s| s.store_key()).await.unwrap();
    let mut browser = ada(&server).await;
    let old = browser.visit(async |s| s.store_key()).await.unwrap();
    rotate(&mut browser).await;
    let read = async |key: &StoreKey| match server.memory.read(key, None).await.unwrap() {
        ReadOutcome::Found(record) => record,
        other => panic!("{other:?}"),
    };
    let (fence, version) = (read(&old).await.data, read(&target).await.version);
    let copy = WriteRequest::new(&target, fence, GRACE, Expected::Version(version));
    server.memory.write(copy).await.unwrap();
    assert_eq!(data(&mut thief).await, json!({}));
}

#[tokio::test]
async fn a_session_that_was_never_stored_is_rotated_as_well() {
    let server = test_server(config());
    let mut new = server.browser();
    new.pass().await;
    let mut old = new.clone();
    rotate(&mut new).await;
    old.visit(async |s| s.put("n", 1)).await.unwrap();
    assert_eq!(data(&mut new).await, json!({"n": 1}));
}

/// A copy of a session's first cookie begins another session under the id, once the tombstone has gone.
#[tokio::test]
async fn a_cookie_does_not_follow_the_fence_of_another_session_with_its_id() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.pass().await;
    let mut copy = browser.clone();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let mut late = browser.clone();
    browser.visit(async |s| s.destroy()).await.unwrap();
    server.advance(SECOND * 120);
    copy.visit(async |s| s.put("n", 2)).await.unwrap();
    rotate(&mut copy).await;
    assert_eq!(data(&mut late).await, json!({}));
    assert_eq!(data(&mut copy).await, json!({"n": 2}));
}

#[tokio::test]
async fn the_living_one_of_several_cookies_may_be_an_old_id() {
    let server = test_server(config());
    let (_, old) = rotated(&server).await;
    let mut dead = ada(&server).await;
    let mut browser = dead.clone();
    dead.visit(async |s| s.destroy()).await.unwrap();
    browser.jar.plant("session", old.cookie().unwrap());
    assert_eq!(data(&mut browser).await, json!({"n": 1}));
}

#[tokio::test]
async fn a_store_without_versions_has_no_window() {
    let server = cookie_server();
    let mut new = server.browser();
    new.visit(async |s| s.put("n", 1)).await.unwrap();
    let mut old = new.clone();
    rotate(&mut new).await;
    assert_eq!(data(&mut new).await, json!({"n": 1}));
    let (mut id_of_old, mut id_of_new) = (old.clone(), new.clone());
    assert!(id(&mut id_of_old).await != id(&mut id_of_new).await);
    data(&mut old).await;
    assert!(old.cookie() != new.cookie());
}
