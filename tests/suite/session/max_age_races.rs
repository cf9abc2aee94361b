//! Responses that are slower than a change of their session's timeout.

use std::time::Duration;

use hyper_session::{
    Session, SessionError,
    session::{CookiePolicy, OnStoreFailure},
    testing::StoreCall,
};
use serde_json::json;

use super::queue_limits::yields;
use crate::support::{Browser, TestServer, Visit, config, object, test_server};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A change of a session's timeout.
type Change = fn(&Session) -> Result<(), SessionError>;

/// The changes of a session of one day, with the `Max-Age` of its cookies afterwards.
const CHANGES: [(Change, Option<&str>); 3] = [
    (|s| s.set_max_age(30 * DAY), Some("Max-Age=2592000")),
    (Session::set_browser_session, None),
    (Session::reset_max_age, Some("Max-Age=7200")),
];

async fn session_of_one_day(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            s.set_max_age(DAY).unwrap();
        })
        .await;
    browser
}

/// Sends a request that reads the session. `meanwhile` runs before its response.
async fn slow_read(browser: &mut Browser, meanwhile: impl AsyncFnOnce()) -> Visit<()> {
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap();
            meanwhile().await;
        })
        .await;
    assert_eq!(visit.status, 200);
    visit
}

fn max_age<T>(visit: &Visit<T>) -> Option<&str> {
    let mut attributes = visit.cookie().split("; ");
    attributes.find(|attribute| attribute.starts_with("Max-Age="))
}

#[tokio::test]
async fn a_slow_response_does_not_send_the_former_timeout() {
    for (change, changed) in CHANGES {
        let server = test_server(config());
        let mut browser = session_of_one_day(&server).await;
        let mut other = browser.clone();
        let slow = slow_read(&mut browser, async || {
            other.visit(async |s| change(s)).await.unwrap();
        })
        .await;
        assert_eq!(slow.cookies(), [""; 0]);
        let next = slow_read(&mut other, async || ()).await;
        assert_eq!(max_age(&next), changed);
        // The old cookie is in use still. Its next request learns the timeout.
        let next = slow_read(&mut browser, async || ()).await;
        assert_eq!(max_age(&next), changed);
    }
}

#[tokio::test]
async fn a_slow_renewal_does_not_send_the_former_timeout() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        for loads in [false, true] {
            let server = test_server(config().cookie_policy(policy));
            let mut browser = session_of_one_day(&server).await;
            server.advance(2 * MINUTE);
            let mut other = browser.clone();
            let gate = server.store.hold_answer(StoreCall::Read);
            let change = async {
                gate.reached().await;
                other
                    .visit(async |s| s.set_max_age(30 * DAY))
                    .await
                    .unwrap();
                gate.open();
            };
            let slow = browser.request(async |s| {
                if loads {
                    s.load().await.unwrap();
                }
            });
            let (slow, ()) = tokio::join!(slow, change);
            assert_eq!(slow.cookies(), [""; 0], "{policy:?}, loads: {loads}");
        }
    }
}

#[tokio::test]
async fn a_first_cookie_does_not_return_after_a_timeout_was_set() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.pass().await;
    let mut other = browser.clone();
    let slow = slow_read(&mut browser, async || {
        other
            .visit(async |s| s.set_max_age(30 * DAY))
            .await
            .unwrap();
    })
    .await;
    assert_eq!(slow.cookies(), [""; 0]);
}

#[tokio::test]
async fn a_slow_write_stores_and_sends_the_new_timeout() {
    let server = test_server(config());
    let mut browser = session_of_one_day(&server).await;
    let mut other = browser.clone();
    let slow = browser
        .request(async |s| {
            s.load().await.unwrap();
            other
                .visit(async |s| s.set_max_age(30 * DAY))
                .await
                .unwrap();
            s.put("n", 2).unwrap();
        })
        .await;
    assert_eq!(max_age(&slow), Some("Max-Age=2592000"));
}

