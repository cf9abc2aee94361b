//! What overlapping requests must not do to each other.

use std::time::Duration;

use hyper_session::Session;
use serde_json::{Value, json};

use crate::support::{Browser, TestServer, config, object, test_server};

fn told(session: &Session) -> Value {
    session.flash_messages().unwrap().all().unwrap()
}

async fn visitor(server: &TestServer, data: Value) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.merge(&data)).await.unwrap();
    browser
}

/// Two forms sent at the same time, each answered by the same words: both redirects lead to a page,
/// and the second message must not be taken for the first, which was read meanwhile.
#[tokio::test]
async fn a_message_of_the_same_words_as_one_just_read_is_not_lost() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .visit(async |s| s.flash("notice", "Saved"))
        .await
        .unwrap();
    let mut other = browser.clone();
    browser
        .visit(async |reader| {
            assert_eq!(told(reader), json!({"notice": "Saved"}));
            other
                .visit(async |s| s.flash("notice", "Saved"))
                .await
                .unwrap();
            reader.put("page", &1).unwrap();
        })
        .await;
    assert_eq!(
        browser.visit(async |s| told(s)).await,
        json!({"notice": "Saved"})
    );
    assert_eq!(browser.visit(async |s| told(s)).await, json!({}));
}

#[tokio::test]
async fn a_clear_takes_old_keys_inside_an_object_that_a_parallel_request_wrote_to() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"user": {"id": 7, "cart": [1]}})).await;
    let mut other = browser.clone();
    browser
        .visit(async |s| {
            other
                .visit(async |s| s.put("user.seen", &true))
                .await
                .unwrap();
            s.clear().unwrap();
        })
        .await;
    let left = browser.visit(async |s| object(s)).await;
    assert_eq!(left, json!({"user": {"seen": true}}));
}

/// The visitor signs in while a slow picture of the same page is still on its way.
#[tokio::test]
async fn a_slow_request_that_left_its_session_alone_does_not_sign_the_visitor_out() {
    for seconds in [0, 61] {
        let server = test_server(config());
        let mut browser = visitor(&server, json!({"n": 1})).await;
        let mut slow = browser.clone();
        let visit = slow
            .request(async |_| {
                server.advance(Duration::from_secs(seconds));
                browser.visit(async |s| s.regenerate()).await.unwrap();
            })
            .await;
        browser.jar.take_from(&visit.headers);
        let n: Option<i32> = browser.visit(async |s| s.get("n")).await.unwrap();
        assert_eq!(n, Some(1), "after {seconds} s");
    }
}

/// The move is done when the tag fails: the answer is a 503, and it does not tell the new id.
#[tokio::test]
async fn a_sign_in_whose_tag_fails_leaves_the_visitor_a_session() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    server.store.fail(crate::support::Call::Tag);
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap().regenerate().unwrap();
            s.tag("ada").unwrap();
        })
        .await;
    assert_eq!(visit.status, 503);
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 1}));
}
