//! Flash messages and the data of a session have one limit, `limits.document`.

use http::StatusCode;
use hyper_session::{
    SessionConfig, SessionError, Sessions,
    document::EditError,
    patch::{ChangeError, ChangeLimits},
    store::{ReadOutcome, Store},
};
use serde_json::{Value, json};

use crate::support::{config, object, test_server};

const LIMIT: usize = 1000;

fn limited() -> SessionConfig {
    config().limits(ChangeLimits::default().document(LIMIT))
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Returns the size that was refused.
fn refused_size(result: Result<(), SessionError>) -> usize {
    match result.unwrap_err() {
        SessionError::Change(ChangeError::Edit(EditError::TooLarge { size, limit, .. })) => {
            assert_eq!(limit, LIMIT, "the error names the setting's value");
            size
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn messages_and_data_share_the_limit() {
    let mut browser = test_server(limited()).browser();
    browser
        .visit(async |s| {
            s.put("data", text(600)).unwrap();
            assert!(refused_size(s.flash("message", text(600))) > 1200);
            assert!(refused_size(s.flash_many(json!({"message": text(600)}))) > 1200);
            assert!(refused_size(s.flash_all_of(json!({"field": text(600)}))) > 1200);
            let secret = json!({"field": 1, "secret": text(600)});
            s.flash_except_of(secret, &["secret"]).unwrap();
            s.flash("message", text(200)).unwrap();
            assert!(refused_size(s.flash("other", text(200))) > LIMIT);
            assert!(refused_size(s.put("other", text(200))) > LIMIT);
            s.put("data", text(400)).unwrap();
            s.put("other", text(200)).unwrap();
        })
        .await;
    let (all, flash): (_, Value) = browser
        .visit(async |s| (object(s), s.flash_messages().unwrap().all().unwrap()))
        .await;
    assert_eq!(all, json!({"data": text(400), "other": text(200)}));
    assert_eq!(flash, json!({"field": 1, "message": text(200)}));
}

#[tokio::test]
async fn kept_messages_count_too() {
    let mut browser = test_server(limited()).browser();
    let mut refused = 0;
    for n in 0..20 {
        browser
            .visit(async |s| {
                refused += u8::from(s.reflash().is_err());
                let flashed = s.flash(format!("message {n}").as_str(), text(150));
                refused += u8::from(flashed.is_err());
            })
            .await;
    }
    assert!(refused > 0);
    browser
        .visit(async |s| {
            let all = s.flash_messages().unwrap();
            assert!(all.as_json().unwrap().len() <= LIMIT);
            s.put("data", text(LIMIT - 20)).unwrap();
            refused_size(s.reflash());
            assert!(s.reflash_only(&["absent"]).is_ok());
        })
        .await;
}

#[tokio::test]
async fn messages_of_an_explicit_commit_count_too() {
    let mut browser = test_server(limited()).browser();
    browser
        .visit(async |s| {
            s.flash("first", text(600)).unwrap();
            s.commit().await.unwrap();
            refused_size(s.flash("second", text(600)));
            refused_size(s.put("data", text(600)));
            s.put("data", text(300)).unwrap();
        })
        .await;
    assert_eq!(browser.pass().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refused_message_writes_nothing() {
    let server = test_server(limited());
    let mut browser = server.browser();
    browser
        .visit(async |s| {
            refused_size(s.flash("message", text(LIMIT)));
            assert!(!s.is_modified());
        })
        .await;
    assert!(server.events.with_name("committed").is_empty());
}

#[tokio::test]
async fn messages_of_parallel_requests_share_the_limit() {
    let mut browser = test_server(limited()).browser();
    browser.visit(async |s| s.put("data", 1)).await.unwrap();
    let mut other = browser.clone();
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap();
            s.flash("first", text(600)).unwrap();
            other.visit(async |s| s.flash("second", text(600))).await
        })
        .await;
    visit.value.unwrap().unwrap();
    assert_eq!(visit.status, StatusCode::INTERNAL_SERVER_ERROR);
    let flash: Value = browser
        .visit(async |s| s.flash_messages().unwrap().all().unwrap())
        .await;
    assert_eq!(flash, json!({"second": text(600)}));
}

#[tokio::test]
async fn two_messages_count_once() {
    let mut browser = test_server(limited()).browser();
    browser
        .visit(async |s| {
            s.flash("first", text(400)).unwrap();
            s.flash("second", text(400)).unwrap();
        })
        .await;
}

/// The stored form of a message contains the version that its write replaced.
#[tokio::test]
async fn messages_of_parallel_requests_may_reach_the_limit() {
    for excess in [0, 1] {
        let server = test_server(limited());
        let mut browser = server.browser();
        browser.visit(async |s| s.put("data", 1)).await.unwrap();
        let key = browser.visit(async |s| s.store_key()).await.unwrap();
        let version = async || match server.memory.read(&key, None).await.unwrap() {
            ReadOutcome::Found(record) => record.version.get(),
            other => panic!("{other:?}"),
        };
        let mut other = browser.clone();
        let visit = browser.request(async |s| {
            s.load().await.unwrap();
            let first = version().await;
            other
                .visit(async |s| s.flash("m", text(500)))
                .await
                .unwrap();
            let used = json!({"data": 1}).to_string().len()
                + json!({"m": [first, text(500)], "n": [version().await, ""]})
                    .to_string()
                    .len();
            s.flash("n", text(LIMIT + excess - used)).unwrap();
        });
        let expected = [StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR][excess];
        assert_eq!(visit.await.status, expected);
    }
}

/// The limit was lowered after the session had been stored.
#[tokio::test]
async fn a_merge_that_adds_no_message_may_shrink_a_session_over_the_limit() {
    let server = test_server(config());
    let mut browser = server.browser();
    let large = json!({"a": text(LIMIT), "b": text(LIMIT)});
    browser.visit(async |s| s.merge(large)).await.unwrap();
    let lowered = Sessions::builder(limited())
        .store(server.store.clone())
        .clock(server.clock.clone())
        .build();
    let mut browser = browser.with_sessions(&lowered.unwrap());
    let mut other = browser.clone();
    browser
        .visit(async |s| {
            other.visit(async |s| s.forget("c")).await.unwrap();
            s.forget("a").unwrap();
        })
        .await;
    let left = browser.visit(async |s| object(s)).await;
    assert_eq!(left, json!({"b": text(LIMIT)}));
}
