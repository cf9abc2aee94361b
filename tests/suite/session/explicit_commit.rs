//! The response carries the cookie of an explicit commit, even if the rest of the request fails.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Response, StatusCode};
use http_body_util::Empty;
use hyper_session::{
    Session, SessionError, Sessions,
    session::{Commit, CookiePolicy, Event, OnTooLarge},
};
use serde_json::{Value, json};

use crate::support::{
    Browser, Call, TestServer, config,
    cookie_server::{CookieServer, cookie_server_with, text},
    data, object, test_server,
};

async fn visitor(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.events.clear();
    browser
}

/// Signs in and commits.
async fn sign_in(session: &Session) {
    session.load().await.unwrap().regenerate().unwrap();
    session.put("user", "ada").unwrap();
    session.commit().await.unwrap();
}

fn signed_in() -> Value {
    json!({"n": 1, "user": "ada"})
}

#[tokio::test]
async fn flash_messages_that_an_explicit_commit_consumed_are_not_consumed_again() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    browser.visit(async |s| s.flash("m", 1)).await.unwrap();
    server.store.calls();
    browser
        .visit(async |s| {
            assert_eq!(s.flash_messages().unwrap().get("m").unwrap(), Some(1));
            s.flash("next", 2).unwrap();
            s.commit().await.unwrap();
        })
        .await;
    assert_eq!(server.store.calls(), [Call::Read, Call::Write]);
    browser
        .visit(async |s| {
            let messages: Value = s.flash_messages().unwrap().all().unwrap();
            assert_eq!(messages, json!({"next": 2}));
        })
        .await;
}

#[tokio::test]
async fn a_handler_that_answers_with_a_failure_sends_its_cookie() {
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
async fn a_last_commit_that_fails_sends_its_cookie() {
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
        assert_eq!(visit.status, 503, "the later change is not acknowledged");
        assert_eq!(visit.headers["cache-control"], "no-store");
        assert_eq!(visit.headers["vary"], "cookie");
        assert_eq!(data(&mut browser).await, signed_in(), "{policy:?}");
    }
}

#[tokio::test]
async fn a_first_session_sends_its_cookie_as_well() {
    let server = test_server(config());
    let mut browser = server.browser();
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap().put("n", 1).unwrap();
            s.commit().await.unwrap();
            server.store.fail(Call::Write);
            s.increment("n").unwrap();
        })
        .await;
    assert_eq!(visit.status, 503);
    assert_eq!(data(&mut browser).await, json!({"n": 1}));
}

#[tokio::test]
async fn a_second_explicit_commit_that_fails_or_is_dropped_sends_the_cookie_of_the_first_one() {
    for dropped in [false, true] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let visit = browser
            .request(async |s| {
                sign_in(&s).await;
                s.increment("n").unwrap();
                if dropped {
                    let gate = server.store.hold(Call::Write);
                    tokio::select! {
                        _ = s.commit() => panic!("the store waits"),
                        () = gate.reached() => {}
                    }
                } else {
                    server.store.fail(Call::Write);
                    assert!(s.commit().await.is_err());
                }
            })
            .await;
        assert_eq!(visit.status, 503);
        assert_eq!(data(&mut browser).await, signed_in(), "{dropped}");
    }
}

/// The steps of a regeneration that can fail before the old id is dead.
const STEPS: [(Call, usize); 2] = [(Call::Write, 0), (Call::Write, 1)];

#[tokio::test]
async fn a_second_move_that_fails_sends_the_cookie_of_the_first_one() {
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
async fn a_destroyed_session_removes_its_cookie_although_the_next_one_cannot_be_stored() {
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
                // The first write of a commit that destroys is a fence.
                server.store.fail_nth(Call::Write, usize::from(!explicit));
                s.flash("notice", "You are signed out.").unwrap();
            })
            .await;
        assert_eq!(visit.status, 503);
        assert!(visit.cookie().contains("Max-Age=0"), "{explicit}");
        assert_eq!(browser.cookie(), None);
    }
}

#[tokio::test]
async fn a_destroy_that_fails_sends_the_cookie_of_the_session() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let visit = browser
        .request(async |s| {
            sign_in(&s).await;
            server.store.fail(Call::Read);
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
async fn a_session_that_another_request_ended_meanwhile_sets_no_cookie() {
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
    assert_eq!(visit.cookies(), [""; 0]);
}

/// The state of a failed request must not leak into the next request on the same thread.
#[tokio::test]
async fn a_cookie_that_was_sent_once_is_not_sent_to_the_next_visitor() {
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
        .request(async |s| drop(s.load().await.unwrap().put("n", 2)))
        .await;
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 0));
}

fn in_cookies(policy: OnTooLarge) -> CookieServer {
    cookie_server_with(config().on_too_large(policy), |store, _| store)
}

/// Changes that are too large for a cookie: data, data under a new id, tags beside data that just fits.
#[derive(Clone, Copy, Debug)]
enum Oversize {
    Data,
    DataUnderNewId,
    Tags,
    TagsUnderNewId,
}

