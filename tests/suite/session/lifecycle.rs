//! The life cycle of a session: its id, its cookie, its end.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper_session::{
    Session, SessionConfig, SessionError, patch::ChangeLimits, session::ReadOnlyReason,
};
use serde_json::json;

use crate::support::{Call, config, data, object, test_server};

const HOUR: Duration = Duration::from_secs(3600);

fn status(code: u16) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

#[tokio::test]
async fn the_first_response_brings_an_id_even_if_the_session_was_not_touched() {
    let server = test_server(config());
    let visit = server.browser().pass().await;
    let cookie = visit.cookie();
    assert!(cookie.starts_with("session="), "{cookie}");
    assert!(
        cookie.ends_with("; Max-Age=7200; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    assert_eq!(server.store.calls(), [], "no store is asked for it");
}

#[tokio::test]
async fn every_later_response_renews_the_cookies_age() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.put("a", 1)).await.unwrap();
    for _ in 0..3 {
        server.advance(Duration::from_secs(3600));
        let visit = browser.pass().await;
        assert!(visit.cookie().contains("; Max-Age=7200;"));
    }
    let a: Option<i32> = browser.visit(async |s| s.get("a")).await.unwrap();
    assert_eq!(a, Some(1), "renewed requests kept the session alive");
}

#[tokio::test]
async fn errors_and_redirects_carry_the_cookie_and_keep_the_changes_too() {
    let mut browser = test_server(config()).browser();
    for code in [302, 404, 422, 500, 503] {
        let visit = browser
            .request_with(status(code), async |s| {
                s.load().await.unwrap().increment("n").unwrap();
            })
            .await;
        assert_eq!(visit.status.as_u16(), code);
        assert!(visit.cookie().contains("Max-Age=7200"), "{code}");
    }
    let n: Option<i32> = browser.visit(async |s| s.get("n")).await.unwrap();
    assert_eq!(n, Some(5));
}

#[tokio::test]
async fn the_id_stays_the_same_while_the_session_lives() {
    let mut browser = test_server(config()).browser();
    browser.pass().await;
    let first = browser.visit(async |s| s.id()).await.unwrap();
    let empty = browser.visit(async |s| s.id()).await.unwrap();
    browser.visit(async |s| s.put("a", 1)).await.unwrap();
    browser.visit(async |s| s.clear()).await.unwrap();
    let last = browser.visit(async |s| s.id()).await.unwrap();
    assert!(first == empty && empty == last);
}

#[tokio::test]
async fn a_session_is_fresh_in_the_request_that_gets_the_id() {
    let mut browser = test_server(config()).browser();
    assert!(browser.visit(async |s| s.is_fresh()).await);
    assert!(!browser.visit(async |s| s.is_fresh()).await);
    browser
        .visit(async |s| {
            s.regenerate().unwrap();
            assert!(!s.is_fresh(), "the visitor is not new");
        })
        .await;
}

#[tokio::test]
async fn nothing_is_stored_for_a_session_that_holds_nothing() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.has("a")).await.unwrap();
    browser
        .visit(async |s| {
            s.put("a", 1)?;
            s.forget("a")
        })
        .await
        .unwrap();
    assert_eq!(server.memory.stats().records, 0);
}

#[tokio::test]
async fn nothing_is_written_where_nothing_changed() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.put("a", 1)).await.unwrap();
    server.store.calls();
    browser.visit(async |s| s.get::<i32>("a")).await.unwrap();
    assert_eq!(server.store.calls(), [Call::Read]);
}

#[tokio::test]
async fn the_properties_of_a_request_are_reported() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            assert!(s.is_loaded() && s.is_empty().unwrap());
            assert!(!s.is_modified() && !s.has_regenerated() && !s.is_read_only());
            s.put("a", 1).unwrap();
            assert!(s.is_modified() && !s.is_empty().unwrap());
            s.commit().await.unwrap();
            assert!(!s.is_modified());
            s.regenerate().unwrap();
            assert!(s.has_regenerated());
        })
        .await;
}

#[tokio::test]
async fn regenerate_gives_a_new_id_and_keeps_the_data() {
    let server = test_server(config());
    let mut browser = server.browser();
    let before = browser
        .visit(async |s| {
            s.put("cart", 3).unwrap();
            s.flash("m", 1).unwrap();
            s.id().unwrap()
        })
        .await;
    let mut thief = browser.clone();
    let during = browser
        .visit(async |s| {
            s.regenerate().unwrap();
            s.reflash().unwrap();
            s.id().unwrap()
        })
        .await;
    browser
        .visit(async |s| {
            assert!(s.id().unwrap() == during && during != before);
            assert_eq!(object(s), json!({"cart": 3}));
            assert!(s.flash_messages().unwrap().has("m").unwrap());
        })
        .await;
    thief
        .visit(async |s| {
            assert!(s.is_empty().unwrap(), "the old id opens nothing");
            assert!(s.id().unwrap() != before && s.is_fresh());
        })
        .await;
}

