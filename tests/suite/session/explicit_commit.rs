//! What an explicit commit stored is told to the browser, whatever becomes of the rest of the request.

use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::Empty;
use hyper_session::{
    Session,
    session::{CookiePolicy, OnTooLarge},
};
use serde_json::{Value, json};

use crate::support::{
    Browser, Call, TestServer, config,
    cookie_server::{CookieServer, cookie_server_with, text},
    object, test_server,
};

async fn visitor(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", &1)).await.unwrap();
    server.events.clear();
    browser
}

/// Signs in, and stores that at once.
async fn sign_in(session: &Session) {
    session.load().await.unwrap().regenerate().unwrap();
    session.put("user", "ada").unwrap();
    session.commit().await.unwrap();
}

async fn data(browser: &mut Browser) -> Value {
    browser.visit(async |s| object(s)).await
}

fn signed_in() -> Value {
    json!({"n": 1, "user": "ada"})
}

#[tokio::test]
async fn a_handler_that_answers_with_a_failure_tells_it() {
    for status in [500, 503] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let mut response = Response::new(Empty::new());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let visit = browser
            .request_with(response, async |s| sign_in(&s).await)
            .await;
        assert_eq!(visit.status, status);
        assert_eq!(data(&mut browser).await, signed_in());
    }
}

#[tokio::test]
async fn a_last_commit_that_fails_tells_it() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        let server = test_server(config().cookie_policy(policy));
        let mut browser = visitor(&server).await;
        let visit = browser
            .request(async |s| {
                sign_in(&s).await;
                server.store.fail(Call::Write);
                s.increment("n").unwrap();
            })
            .await;
        assert_eq!(visit.status, 503, "what came later is not acknowledged");
        assert_eq!(visit.headers["cache-control"], "no-store");
        assert_eq!(visit.headers["vary"], "cookie");
        assert_eq!(data(&mut browser).await, signed_in(), "{policy:?}");
    }
}

#[tokio::test]
async fn a_first_session_is_told_as_well() {
    let server = test_server(config());
    let mut browser = server.browser();
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap().put("n", &1).unwrap();
            s.commit().await.unwrap();
            server.store.fail(Call::Write);
            s.increment("n").unwrap();
        })
        .await;
    assert_eq!(visit.status, 503);
    assert_eq!(data(&mut browser).await, json!({"n": 1}));
}

#[tokio::test]
async fn a_second_explicit_commit_that_fails_or_is_given_up_leaves_the_first_one_told() {
    for given_up in [false, true] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let visit = browser
            .request(async |s| {
                sign_in(&s).await;
                s.increment("n").unwrap();
                if given_up {
                    let gate = server.store.hold(Call::Write);
                    tokio::select! {
                        _ = s.commit() => panic!("it is held up"),
                        () = gate.reached() => {}
                    }
                } else {
                    server.store.fail(Call::Write);
                    assert!(s.commit().await.is_err());
                }
            })
            .await;
        assert_eq!(visit.status, 503);
        assert_eq!(data(&mut browser).await, signed_in(), "{given_up}");
    }
}

/// The old id is dead by then; what is left are tags that came late.
#[tokio::test]
async fn a_commit_that_was_given_up_after_the_move_tells_the_new_id() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let gate = server.store.hold(Call::MoveTags);
    let visit = browser
        .request(async |s| {
            tokio::select! {
                () = sign_in(&s) => panic!("it is held up"),
                () = gate.reached() => {}
            }
        })
        .await;
    assert_eq!(visit.status, 503);
    assert_eq!(data(&mut browser).await, signed_in());
}

/// The steps of a move that can fail before the old id dies.
const STEPS: [(Call, usize); 3] = [(Call::Write, 0), (Call::CopyTags, 0), (Call::Write, 1)];

#[tokio::test]
async fn a_second_move_that_fails_leaves_the_first_one_told() {
    for (call, nth) in STEPS {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let visit = browser
            .request(async |s| {
                sign_in(&s).await;
                server.store.fail_nth(call, nth);
                s.regenerate().unwrap();
                s.increment("n").unwrap();
            })
            .await;
        assert_eq!(visit.status, 503);
        assert_eq!(data(&mut browser).await, signed_in(), "{call:?} {nth}");
    }
}