impl Oversize {
    const ALL: [Self; 4] = [
        Self::Data,
        Self::DataUnderNewId,
        Self::Tags,
        Self::TagsUnderNewId,
    ];

    fn put(self, session: &Session) {
        if matches!(self, Self::DataUnderNewId | Self::TagsUnderNewId) {
            session.regenerate().unwrap();
        }
        if matches!(self, Self::Data | Self::DataUnderNewId) {
            return session.put("cart", text(5000)).unwrap();
        }
        session.put("cart", text(2800)).unwrap();
        for owner in 0..16 {
            session.tag(&format!("owner {owner}")).unwrap();
        }
    }
}

#[tokio::test]
async fn a_session_in_cookies_keeps_what_was_stored_before_it_became_too_large() {
    for (policy, status) in [(OnTooLarge::Error, 500), (OnTooLarge::DropWrite, 200)] {
        for oversize in Oversize::ALL {
            let it = in_cookies(policy);
            let mut browser = it.browser();
            browser.visit(async |s| s.put("n", 1)).await.unwrap();
            let visit = browser
                .request(async |s| {
                    sign_in(&s).await;
                    oversize.put(&s);
                })
                .await;
            assert_eq!(visit.status, status, "{policy:?} {oversize:?}");
            let all = data(&mut browser).await;
            assert_eq!(all, signed_in(), "{policy:?} {oversize:?}");
        }
    }
}

/// A client may choose a name, such as that of a form field.
#[tokio::test]
async fn an_error_that_names_a_key_is_one_line() {
    let it = in_cookies(OnTooLarge::Error);
    let mut browser = it.browser();
    let visit = browser.request(async |s| {
        s.load().await.unwrap();
        let name = "x\n\r\u{1b}[0m\u{2028}\u{202e}\"y";
        s.put([name], text(5000)).unwrap();
        let errors = [
            s.increment([name]).unwrap_err(),
            s.commit().await.unwrap_err(),
        ];
        assert!(errors[1].is_too_large());
        for error in errors {
            let shown = error.to_string();
            assert!(shown.contains(r"x\n\r"), "{shown}");
            assert!(shown.contains(r"\u{2028}\u{202e}"), "{shown}");
            assert!(!shown.contains(char::is_control), "{shown}");
        }
    });
    drop(visit.await);
}

#[tokio::test]
async fn a_commit_after_one_that_was_merged_with_another_request_is_one_write() {
    type Change = fn(&Session) -> Result<(), SessionError>;
    let kinds: [Change; 3] = [
        |s| s.increment("n").map(drop),
        |s| s.update("n", |n: &mut u64| *n += 1).map(drop),
        |s| s.regenerate().and_then(|()| s.increment("n").map(drop)),
    ];
    for (kind, change) in kinds.into_iter().enumerate() {
        let server = test_server(config());
        let mut ours = visitor(&server).await;
        let mut theirs = ours.clone();
        ours.visit(async |s| {
            change(s).unwrap();
            theirs.visit(async |s| s.increment("n")).await.unwrap();
            s.commit().await.unwrap();
            assert_eq!(s.get("n").unwrap(), Some(3), "{kind}");
            // The queue ends when its worker finds it empty.
            tokio::task::yield_now().await;
            server.store.calls();
            s.increment("n").unwrap();
            s.commit().await.unwrap();
            assert_eq!(server.store.calls(), [Call::Write], "{kind}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_commit_that_failed_has_ended_before_its_future_is_dropped() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let visit = browser.request(async |s| {
        s.load().await.unwrap().put("n", 2).unwrap();
        server.store.fail(Call::Write);
        let mut commit = pin!(s.commit());
        commit.as_mut().await.unwrap_err();
        assert!(s.put("n", 3).unwrap_err().is_not_mutable());
    });
    assert_eq!(visit.await.status, 503);
}

#[tokio::test]
async fn a_handle_that_outlives_a_failed_request_cannot_change_the_session() {
    let it = in_cookies(OnTooLarge::Error);
    let mut browser = it.browser();
    let visit = browser.request(async |s| {
        s.load().await.unwrap().put("cart", text(5000)).unwrap();
        s
    });
    let visit = visit.await;
    assert_eq!(visit.status, 500);
    let refused = visit.value.unwrap().put("n", 1).unwrap_err();
    assert!(matches!(refused, SessionError::Committed), "{refused}");
}

/// An update runs again after the commit has stored the new id, and panics.
#[tokio::test]
async fn a_commit_that_panics_after_its_regeneration_sends_the_cookie_of_the_new_id() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let mut parallel = browser.clone();
    let gate = server.store.hold(Call::Write);
    let visit = browser.request(async |s| {
        s.load().await.unwrap().regenerate().unwrap();
        let mut commit = pin!(s.commit());
        let caught = poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| commit.as_mut().poll(cx)));
            match polled {
                Ok(polled) => polled.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            }
        });
        let (caught, ()) = tokio::join!(caught, async {
            gate.reached().await;
            let mut runs = 0;
            s.update("late", move |n: &mut u64| {
                runs += 1;
                assert_eq!(runs, 1, "the second run panics");
                *n += 1;
            })
            .unwrap();
            parallel.visit(async |s| s.put("other", 1)).await.unwrap();
            gate.open();
        });
        assert!(caught.is_err());
    });
    let visit = visit.await;
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 1));
    let expected = json!({"n": 1, "other": 1});
    assert_eq!(data(&mut browser).await, expected);
}