#[tokio::test]
async fn regenerating_twice_in_one_request_leaves_one_session() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.put("a", 1)).await.unwrap();
    browser
        .visit(async |s| {
            s.regenerate().unwrap();
            s.regenerate().unwrap();
            s.commit().await.unwrap();
            s.regenerate().unwrap();
        })
        .await;
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"a": 1}));
    server.advance(Duration::from_secs(61));
    server.memory.sweep();
    assert_eq!(server.memory.stats().records, 1, "the fences have expired");
}

#[tokio::test]
async fn destroy_ends_the_session_and_removes_the_cookie() {
    let server = test_server(config());
    let mut browser = server.browser();
    let old = browser
        .visit(async |s| {
            s.put("user", "ada").unwrap();
            s.id().unwrap()
        })
        .await;
    let mut thief = browser.clone();
    let visit = browser
        .request(async |s| s.load().await.unwrap().destroy().unwrap())
        .await;
    let removal = "session=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; HttpOnly; SameSite=Lax";
    assert_eq!(visit.cookie(), removal);
    assert_eq!(browser.cookie(), None);
    assert_eq!(server.memory.stats().records, 0);
    thief
        .visit(async |s| {
            assert!(s.is_empty().unwrap());
            assert!(s.id().unwrap() != old);
        })
        .await;
}

#[tokio::test]
async fn destroy_needs_no_load() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.put("user", "ada")).await.unwrap();
    server.store.calls();
    let visit = browser.request(async |s| s.destroy().unwrap()).await;
    assert!(visit.cookie().contains("Max-Age=0"));
    assert_eq!(
        server.store.calls(),
        [Call::Read, Call::Write, Call::Destroy]
    );
}

#[tokio::test]
async fn a_put_after_destroy_begins_a_new_session() {
    let server = test_server(config());
    let mut browser = server.browser();
    let old = browser
        .visit(async |s| {
            s.put("user", "ada").unwrap();
            s.tag("ada").unwrap();
            s.id().unwrap()
        })
        .await;
    browser
        .visit(async |s| {
            s.destroy().unwrap();
            s.put("note", "bye").unwrap();
        })
        .await;
    browser
        .visit(async |s| {
            assert_eq!(object(s), json!({"note": "bye"}));
            assert!(s.id().unwrap() != old);
        })
        .await;
    let tagged = server.sessions.collection().tagged("ada").await.unwrap();
    assert_eq!(tagged, [], "the new session has no tag");
}

#[tokio::test]
async fn destroy_twice_or_around_a_regenerate_ends_the_session() {
    for order in 0..4 {
        let server = test_server(config());
        let mut browser = server.browser();
        browser.visit(async |s| s.put("a", 1)).await.unwrap();
        browser
            .visit(async |s| {
                if order == 0 || order == 1 {
                    s.regenerate().unwrap();
                }
                if order == 1 {
                    s.commit().await.unwrap();
                }
                s.destroy().unwrap();
                if order == 2 {
                    s.put("b", 1).unwrap();
                    s.commit().await.unwrap();
                }
                s.destroy().unwrap();
            })
            .await;
        server.advance(Duration::from_secs(61));
        server.memory.sweep();
        assert_eq!(server.memory.stats().records, 0, "case {order}");
        assert_eq!(browser.cookie(), None, "case {order}");
    }
}

#[tokio::test]
async fn an_emptied_session_is_not_a_destroyed_one() {
    let mut browser = test_server(config()).browser();
    let before = browser
        .visit(async |s| {
            s.put("a", 1).unwrap();
            s.id().unwrap()
        })
        .await;
    browser.visit(async |s| s.forget("a")).await.unwrap();
    let after = browser.visit(async |s| s.id()).await.unwrap();
    assert!(before == after);
}

#[tokio::test]
async fn a_cookie_that_clears_with_the_browser_has_no_age() {
    let mut browser = test_server(config().clear_with_browser(true)).browser();
    let visit = browser.pass().await;
    assert!(visit.cookie().ends_with("; Path=/; HttpOnly; SameSite=Lax"));
    assert!(!visit.cookie().contains("Max-Age") && !visit.cookie().contains("Expires"));
    let gone = browser.request(async |s| s.destroy().unwrap()).await;
    assert!(gone.cookie().contains("Max-Age=0"), "a removal has one");
}

#[tokio::test]
async fn disabled_sessions_are_empty_read_only_and_silent() {
    let server = test_server(config().enabled(false));
    let visit = server
        .browser()
        .request(async |s| {
            s.load().await.unwrap();
            assert!(s.is_read_only() && s.is_empty().unwrap());
            assert_eq!(s.get_or("a", 7).unwrap(), 7);
            for refused in [s.put("a", 1), s.destroy()] {
                let error = refused.unwrap_err();
                let disabled = SessionError::ReadOnly(ReadOnlyReason::Disabled);
                assert_eq!(error.to_string(), disabled.to_string());
                assert!(error.to_string().contains("setting `enabled`"));
            }
        })
        .await;
    assert!(visit.has_no_headers(), "{:?}", visit.headers);
    assert_eq!(server.store.calls(), []);
}

