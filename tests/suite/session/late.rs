//! Requests that overlap in the ways that visitors complained of: what is told, kept and undone.

use hyper_session::Session;
use serde_json::{Value, json};

use crate::support::{Browser, TestServer, config, test_server};

fn told(session: &Session) -> Value {
    session.flash_messages().unwrap().all().unwrap()
}

async fn visitor(server: &TestServer, data: Value) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.merge(&data)).await.unwrap();
    browser
}

#[tokio::test]
async fn a_message_that_a_parallel_request_has_read_is_not_told_again() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .visit(async |s| s.flash("notice", "Saved"))
        .await
        .unwrap();
    let mut other = browser.clone();
    browser
        .visit(async |reader| {
            other.visit(async |s| told(s)).await;
            reader.put("page", &1).unwrap();
        })
        .await;
    assert_eq!(browser.visit(async |s| told(s)).await, json!({}));
}

#[tokio::test]
async fn a_tag_put_on_under_the_old_id_is_told_as_dropped() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let mut mover = browser.clone();
    browser
        .visit(async |s| {
            mover.visit(async |s| s.regenerate()).await.unwrap();
            s.tag("ada").unwrap();
        })
        .await;
    let tagged = server.sessions.collection().tagged("ada").await.unwrap();
    assert_eq!(tagged, [], "a dead id is nobody's session");
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
}

#[tokio::test]
async fn a_new_visitor_stays_new_when_the_id_is_regenerated() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.regenerate().unwrap();
            assert!(s.is_fresh());
        })
        .await;
}