/// A request that stores something, and whose response is slower than a change of the timeout.
#[tokio::test]
async fn a_slow_response_after_an_explicit_commit_does_not_send_the_former_timeout() {
    let server = test_server(config());
    let mut browser = session_of_one_day(&server).await;
    let mut other = browser.clone();
    let slow = browser
        .request(async |s| {
            s.load().await.unwrap().set_max_age(2 * DAY).unwrap();
            s.commit().await.unwrap();
            other.visit(async |s| s.set_max_age(HOUR)).await.unwrap();
        })
        .await;
    assert_eq!(slow.cookies(), [""; 0]);
    assert_eq!(
        max_age(&slow_read(&mut other, async || ()).await),
        Some("Max-Age=3600")
    );
}

#[tokio::test]
async fn a_process_learns_a_timeout_from_a_read() {
    let server = test_server(config());
    let mut browser = session_of_one_day(&server).await;
    let mut second = browser.clone();
    let mut elsewhere = browser.clone().with_sessions(&server.another_process());
    let slow = slow_read(&mut browser, async || {
        elsewhere
            .visit(async |s| s.set_max_age(30 * DAY))
            .await
            .unwrap();
        // A parallel request of the browser, with the old cookie.
        let read = slow_read(&mut second, async || ()).await;
        assert_eq!(max_age(&read), Some("Max-Age=2592000"));
    })
    .await;
    assert_eq!(slow.cookies(), [""; 0]);
}

#[tokio::test]
async fn a_later_change_in_another_process_is_sent_after_the_window() {
    let server = test_server(config());
    let mut browser = session_of_one_day(&server).await;
    browser
        .visit(async |s| s.set_max_age(30 * DAY))
        .await
        .unwrap();
    let mut elsewhere = browser.clone().with_sessions(&server.another_process());
    elsewhere
        .visit(async |s| s.set_max_age(HOUR))
        .await
        .unwrap();
    // This process cannot tell a slow response from a newer one.
    let mut browser = elsewhere.with_sessions(&server.sessions);
    let read = slow_read(&mut browser, async || ()).await;
    assert_eq!(read.cookies(), [""; 0]);
    server.advance(MINUTE);
    let read = slow_read(&mut browser, async || ()).await;
    assert_eq!(max_age(&read), Some("Max-Age=3600"));
}

#[tokio::test]
async fn a_session_that_ended_after_its_timeout_changed_stays_dead() {
    let server = test_server(config());
    let mut browser = session_of_one_day(&server).await;
    let (mut first, mut second) = (browser.clone(), browser.clone());
    let slow = slow_read(&mut browser, async || {
        let changed = first.visit(async |s| s.set_max_age(30 * DAY)).await;
        changed.unwrap();
        second.visit(async |s| s.destroy()).await.unwrap();
    })
    .await;
    assert_eq!(slow.cookies(), [""; 0]);
    assert!(first.visit(async |s| s.is_fresh()).await);
}

/// How the second read of a request fails. It corrects the touch of the first one.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Fails,
    Hangs,
    Dropped,
}

/// Sends a request with an old cookie, whose corrected touch fails.
async fn failed_correction(server: &TestServer, old: &Browser, loads: bool, failure: Failure) {
    let mut browser = old.clone();
    let gate = match failure {
        Failure::Fails => {
            server.store.fail_nth(StoreCall::Read, 1);
            None
        }
        Failure::Hangs | Failure::Dropped => Some(server.store.hold_nth(StoreCall::Read, 1)),
    };
    let request = browser.request(async |s| match loads {
        true => s.load().await.is_ok(),
        false => true,
    });
    match (failure, gate) {
        (Failure::Dropped, Some(gate)) => tokio::select! {
            biased;
            _ = request => panic!("the read is held"),
            () = gate.reached() => {}
        },
        _ => {
            let visit = request.await;
            assert_eq!(visit.cookies(), [""; 0], "{failure:?}, loads: {loads}");
        }
    }
}