#[tokio::test]
async fn a_read_only_session_reads_and_refuses_every_change() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.put("a", 1)).await.unwrap();
    server.store.calls();
    browser
        .request(async |s| {
            s.load_read_only().await.unwrap();
            assert!(s.is_read_only());
            assert_eq!(s.get("a").unwrap(), Some(1));
            let refused = |error: SessionError| {
                let reason = SessionError::ReadOnly(ReadOnlyReason::LoadedReadOnly);
                error.to_string() == reason.to_string() && error.is_not_mutable()
            };
            assert!(s.put("a", 2).is_err_and(refused));
            assert!(s.forget("a").is_err_and(refused));
            assert!(s.increment("a").is_err_and(refused));
            assert!(s.flash("a", 2).is_err_and(refused));
            assert!(s.regenerate().is_err_and(refused));
            assert!(s.destroy().is_err_and(refused));
            assert!(s.tag("ada").is_err_and(refused));
        })
        .await;
    assert_eq!(server.store.calls(), [Call::Read]);
}

#[tokio::test]
async fn a_load_after_a_read_only_load_makes_the_session_writable_without_a_second_read() {
    let server = test_server(config());
    let mut browser = server.browser();
    let save = async |s: &Session| s.put("a", 1).and_then(|()| s.flash("m", 1));
    browser.visit(save).await.unwrap();
    for is_visible in [false, true] {
        let method = if is_visible { "GET" } else { "HEAD" };
        let request = Request::builder().method(method).body(()).unwrap();
        server.store.calls();
        let handler = async |s: Session| {
            s.load_read_only().await.unwrap();
            s.load().await.unwrap();
            assert!(!s.is_read_only());
            assert!(s.flash_messages().unwrap().has("m").unwrap());
            s.increment("a").unwrap();
        };
        let response = Response::new(Empty::new());
        browser.send(request, response, handler).await;
        assert_eq!(server.store.calls(), [Call::Read, Call::Write], "{method}");
    }
    let end = async |s: &Session| {
        assert!(
            !s.flash_messages().unwrap().has("m").unwrap(),
            "taken by the GET"
        );
        s.get::<u8>("a")
    };
    assert_eq!(browser.visit(end).await.unwrap(), Some(3));
}

#[tokio::test]
async fn of_two_loads_at_once_the_one_for_writing_counts() {
    for reads_first in [false, true] {
        let server = test_server(config());
        let mut browser = server.browser();
        browser.visit(async |s| s.put("a", 1)).await.unwrap();
        let (first, second) = (server.store.hold(Call::Read), server.store.hold(Call::Read));
        let handler = async |s: Session| {
            let open = async {
                first.reached().await;
                second.reached().await;
                first.open();
                second.open();
            };
            let (read, write) = match reads_first {
                true => {
                    let (read, write, ()) = tokio::join!(s.load_read_only(), s.load(), open);
                    (read.map(drop), write.map(drop))
                }
                false => {
                    let (write, read, ()) = tokio::join!(s.load(), s.load_read_only(), open);
                    (read.map(drop), write.map(drop))
                }
            };
            read.and(write).unwrap();
            s.increment("a").unwrap();
        };
        let visit = browser.request(handler).await;
        assert_eq!(visit.status, 200);
        let stored = browser.visit(async |s| s.get::<u8>("a")).await;
        assert_eq!(stored.unwrap(), Some(2), "{reads_first}");
    }
}

#[tokio::test]
async fn a_visitor_is_never_longer_known_than_a_default_age_of_two_hours() {
    assert_eq!(SessionConfig::default().age.to_string(), "2h");
}

/// Nothing was loaded, so all of this is set by `destroy`.
#[tokio::test]
async fn a_session_after_a_destroy_without_a_load_is_like_any_other() {
    let limits = ChangeLimits::default().operations(2);
    let config = config().limits(limits).absolute_timeout(HOUR);
    let server = test_server(config);
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.advance(HOUR - Duration::from_secs(1));
    let visit = browser.request(async |s| {
        s.destroy().unwrap();
        assert!(s.is_fresh());
        s.put("a", 1).unwrap();
        s.put("b", 1).unwrap();
        assert!(s.put("c", 1).is_err(), "the limits of the configuration");
    });
    assert_eq!(visit.await.headers["vary"], "cookie");
    server.advance(HOUR - Duration::from_secs(1));
    let left = data(&mut browser).await;
    assert_eq!(left, json!({"a": 1, "b": 1}), "the timeout begins again");
}

#[tokio::test]
async fn a_session_is_fresh_after_a_regenerate_and_a_destroy() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    browser
        .visit(async |s| {
            s.regenerate().unwrap();
            assert!(!s.is_fresh());
            s.destroy().unwrap();
            assert!(s.is_fresh());
        })
        .await;
}