/// Gives the session a new id, stores it, and then meets a conflict with a parallel request.
async fn conflict_under_new_id(session: &Session, parallel: &mut Browser) {
    session.load().await.unwrap();
    session.rotate_id(Duration::from_secs(60)).unwrap();
    session.commit().await.unwrap();
    session.increment("other").unwrap();
    let put = parallel.visit(async |s| s.put("other", "text"));
    put.await.unwrap();
    assert!(session.commit().await.unwrap_err().is_conflict());
}

#[tokio::test]
async fn a_session_with_a_new_id_is_loaded_again_after_a_conflict() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let mut parallel = browser.clone();
    let visit = browser.request(async |s| {
        conflict_under_new_id(&s, &mut parallel).await;
        s.load().await.unwrap();
        s.put("n", 2).unwrap();
        object(&s)
    });
    let expected = json!({"n": 2, "other": "text"});
    assert_eq!(visit.await.value.unwrap(), expected);
    server.advance(Duration::from_secs(120));
    assert_eq!(data(&mut browser).await, expected);
}

#[tokio::test]
async fn a_load_that_fails_after_an_explicit_commit_keeps_the_cookie_of_the_new_id() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let mut parallel = browser.clone();
    let visit = browser.request(async |s| {
        conflict_under_new_id(&s, &mut parallel).await;
        server.store.fail(Call::Read);
        s.load().await.unwrap_err();
    });
    let visit = visit.await;
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 1));
    server.advance(Duration::from_secs(120));
    let expected = json!({"n": 1, "other": "text"});
    assert_eq!(data(&mut browser).await, expected);
}

/// The handler keeps the future of a commit that has ended.
#[tokio::test]
async fn a_commit_that_has_ended_does_not_end_the_next_one() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    browser
        .visit(async |s| {
            s.put("first", 1).unwrap();
            let mut first = Box::pin(s.commit());
            first.as_mut().await.unwrap();
            s.put("second", 2).unwrap();
            let write = server.store.hold(Call::Write);
            let (second, ()) = tokio::join!(s.commit(), async {
                write.reached().await;
                drop(first);
                write.open();
            });
            second.unwrap();
            s.put("third", 3).unwrap();
        })
        .await;
    let expected = json!({"n": 1, "first": 1, "second": 2, "third": 3});
    assert_eq!(data(&mut browser).await, expected);
}

/// A listener that begins another commit of a session at the end of one.
#[derive(Clone, Default)]
struct CommitListener {
    session: Arc<Mutex<Option<Session>>>,
    begun: Arc<Mutex<Option<Pin<Box<Commit>>>>>,
}

impl CommitListener {
    fn on_event(&self, event: &Event<'_>) {
        if !matches!(event, Event::Committed { .. } | Event::Conflict { .. }) {
            return;
        }
        let Some(session) = self.session.lock().unwrap().take() else {
            return;
        };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(session.load()).poll(&mut cx).is_ready());
        session.put("second", 2).unwrap();
        let mut commit = Box::pin(session.commit());
        assert!(commit.as_mut().poll(&mut cx).is_pending());
        *self.begun.lock().unwrap() = Some(commit);
    }
}

/// The first commit has ended, but its future is not ready yet.
#[tokio::test]
async fn a_commit_that_begins_at_the_end_of_another_one_is_not_abandoned() {
    for fails in [false, true] {
        let server = test_server(config());
        let listener = CommitListener::default();
        let events = listener.clone();
        let sessions = Sessions::builder(config())
            .store(server.store.clone())
            .listener(move |event: &Event<'_>| events.on_event(event))
            .build()
            .unwrap();
        let mut browser = Browser::new(&sessions);
        browser.visit(async |s| s.put("n", 1)).await.unwrap();
        let mut other = browser.clone();
        let visit = browser.request(async |s| {
            s.load().await.unwrap().increment("n").unwrap();
            if fails {
                other.visit(async |s| s.put("n", "text")).await.unwrap();
            }
            let gate = server.store.hold_nth(Call::Write, 1);
            *listener.session.lock().unwrap() = Some(s.clone());
            assert_eq!(s.commit().await.is_err(), fails);
            s.put("third", 3).unwrap();
            gate.open();
            let second = listener.begun.lock().unwrap().take();
            second.unwrap().await.unwrap();
        });
        assert_eq!(visit.await.status, 200, "{fails}");
        let n = if fails { json!("text") } else { json!(2) };
        let expected = json!({"n": n, "second": 2, "third": 3});
        assert_eq!(data(&mut browser).await, expected, "{fails}");
    }
}
