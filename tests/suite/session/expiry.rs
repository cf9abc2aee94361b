//! Idle timeout, touches and absolute timeout, with a manual clock.

use std::time::Duration;

use hyper_session::{Sessions, id::SessionId, session::CookiePolicy, store::CookieStore};
use serde_json::json;

use crate::support::{Browser, Call, config, object, test_server};

const HOUR: Duration = Duration::from_secs(3600);

async fn n(browser: &mut Browser) -> Option<i32> {
    browser.visit(async |s| s.get("n")).await.unwrap()
}

async fn id(browser: &mut Browser) -> SessionId {
    browser.visit(async |s| s.id()).await.unwrap()
}

#[tokio::test]
async fn a_session_without_requests_ends_at_its_age() {
    let server = test_server(config());
    let mut browser = server.browser();
    let old = browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            s.id().unwrap()
        })
        .await;
    server.advance(2 * HOUR + Duration::from_secs(60));
    browser
        .visit(async |s| {
            assert!(s.is_empty().unwrap() && s.is_fresh());
            assert!(s.id().unwrap() != old, "an expired id gets a new one");
        })
        .await;
}

#[tokio::test]
async fn reading_keeps_a_session_alive() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    for _ in 0..5 {
        server.advance(Duration::from_secs(7_190));
        assert_eq!(n(&mut browser).await, Some(1));
    }
}

#[tokio::test]
async fn untouched_requests_keep_it_alive_under_both_policies() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        let server = test_server(config().cookie_policy(policy));
        let mut browser = server.browser();
        browser.visit(async |s| s.put("n", 1)).await.unwrap();
        for _ in 0..5 {
            server.advance(Duration::from_secs(7_190));
            let visit = browser.pass().await;
            assert!(visit.cookie().contains("Max-Age=7200"), "{policy:?}");
        }
        assert_eq!(n(&mut browser).await, Some(1), "{policy:?}");
    }
}

#[tokio::test]
async fn touches_are_throttled_to_one_a_touch_interval() {
    let server = test_server(config().touch_interval(Duration::from_secs(60)));
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.store.calls();
    for _ in 0..59 {
        server.advance(Duration::from_secs(1));
        browser.pass().await;
    }
    assert_eq!(server.store.calls(), []);
    server.advance(Duration::from_secs(1));
    browser.pass().await;
    assert_eq!(server.store.calls(), [Call::Read]);
    server.advance(Duration::from_secs(1));
    browser.pass().await;
    assert_eq!(server.store.calls(), [], "the next interval has begun");
}

#[tokio::test]
async fn a_touch_interval_of_zero_touches_on_every_request() {
    let server = test_server(config().touch_interval(Duration::ZERO));
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.store.calls();
    browser.pass().await;
    browser.pass().await;
    assert_eq!(server.store.calls(), [Call::Read, Call::Read]);
}

#[tokio::test]
async fn a_session_never_dies_in_the_store_before_its_cookie() {
    // The store is touched once a touch interval. Every response that used the session renews the cookie.
    for interval in [0, 1, 59, 60, 600, 3_599] {
        for late in [0, 1, 599, 3_598] {
            let settings = config()
                .age(HOUR)
                .touch_interval(Duration::from_secs(interval));
            let server = test_server(settings);
            let mut browser = server.browser();
            browser.visit(async |s| s.put("n", 1)).await.unwrap();
            server.advance(Duration::from_secs(late));
            let visit = browser
                .request(async |s| s.load().await.map(drop).unwrap())
                .await;
            assert!(visit.cookie().contains("Max-Age=3600"));
            // The last moment before the new cookie expires.
            server.advance(HOUR - Duration::from_millis(1));
            let left = n(&mut browser).await;
            assert_eq!(
                left,
                Some(1),
                "interval {interval}, {late} s after the write"
            );
        }
    }
}

#[tokio::test]
async fn an_absolute_lifetime_ends_the_busiest_session() {
    let server = test_server(config().age(HOUR).absolute_timeout(3 * HOUR));
    let mut browser = server.browser();
    let old = browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            s.tag("ada").unwrap();
            s.id().unwrap()
        })
        .await;
    for _ in 0..5 {
        server.advance(Duration::from_secs(1_800));
        assert_eq!(n(&mut browser).await, Some(1));
        browser.visit(async |s| s.increment("busy")).await.unwrap();
    }
    server.advance(Duration::from_secs(1_800));
    browser
        .visit(async |s| {
            assert!(s.is_empty().unwrap());
            assert!(s.id().unwrap() != old);
        })
        .await;
    server.memory.sweep();
    assert_eq!(server.memory.stats().records, 0, "its record is gone");
}

#[tokio::test]
async fn a_regenerated_session_is_no_younger() {
    let server = test_server(config().age(HOUR).absolute_timeout(2 * HOUR));
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    for _ in 0..3 {
        server.advance(Duration::from_secs(1_799));
        browser.visit(async |s| s.regenerate()).await.unwrap();
    }
    server.advance(Duration::from_secs(1_804));
    assert_eq!(n(&mut browser).await, None);
}

