//! Sessions with a timeout of their own, beside sessions with the timeout of the configuration.

use std::time::Duration;

use hyper_session::{Session, session::CookiePolicy};

use crate::support::{Browser, Call, TestServer, config, object, test_server};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const POLICIES: [CookiePolicy; 2] = [CookiePolicy::Rolling, CookiePolicy::WhenUsed];

/// Returns a browser with a session of 2 hours, the default, and one with a session of 30 days.
async fn short_and_long(server: &TestServer) -> (Browser, Browser) {
    (
        sign_in(server, None).await,
        sign_in(server, Some(30 * DAY)).await,
    )
}

async fn sign_in(server: &TestServer, max_age: Option<Duration>) -> Browser {
    let mut browser = server.browser();
    browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            if let Some(max_age) = max_age {
                s.set_max_age(max_age).unwrap();
            }
        })
        .await;
    browser
}

async fn is_alive(browser: &mut Browser) -> bool {
    browser.visit(async |s| s.has("n")).await.unwrap()
}

/// Returns the `Max-Age` of the response to a request that reads the session.
async fn max_age(browser: &mut Browser) -> Option<u64> {
    let visit = browser
        .request(async |s| s.load().await.map(drop).unwrap())
        .await;
    let mut attributes = visit.cookie().split("; ");
    let max_age = attributes.find_map(|attribute| attribute.strip_prefix("Max-Age="));
    max_age.map(|seconds| seconds.parse().unwrap())
}

#[tokio::test]
async fn a_remembered_session_outlives_one_of_two_hours() {
    for policy in POLICIES {
        let server = test_server(config().cookie_policy(policy));
        let (mut short, mut long) = short_and_long(&server).await;
        server.advance(3 * HOUR);
        assert!(!is_alive(&mut short.clone()).await, "{policy:?}");
        assert!(is_alive(&mut long).await, "{policy:?}");
        server.advance(30 * DAY);
        assert!(
            is_alive(&mut long).await,
            "{policy:?}: the request renewed it"
        );
        server.advance(30 * DAY + MINUTE);
        assert!(!is_alive(&mut long).await, "{policy:?}");
        assert!(!is_alive(&mut short).await, "{policy:?}");
    }
}

#[tokio::test]
async fn a_shortened_session_ends_before_the_others() {
    let server = test_server(config().age(30 * DAY));
    let (mut long, mut short) = (
        sign_in(&server, None).await,
        sign_in(&server, Some(2 * HOUR)).await,
    );
    server.advance(2 * HOUR);
    assert!(is_alive(&mut short).await);
    server.advance(2 * HOUR + MINUTE);
    assert!(!is_alive(&mut short).await);
    assert!(is_alive(&mut long).await);
}

#[tokio::test]
async fn requests_that_do_not_load_renew_each_session_for_its_own_time() {
    for policy in POLICIES {
        let server = test_server(config().cookie_policy(policy));
        let (mut short, mut long) = short_and_long(&server).await;
        for _ in 0..3 {
            server.advance(2 * HOUR - SECOND);
            assert!(short.pass().await.cookie().contains("; Max-Age=7200;"));
            assert!(long.pass().await.cookie().contains("; Max-Age=2592000;"));
        }
        server.advance(2 * HOUR + MINUTE);
        assert!(!is_alive(&mut short).await, "{policy:?}: not extended");
        assert!(is_alive(&mut long).await, "{policy:?}: not shortened");
        long.pass().await;
        server.advance(30 * DAY - SECOND);
        assert!(is_alive(&mut long).await, "{policy:?}");
    }
}