#[tokio::test]
async fn an_end_is_told_although_what_should_begin_then_cannot_be_stored() {
    for explicit in [false, true] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let visit = browser
            .request(async |s| {
                sign_in(&s).await;
                s.destroy().unwrap();
                if explicit {
                    s.commit().await.unwrap();
                }
                server.store.fail(Call::Write);
                s.flash("notice", "You are signed out.").unwrap();
            })
            .await;
        assert_eq!(visit.status, 503);
        assert!(visit.cookie().contains("Max-Age=0"), "{explicit}");
        assert_eq!(browser.cookie(), None);
    }
}

#[tokio::test]
async fn an_end_that_fails_leaves_the_session_told_that_was_to_end() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    server.store.fail(Call::Destroy);
    let visit = browser
        .request(async |s| {
            sign_in(&s).await;
            s.destroy().unwrap();
        })
        .await;
    assert_eq!(visit.status, 503);
    assert_eq!(data(&mut browser).await, signed_in(), "and can try again");
    browser.visit(async |s| s.destroy()).await.unwrap();
    server.advance(Duration::from_secs(61));
    server.memory.sweep();
    assert_eq!(server.memory.stats().records, 0);
}

#[tokio::test]
async fn a_session_that_another_request_ended_meanwhile_is_told_to_be_over() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let visit = browser
        .request(async |s| {
            sign_in(&s).await;
            let all = server.sessions.collection();
            all.destroy(&s.store_key().unwrap()).await.unwrap();
            s.increment("n").unwrap();
        })
        .await;
    assert_eq!(visit.status, 200);
    assert!(visit.cookie().contains("Max-Age=0"));
}

/// Nothing of the next request on this thread may come from the one that failed.
#[tokio::test]
async fn what_was_told_once_is_not_told_to_the_next_visitor() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let mut stranger = server.browser();
    let failing = async |s: Session| {
        sign_in(&s).await;
        server.store.fail(Call::Write);
        s.increment("n").unwrap();
    };
    assert_eq!(browser.request(failing).await.status, 503);
    server.store.fail(Call::Write);
    let visit = stranger
        .request(async |s| drop(s.load().await.unwrap().put("n", &2)))
        .await;
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 0));
}

fn in_cookies(policy: OnTooLarge) -> CookieServer {
    cookie_server_with(config().on_too_large(policy), |store, _| store)
}

/// What is too large for a cookie: data, data under another id, tags beside data that just fits.
#[derive(Clone, Copy, Debug)]
enum TooMuch {
    Data,
    Moved,
    Tags,
    MovedTags,
}

impl TooMuch {
    const ALL: [Self; 4] = [Self::Data, Self::Moved, Self::Tags, Self::MovedTags];

    fn put(self, session: &Session) {
        if matches!(self, Self::Moved | Self::MovedTags) {
            session.regenerate().unwrap();
        }
        if matches!(self, Self::Data | Self::Moved) {
            return session.put("cart", &text(5000)).unwrap();
        }
        session.put("cart", &text(2800)).unwrap();
        for owner in 0..16 {
            session.tag(&format!("owner {owner}")).unwrap();
        }
    }
}

#[tokio::test]
async fn a_session_in_cookies_keeps_what_was_stored_before_it_became_too_large() {
    for (policy, status) in [(OnTooLarge::Error, 500), (OnTooLarge::DropWrite, 200)] {
        for too_much in TooMuch::ALL {
            let it = in_cookies(policy);
            let mut browser = it.browser();
            browser.visit(async |s| s.put("n", &1)).await.unwrap();
            let visit = browser
                .request(async |s| {
                    sign_in(&s).await;
                    too_much.put(&s);
                })
                .await;
            assert_eq!(visit.status, status, "{policy:?} {too_much:?}");
            let all = data(&mut browser).await;
            assert_eq!(all, signed_in(), "{policy:?} {too_much:?}");
        }
    }
}
