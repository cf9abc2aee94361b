//! Sessions that do not fit into their cookie. They overflow to a server and return.

use std::time::Duration;

use http::StatusCode;
use hyper_session::store::{Store, Tag};
use serde_json::json;

use crate::support::{
    Call, CookieServer, GateStore, config,
    cookie_server::{cookie_server_with, text},
    object,
};

const HOUR: Duration = Duration::from_secs(3600);

fn server_with_overflow() -> CookieServer {
    cookie_server_with(config(), |store, backing| store.with_overflow(backing))
}

#[tokio::test]
async fn a_large_session_goes_to_the_server_and_a_small_one_comes_back() {
    let server = server_with_overflow();
    let mut browser = server.browser();
    for (len, kept) in [(100, 0), (9000, 1), (10_000, 1), (100, 1), (9000, 1)] {
        browser
            .visit(async |session| session.put("cart", text(len)).unwrap())
            .await;
        assert_eq!(browser.jar.names(), ["session", "session-data"]);
        let sealed = browser.jar.get("session-data").unwrap().len();
        assert!(
            if len > 4000 {
                sealed < 200
            } else {
                sealed > 200
            },
            "{sealed}"
        );
        let all = browser.visit(async |session| object(session)).await;
        assert_eq!(all, json!({"cart": text(len)}));
        // A session that returns to its cookie leaves its old record to expire. A late response
        // may still refer to it.
        assert_eq!(server.server_side.count().await.unwrap(), Some(kept));
    }
}

#[tokio::test]
async fn a_record_at_the_server_lives_as_long_as_its_cookie() {
    let server = server_with_overflow();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", text(9000)).unwrap())
        .await;
    for round in 0..6 {
        server.advance(HOUR);
        if round % 2 == 0 {
            browser.pass().await;
        } else {
            browser
                .visit(async |session| assert!(session.has("cart").unwrap()))
                .await;
        }
    }
    server.advance(3 * HOUR);
    let fresh = browser.visit(async |session| session.is_fresh()).await;
    assert!(fresh);
}

#[tokio::test]
async fn logging_out_ends_the_record_at_the_server_too() {
    let server = server_with_overflow();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", text(9000)).unwrap())
        .await;
    let copy = browser.clone();
    browser
        .visit(async |session| session.destroy().unwrap())
        .await;
    assert!(browser.jar.names().is_empty());
    let mut thief = copy;
    let empty = thief
        .visit(async |session| session.is_empty().unwrap())
        .await;
    assert!(empty);
}

#[tokio::test]
async fn a_slower_request_brings_no_large_session_back() {
    let server = server_with_overflow();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", text(9000)).unwrap())
        .await;
    let mut slow = browser.clone();
    let mut late = slow.clone();
    slow.request(async |session| {
        session.load().await.unwrap();
        session.put("late", 1).unwrap();
        browser
            .visit(async |session| session.destroy().unwrap())
            .await;
    })
    .await;
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
    let all = slow.visit(async |session| object(session)).await;
    assert_eq!(all, json!({}), "this response does not mention the session");
    assert!(
        late.visit(async |session| session.is_empty().unwrap())
            .await
    );
}

#[tokio::test]
async fn a_new_id_takes_a_large_session_along() {
    let server = server_with_overflow();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", text(9000)).unwrap())
        .await;
    browser
        .visit(async |session| session.regenerate().unwrap())
        .await;
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"cart": text(9000)}));
    assert_eq!(server.server_side.count().await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_tag_that_does_not_fit_moves_the_session_to_the_server() {
    let server = server_with_overflow();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", text(2880)).unwrap())
        .await;
    browser
        .visit(async |session| {
            for owner in 0..8 {
                session.tag(&format!("owner {owner}")).unwrap();
            }
        })
        .await;
    assert!(browser.jar.get("session-data").unwrap().len() < 500);
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"cart": text(2880)}));
    // The cookie has the tags. The index of the other store does not list its record as a session.
    let (index, tag) = (server.server_side.tags().unwrap(), Tag::new("owner 1"));
    assert_eq!(index.tagged(&tag.unwrap()).await.unwrap(), []);
}

#[tokio::test]
async fn an_answer_that_comes_late_still_finds_what_it_points_to() {
    let server = server_with_overflow();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", text(9000)).unwrap())
        .await;
    let mut other = browser.clone();
    other
        .visit(async |session| session.put("more", 1).unwrap())
        .await;
    browser
        .visit(async |session| session.put("cart", "small").unwrap())
        .await;
    // The response to the other request arrives last.
    browser.jar = other.jar;
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"cart": text(9000), "more": 1}));
}

#[tokio::test]
async fn a_server_that_fails_costs_the_response_and_no_cookie() {
    let mut gate = None;
    let server = cookie_server_with(config(), |store, backing| {
        let backing = GateStore::new(backing);
        gate = Some(backing.clone());
        store.with_overflow(backing)
    });
    let gate = gate.unwrap();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", text(9000)).unwrap())
        .await;
    let before = browser.jar.clone();
    for call in [Call::Write, Call::Read, Call::Destroy] {
        gate.fail(call);
        let visit = browser
            .request(async |session| {
                if session.load().await.is_ok() {
                    match call {
                        Call::Destroy => session.destroy().unwrap(),
                        _ => session.put("cart", text(9500)).unwrap(),
                    }
                }
            })
            .await;
        assert_eq!(visit.status, StatusCode::SERVICE_UNAVAILABLE, "{call:?}");
        assert!(visit.cookies().is_empty());
    }
    assert_eq!(before.names(), browser.jar.names());
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"cart": text(9000)}));
}