/// A request with a cookie that was sealed before a change of the timeout. It touches the record for the
/// former time, and sees in the record that this is wrong.
async fn after_a_touch_by_an_old_cookie(
    server: &TestServer,
    (first, second): (Duration, Duration),
    loads: bool,
) -> Browser {
    let mut browser = sign_in(server, Some(first)).await;
    let mut old = browser.clone();
    browser
        .visit(async |s| s.set_max_age(second))
        .await
        .unwrap();
    server.advance(2 * MINUTE);
    server.store.calls();
    let visit = match loads {
        true => {
            old.request(async |s| s.load().await.map(drop).unwrap())
                .await
        }
        false => old.pass().await,
    };
    assert_eq!(
        server.store.calls(),
        [Call::Read, Call::Read],
        "the touch is repeated"
    );
    let expected = format!("; Max-Age={};", second.as_secs());
    assert!(visit.cookie().contains(&expected), "{}", visit.cookie());
    old
}

#[tokio::test]
async fn an_old_cookie_does_not_extend_a_session_that_was_shortened() {
    for loads in [false, true] {
        let server = test_server(config());
        let times = (30 * DAY, 2 * HOUR);
        let mut browser = after_a_touch_by_an_old_cookie(&server, times, loads).await;
        server.advance(2 * HOUR + 2 * MINUTE);
        assert!(!is_alive(&mut browser).await, "loads: {loads}");
    }
}

#[tokio::test]
async fn an_old_cookie_does_not_shorten_a_session_that_was_extended() {
    for loads in [false, true] {
        let server = test_server(config());
        let times = (2 * HOUR, 30 * DAY);
        let mut browser = after_a_touch_by_an_old_cookie(&server, times, loads).await;
        server.advance(30 * DAY - SECOND);
        assert!(is_alive(&mut browser).await, "loads: {loads}");
    }
}

#[tokio::test]
async fn a_first_cookie_does_not_shorten_a_session_that_was_extended() {
    for loads in [false, true] {
        let server = test_server(config());
        let mut browser = server.browser();
        browser.pass().await;
        let mut first = browser.clone();
        browser
            .visit(async |s| s.set_max_age(30 * DAY))
            .await
            .unwrap();
        server.advance(2 * MINUTE);
        match loads {
            true => first.visit(async |_| ()).await,
            false => drop(first.pass().await),
        }
        server.advance(29 * DAY);
        assert!(
            !browser.visit(async |s| s.is_fresh()).await,
            "loads: {loads}"
        );
    }
}

#[tokio::test]
async fn a_timeout_alone_is_stored() {
    let server = test_server(config());
    let mut browser = server.browser();
    let visit = browser
        .request(async |s| s.load().await.unwrap().set_max_age(30 * DAY).unwrap())
        .await;
    assert!(visit.cookie().contains("Max-Age=2592000"));
    assert_eq!(server.memory.stats().records, 1);
    server.advance(29 * DAY);
    assert_eq!(max_age(&mut browser).await, Some(2_592_000));
    // Not so for a session that holds nothing and has the timeout of the configuration.
    let mut other = server.browser();
    other.visit(async |s| s.reset_max_age()).await.unwrap();
    assert_eq!(server.memory.stats().records, 1);
}

#[tokio::test]
async fn a_browser_session_has_no_max_age_and_keeps_its_timeout() {
    for policy in POLICIES {
        let server = test_server(config().cookie_policy(policy));
        let mut browser = sign_in(&server, Some(30 * DAY)).await;
        let visit = browser
            .request(async |s| s.load().await.unwrap().set_browser_session().unwrap())
            .await;
        assert!(!visit.cookie().contains("Max-Age") && !visit.cookie().contains("Expires"));
        server.advance(29 * DAY);
        let renewed = browser.pass().await;
        assert!(!renewed.cookie().contains("Max-Age"), "{policy:?}");
        server.advance(29 * DAY);
        assert!(is_alive(&mut browser).await, "{policy:?}");
    }
}

#[tokio::test]
async fn a_session_returns_to_the_configured_lifetime() {
    let server = test_server(config());
    let mut browser = sign_in(&server, Some(30 * DAY)).await;
    browser
        .visit(async |s| s.set_browser_session())
        .await
        .unwrap();
    assert_eq!(max_age(&mut browser).await, None);
    browser.visit(async |s| s.reset_max_age()).await.unwrap();
    assert_eq!(max_age(&mut browser).await, Some(7200));
    server.advance(2 * HOUR + MINUTE);
    assert!(!is_alive(&mut browser).await);
}

