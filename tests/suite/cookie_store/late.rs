//! Sessions in cookies that end or become too large during a request.

use hyper_session::{Session, session::OnTooLarge};
use serde_json::json;

use crate::support::{
    Browser, CookieServer, config,
    cookie_server::{cookie_server_with, text},
    object,
};

const OTHER: &str = "a key of the next season, which is as long as any";

fn server_with_revocation() -> CookieServer {
    cookie_server_with(config(), |store, backing| store.with_revocation(backing))
}

async fn put(browser: &mut Browser, key: &str) {
    browser
        .visit(async |session: &Session| session.put(key, 1).unwrap())
        .await;
}

async fn destroy(browser: &mut Browser) {
    browser
        .visit(async |session: &Session| session.destroy().unwrap())
        .await;
}

#[tokio::test]
async fn a_slower_request_takes_no_ended_session_along_to_a_new_id() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    put(&mut browser, "user").await;
    let mut slow = browser.clone();
    slow.request(async |session| {
        session.load().await.unwrap().regenerate().unwrap();
        destroy(&mut browser).await;
    })
    .await;
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
    assert_eq!(slow.visit(async |session| object(session)).await, json!({}));
}

#[tokio::test]
async fn two_requests_that_change_the_id_at_once_leave_one_session() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    put(&mut browser, "user").await;
    let mut slow = browser.clone();
    let answer = slow
        .request(async |session| {
            session.load().await.unwrap().regenerate().unwrap();
            browser
                .visit(async |session| session.regenerate().unwrap())
                .await;
        })
        .await;
    assert_eq!(slow.visit(async |session| object(session)).await, json!({}));
    browser.jar.take_from(&answer.headers);
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"user": 1}));
}

#[tokio::test]
async fn a_slower_write_does_not_log_out_who_has_just_signed_in() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    put(&mut browser, "cart").await;
    let mut slow = browser.clone();
    let answer = slow
        .request(async |session| {
            session.load().await.unwrap().put("late", 1).unwrap();
            let sign_in = browser.visit(async |session| {
                session.regenerate().unwrap();
                session.put("user", 1).unwrap();
            });
            sign_in.await;
        })
        .await;
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
    browser.jar.take_from(&answer.headers);
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"cart": 1, "user": 1}));
}

#[tokio::test]
async fn a_new_session_begins_after_a_revoked_one() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    put(&mut browser, "user").await;
    let mut copy = browser.clone();
    destroy(&mut browser).await;
    put(&mut copy, "cart").await;
    let all = copy.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"cart": 1}));
}

#[tokio::test]
async fn a_revoked_cookie_is_not_sealed_again_by_the_first_key() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    put(&mut browser, "user").await;
    let copy = browser.clone();
    destroy(&mut browser).await;
    let rotated = config().app_key(OTHER).previous_key(crate::support::KEY);
    let next = cookie_server_with(rotated, |store, _| {
        store.with_revocation(server.server_side.clone())
    });
    for rotates in [false, true] {
        let mut copy = match rotates {
            false => copy.clone(),
            true => copy.clone().with_sessions(&next.sessions),
        };
        put(&mut copy, "cart").await;
        assert_eq!(
            copy.visit(async |session| object(session)).await,
            json!({"cart": 1})
        );
    }
    for mut copy in [copy.clone(), copy.with_sessions(&next.sessions)] {
        copy.visit(async |session| assert!(session.is_fresh()))
            .await;
        let sealed = copy.jar.get("session-data").map(str::to_owned);
        copy.visit(async |session| assert!(session.is_fresh()))
            .await;
        assert_eq!(copy.jar.get("session-data"), sealed.as_deref());
    }
}

#[tokio::test]
async fn a_commit_before_a_dropped_write_reaches_the_browser() {
    let config = config().on_too_large(OnTooLarge::DropWrite);
    let server = cookie_server_with(config, |store, backing| store.with_revocation(backing));
    let mut browser = server.browser();
    for round in 0..2 {
        browser
            .visit(async |session| {
                session.regenerate().unwrap();
                session.put("round", round).unwrap();
                session.commit().await.unwrap();
                session.put("cart", text(5000)).unwrap();
            })
            .await;
        let all = browser.visit(async |session| object(session)).await;
        assert_eq!(all, json!({"round": round}));
    }
    assert_eq!(server.events.with_name("write_dropped").len(), 2);
}
