//! The intended URL is a path on this origin.

use hyper_session::SessionError;
use serde_json::json;

use super::merging::merged;
use crate::support::{Call, config, object, test_server};

#[tokio::test]
async fn an_intended_path_is_remembered_until_it_is_pulled() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.set_intended_url("/account?tab=2#top"))
        .await
        .unwrap();
    let expected = Some("/account?tab=2#top".to_owned());
    let got = browser.visit(async |s| s.intended_url()).await.unwrap();
    assert_eq!(got, expected);
    let pulled = browser
        .visit(async |s| s.pull_intended_url())
        .await
        .unwrap();
    assert_eq!(pulled, expected);
    let left = browser.visit(async |s| s.intended_url()).await.unwrap();
    assert_eq!(left, None);
}

#[tokio::test]
async fn clear_forgets_it() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.set_intended_url("/a")?;
            s.clear_intended_url()
        })
        .await
        .unwrap();
    let left = browser.visit(async |s| s.intended_url()).await.unwrap();
    assert_eq!(left, None);
}

const ATTACKS: [&str; 24] = [
    "",
    " ",
    "relative",
    "./relative",
    "?query",
    "#fragment",
    "https://evil.example/",
    "HTTPS:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    " //evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n/evil.example",
    "\t//evil.example",
    "/a\r\nSet-Cookie: x=1",
    "/\u{0}/evil.example",
    "/a\\..\\\\evil.example",
    "/\u{7f}",
];

#[tokio::test]
async fn a_url_of_another_origin_is_refused() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.set_intended_url("/mine").unwrap();
            for url in ATTACKS {
                let set = s.set_intended_url(url);
                assert!(matches!(set, Err(SessionError::ForeignUrl)), "{url:?}");
            }
            let left = s.intended_url().unwrap();
            assert_eq!(left.as_deref(), Some("/mine"), "a refusal changes nothing");
        })
        .await;
}

#[tokio::test]
async fn paths_of_this_origin_are_taken() {
    let mut browser = test_server(config()).browser();
    let paths = [
        "/",
        "/a/b?c=1",
        "/a//b",
        "/é",
        "/a?next=//x",
        "/a?b=\\c",
        "/..",
        "/:80",
    ];
    browser
        .visit(async |s| {
            for path in paths {
                s.set_intended_url(path).unwrap();
                assert_eq!(s.intended_url().unwrap().as_deref(), Some(path));
            }
        })
        .await;
}

#[tokio::test]
async fn a_foreign_value_under_the_key_is_not_returned() {
    let mut browser = test_server(config()).browser();
    let planted = [
        json!("//evil.example"),
        json!(7),
        json!({"a": 1}),
        json!(null),
    ];
    for value in planted {
        browser
            .visit(async |s| s.put("redirect.intendedUrl", &value))
            .await
            .unwrap();
        browser
            .visit(async |s| {
                assert_eq!(s.intended_url().unwrap(), None, "{value}");
                assert_eq!(s.pull_intended_url().unwrap(), None, "{value}");
                assert_eq!(object(s), json!({"redirect": {}}));
            })
            .await;
    }
}

#[tokio::test]
async fn a_pull_without_one_writes_nothing() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.store.calls();
    let pulled = browser.visit(async |s| s.pull_intended_url()).await;
    assert_eq!(pulled.unwrap(), None);
    assert_eq!(server.store.calls(), [Call::Read]);
}

/// A request that pulls the intended URL before another request sets it does not remove it.
#[tokio::test]
async fn a_pull_without_one_keeps_the_url_of_a_parallel_request() {
    let after = merged(
        json!({"n": 0}),
        async |s| {
            assert_eq!(s.pull_intended_url().unwrap(), None);
            s.put("user", 7).unwrap();
        },
        async |s| s.set_intended_url("/account").unwrap(),
    )
    .await;
    let expected = json!({"n": 0, "user": 7, "redirect": {"intendedUrl": "/account"}});
    assert_eq!(after, expected);
}