#[tokio::test]
async fn remember_me_where_sessions_end_with_the_browser() {
    let server = test_server(config().clear_with_browser(true));
    let (mut short, mut long) = short_and_long(&server).await;
    assert_eq!(max_age(&mut short).await, None);
    assert_eq!(max_age(&mut long).await, Some(2_592_000));
    long.visit(async |s| s.reset_max_age()).await.unwrap();
    assert_eq!(max_age(&mut long).await, None);
}

#[tokio::test]
async fn the_last_call_in_a_request_counts() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .visit(async |s| {
            s.set_browser_session()?;
            s.set_max_age(30 * DAY)?;
            s.set_max_age(3 * HOUR)
        })
        .await
        .unwrap();
    assert_eq!(max_age(&mut browser).await, Some(10_800));
}

#[tokio::test]
async fn a_new_id_keeps_the_timeout() {
    for rotates in [false, true] {
        let server = test_server(config());
        let mut browser = sign_in(&server, Some(30 * DAY)).await;
        let mut old = browser.clone();
        let renew = async |s: &Session| match rotates {
            true => s.rotate_id(MINUTE),
            false => s.regenerate(),
        };
        browser.visit(renew).await.unwrap();
        assert_eq!(max_age(&mut browser).await, Some(2_592_000));
        if rotates {
            assert_eq!(
                max_age(&mut old).await,
                Some(2_592_000),
                "the old id forwards"
            );
        }
        server.advance(29 * DAY);
        assert!(is_alive(&mut browser).await, "rotates: {rotates}");
    }
}

#[tokio::test]
async fn a_new_id_and_a_timeout_in_one_request() {
    let server = test_server(config());
    let mut browser = sign_in(&server, None).await;
    let remember = async |s: Session| {
        let s = s.load().await.unwrap();
        s.set_max_age(30 * DAY).unwrap();
        s.regenerate().unwrap();
    };
    let visit = browser.request(remember).await;
    assert!(visit.cookie().contains("Max-Age=2592000"));
    server.advance(29 * DAY);
    assert!(is_alive(&mut browser).await);
}

#[tokio::test]
async fn a_destroyed_session_leaves_its_timeout_behind() {
    let server = test_server(config());
    let mut browser = sign_in(&server, Some(30 * DAY)).await;
    browser
        .visit(async |s| {
            s.destroy().unwrap();
            s.put("n", 2).unwrap();
        })
        .await;
    assert_eq!(max_age(&mut browser).await, Some(7200));
}

/// Runs two requests that have both loaded the session before the first one commits.
async fn overlap(
    (a, first): (&mut Browser, impl AsyncFnOnce(&Session)),
    (b, second): (&mut Browser, impl AsyncFnOnce(&Session)),
) {
    let (loaded, committed) = (tokio::sync::Barrier::new(2), tokio::sync::Barrier::new(2));
    let first = async {
        a.visit(async |s| {
            loaded.wait().await;
            first(s).await;
        })
        .await;
        committed.wait().await;
    };
    let second = b.visit(async |s| {
        loaded.wait().await;
        second(s).await;
        committed.wait().await;
    });
    tokio::join!(first, second);
}

async fn remember(s: &Session) {
    s.set_max_age(30 * DAY).unwrap();
}

async fn put(s: &Session) {
    s.put("m", 2).unwrap();
}

async fn assert_remembered(server: &TestServer, browser: &mut Browser) {
    assert_eq!(max_age(browser).await, Some(2_592_000));
    server.advance(29 * DAY);
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(all, serde_json::json!({"n": 1, "m": 2}));
}

#[tokio::test]
async fn a_timeout_and_a_put_of_two_requests_are_both_stored() {
    for timeout_first in [false, true] {
        let server = test_server(config());
        let mut a = sign_in(&server, None).await;
        let mut b = a.clone();
        match timeout_first {
            true => overlap((&mut a, remember), (&mut b, put)).await,
            false => overlap((&mut a, put), (&mut b, remember)).await,
        }
        assert_remembered(&server, &mut b).await;
    }
}