/// A touch with the timeout of an old cookie is corrected by a second one, which fails here. The next request
/// repeats it, with the old cookie or the new one.
#[tokio::test]
async fn a_correction_of_a_touch_that_fails_is_repeated() {
    for (loads, failure) in [
        (false, Failure::Fails),
        (true, Failure::Fails),
        (false, Failure::Hangs),
        (false, Failure::Dropped),
        (true, Failure::Dropped),
    ] {
        for next_is_old in [false, true] {
            // Only a touch that hangs may reach its timeout.
            let timeout = match failure {
                Failure::Hangs => Duration::from_millis(20),
                Failure::Fails | Failure::Dropped => Duration::from_secs(60),
            };
            let server = test_server(config().touch_timeout(timeout));
            let old = session_of_one_day(&server).await;
            let mut new = old.clone();
            new.visit(async |s| s.set_max_age(30 * DAY)).await.unwrap();
            server.advance(2 * MINUTE);
            failed_correction(&server, &old, loads, failure).await;
            let mut next = if next_is_old { old } else { new.clone() };
            next.pass().await;
            server.advance(29 * DAY);
            let is_fresh = next.visit(async |s| s.is_fresh()).await;
            let place = format!("{failure:?}, loads: {loads}, old cookie: {next_is_old}");
            assert!(!is_fresh, "{place}");
        }
    }
}

#[tokio::test]
async fn a_correction_of_a_touch_counts_as_the_touch() {
    for loads in [false, true] {
        let server = test_server(config());
        let old = session_of_one_day(&server).await;
        let mut new = old.clone();
        new.visit(async |s| s.set_max_age(30 * DAY)).await.unwrap();
        server.advance(2 * MINUTE);
        for reads in [2, usize::from(loads)] {
            server.store.calls();
            let mut browser = old.clone();
            let visit = browser.request(async |s| {
                if loads {
                    s.load().await.unwrap();
                }
            });
            visit.await;
            // A client that keeps its old cookie touches the record once in a touch interval.
            assert_eq!(server.store.calls().len(), reads, "loads: {loads}");
        }
    }
}

/// The first read of a load finds the session, and the second one, which corrects the touch, fails.
#[tokio::test]
async fn a_load_whose_correction_of_a_touch_fails_shows_nothing_of_the_session() {
    let server = test_server(config().on_store_failure(OnStoreFailure::ReadOnly));
    let mut old = session_of_one_day(&server).await;
    let mut new = old.clone();
    new.visit(async |s| {
        s.set_max_age(30 * DAY).unwrap();
        s.flash("message", 1).unwrap();
    })
    .await;
    server.advance(2 * MINUTE);
    server.store.fail_nth(StoreCall::Read, 1);
    old.visit(async |s| {
        assert_eq!(object(s), json!({}));
        assert!(s.flash_messages().unwrap().is_empty());
    })
    .await;
}

/// Two loads of a request touch the record with the timeout of an old cookie. The reads and the corrections of the
/// touches are executed in every order.
#[tokio::test]
async fn two_loads_at_once_correct_the_touch_of_an_old_cookie() {
    // One load passes `first` reads, then the other one all of its reads.
    for (slower, first) in [(0, 2), (1, 2), (0, 1), (1, 1)] {
        let server = test_server(config());
        let mut old = session_of_one_day(&server).await;
        let mut new = old.clone();
        new.visit(async |s| s.set_max_age(30 * DAY)).await.unwrap();
        server.advance(2 * MINUTE);
        let gates = [(); 2].map(|()| server.store.hold(StoreCall::Read));
        let correction = server.store.hold(StoreCall::Read);
        let visit = old.request(async |s| {
            let load = async || {
                s.load().await.unwrap();
            };
            tokio::join!(load(), load(), async {
                gates[0].reached().await;
                gates[1].reached().await;
                gates[1 - slower].open();
                tokio::select! {
                    biased;
                    () = correction.reached() => {}
                    () = yields(10) => panic!("the first read has not touched the record"),
                }
                if first == 2 {
                    correction.open();
                    yields(10).await;
                }
                gates[slower].open();
                yields(10).await;
                correction.open();
            });
        });
        let place = format!("{slower}, {first}");
        assert_eq!(max_age(&visit.await), Some("Max-Age=2592000"), "{place}");
        server.advance(29 * DAY);
        assert!(!new.visit(async |s| s.is_fresh()).await, "{place}");
    }
}
