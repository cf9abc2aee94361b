//! Rare cases: sessions that are disabled, not loaded, or not renewed.

use std::time::Duration;

use crate::support::{Call, config, test_server};

#[tokio::test]
async fn with_sessions_off_a_request_that_opens_none_is_answered_as_ever() {
    let server = test_server(config().enabled(false));
    let visit = server.browser().request(async |_| {}).await;
    assert_eq!(visit.status, 200);
    assert_eq!(visit.cookies().len(), 0);
}

#[tokio::test]
async fn an_id_asked_for_before_the_load_is_the_sessions_id() {
    let server = test_server(config());
    for _ in 0..2 {
        let mut browser = server.browser();
        browser
            .request(async |s| {
                let before = s.id().unwrap();
                s.load().await.unwrap();
                assert!(s.id().unwrap() == before);
            })
            .await;
    }
}

#[tokio::test]
async fn a_renewal_that_failed_is_not_promised_to_the_browser() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.advance(Duration::from_secs(600));
    server.store.fail(Call::Read);
    let visit = browser.request(async |_| {}).await;
    assert_eq!(visit.status, 200);
    assert_eq!(visit.cookies().len(), 0);
    assert_eq!(server.events.with_name("store_failed").len(), 1);
}