#[tokio::test]
async fn a_new_id_takes_over_a_timeout_that_another_request_set_meanwhile() {
    let server = test_server(config());
    let mut a = sign_in(&server, None).await;
    let mut b = a.clone();
    let regenerate = async |s: &Session| {
        s.put("m", 2).unwrap();
        s.regenerate().unwrap();
    };
    overlap((&mut a, remember), (&mut b, regenerate)).await;
    assert_remembered(&server, &mut b).await;
}

#[tokio::test]
async fn of_two_timeouts_the_later_commit_counts() {
    let server = test_server(config());
    let mut a = sign_in(&server, None).await;
    let mut b = a.clone();
    let hour = async |s: &Session| s.set_max_age(HOUR).unwrap();
    overlap((&mut a, remember), (&mut b, hour)).await;
    assert_eq!(max_age(&mut b).await, Some(3600));
    // A timeout and the kind of the cookie are independent.
    let mut a = b.clone();
    let browser_session = async |s: &Session| s.set_browser_session().unwrap();
    overlap((&mut a, remember), (&mut b, browser_session)).await;
    assert_eq!(max_age(&mut b).await, None);
    server.advance(29 * DAY);
    assert!(is_alive(&mut b).await);
}

#[tokio::test]
async fn an_explicit_commit_stores_a_timeout_and_a_later_one_belongs_to_the_next_commit() {
    let server = test_server(config());
    let mut browser = server.browser();
    let visit = browser
        .request(async |s| {
            let s = s.load().await.unwrap();
            s.put("n", 1).unwrap();
            s.set_max_age(DAY).unwrap();
            assert!(s.is_modified());
            s.commit().await.unwrap();
            assert!(!s.is_modified());
            let commit = s.commit();
            s.set_max_age(30 * DAY).unwrap();
            commit.await.unwrap();
        })
        .await;
    assert!(visit.cookie().contains("Max-Age=2592000"));
    server.advance(29 * DAY);
    assert!(is_alive(&mut browser).await);
}

#[tokio::test]
async fn a_timeout_set_during_an_explicit_commit_is_not_in_its_cookie() {
    let server = test_server(config());
    let mut browser = server.browser();
    let visit = browser
        .request(async |s| {
            let s = s.load().await.unwrap();
            s.put("n", 1).unwrap();
            s.set_max_age(DAY).unwrap();
            let gate = server.store.hold(Call::Write);
            let change = async {
                gate.reached().await;
                s.set_max_age(30 * DAY).unwrap();
                gate.open();
            };
            let (committed, ()) = tokio::join!(s.commit(), change);
            committed.unwrap();
            // The final commit fails, so the response has the cookie of the first one.
            server.store.fail_always(Call::Write);
        })
        .await;
    assert_eq!(visit.status, 503);
    assert!(
        visit.cookie().contains("Max-Age=86400"),
        "{}",
        visit.cookie()
    );
}

#[tokio::test]
async fn the_absolute_timeout_ends_a_session_with_a_timeout_of_its_own() {
    let server = test_server(config().absolute_timeout(10 * DAY));
    let mut browser = sign_in(&server, Some(7 * DAY)).await;
    server.advance(6 * DAY);
    browser
        .visit(async |s| {
            let end = s.created_at().unwrap().saturating_add(10 * DAY);
            assert_eq!(s.expires_at().unwrap(), end);
            assert!(s.has("n").unwrap());
        })
        .await;
    server.advance(4 * DAY);
    server.memory.sweep();
    assert_eq!(server.memory.stats().records, 0, "the store has removed it");
    assert!(!is_alive(&mut browser).await);
}

#[tokio::test]
async fn a_fraction_of_a_second_is_rounded_up() {
    let server = test_server(config());
    let mut browser = sign_in(&server, Some(HOUR + Duration::from_millis(1))).await;
    assert_eq!(max_age(&mut browser).await, Some(3601));
}