#[tokio::test]
async fn a_restart_does_not_restart_the_absolute_timeout() {
    let server = test_server(config());
    let builder = || {
        let settings = config().age(HOUR).absolute_timeout(2 * HOUR);
        Sessions::builder(settings).clock(server.clock.clone())
    };
    let at_server = || builder().store(server.store.clone()).build().unwrap();
    let in_cookie = || builder().store(CookieStore::new()).build().unwrap();
    let starts: [&dyn Fn() -> Sessions; 2] = [&at_server, &in_cookie];
    for start in starts {
        let mut browser = Browser::new(&start());
        browser.visit(async |s| s.put("n", 1)).await.unwrap();
        for _ in 0..3 {
            server.advance(Duration::from_secs(1_799));
            browser = browser.with_sessions(&start());
            assert_eq!(n(&mut browser).await, Some(1));
        }
        server.advance(Duration::from_secs(1_804));
        browser = browser.with_sessions(&start());
        assert_eq!(n(&mut browser).await, None);
    }
}

#[tokio::test]
async fn a_put_after_the_end_of_the_lifetime_begins_a_new_session() {
    let server = test_server(config().age(HOUR).absolute_timeout(HOUR));
    let mut browser = server.browser();
    browser.visit(async |s| s.put("old", 1)).await.unwrap();
    server.advance(HOUR);
    browser.visit(async |s| s.put("new", 1)).await.unwrap();
    server.advance(Duration::from_secs(1_800));
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"new": 1}));
}

#[tokio::test]
async fn an_id_without_anything_stored_lives_as_long_as_its_cookie() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.pass().await;
    let first = browser.visit(async |s| s.id()).await.unwrap();
    server.advance(HOUR);
    let kept = browser.visit(async |s| s.id()).await.unwrap();
    assert!(first == kept);
    server.advance(3 * HOUR);
    let renewed = browser.visit(async |s| s.id()).await.unwrap();
    assert!(
        first != renewed,
        "a cookie that the browser should have dropped"
    );
}

#[tokio::test]
async fn a_clock_that_goes_back_ends_nothing() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        let server = test_server(config().cookie_policy(policy));
        let start = server.clock.now();
        server.advance(5 * HOUR);
        let (mut stored, mut unstored) = (server.browser(), server.browser());
        stored.visit(async |s| s.put("n", 1)).await.unwrap();
        // A form needs an id, so its response sets a cookie with each policy.
        unstored
            .visit(async |s| s.csrf_token().map(drop))
            .await
            .unwrap();
        let before = [id(&mut stored).await, id(&mut unstored).await];
        server.clock.set(start);
        for _ in 0..3 {
            let after = [id(&mut stored).await, id(&mut unstored).await];
            assert!(before == after, "{policy:?}");
            assert_eq!(n(&mut stored).await, Some(1));
            server.advance(HOUR);
        }
        assert!(server.events.with_name("cookie_rejected").is_empty());
    }
}

#[tokio::test]
async fn the_new_id_after_an_expiry_is_stable() {
    let server = test_server(config().age(Duration::from_secs(600)));
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.advance(Duration::from_secs(7200));
    let first = browser.visit(async |s| s.id()).await.unwrap();
    let second = browser.visit(async |s| s.id()).await.unwrap();
    assert!(first == second);
}

/// The store keeps the record for longer than the session may live: the setting was added later.
#[tokio::test]
async fn a_session_ends_at_an_absolute_timeout_that_its_record_does_not_know() {
    for is_over in [false, true] {
        let server = test_server(config());
        let mut browser = server.browser();
        browser.visit(async |s| s.put("n", 1)).await.unwrap();
        let later = Sessions::builder(config().absolute_timeout(HOUR))
            .store(server.store.clone())
            .clock(server.clock.clone())
            .build();
        let mut browser = browser.with_sessions(&later.unwrap());
        server.advance(HOUR - Duration::from_millis(u64::from(!is_over)));
        assert_eq!(n(&mut browser).await, (!is_over).then_some(1));
    }
}

/// Its last touch is in the future.
#[tokio::test]
async fn a_cookie_of_a_clock_that_ran_fast_is_renewed_if_it_is_ahead_by_more_than_an_interval() {
    for seconds in [60, 61] {
        let server = test_server(config().cookie_policy(CookiePolicy::WhenUsed));
        server.advance(Duration::from_secs(seconds));
        let mut browser = server.browser();
        browser.visit(async |s| s.put("n", 1)).await.unwrap();
        let behind = test_server(config().cookie_policy(CookiePolicy::WhenUsed));
        let sessions = behind.with_store(server.store.clone());
        let visit = browser.with_sessions(&sessions).pass().await;
        assert_eq!(visit.cookies().len(), usize::from(seconds > 60));
    }
}
