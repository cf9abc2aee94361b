//! A session that was never stored gets a tag while another request gives it a new id. Its data must
//! never be reachable without the tag.

use hyper_session::{Session, SessionError, id::StoreKey};
use serde_json::{Value, json};

use crate::support::{Browser, Call, TestServer, config, object, test_server};

/// Creates a browser with an id under which nothing is stored.
async fn newcomer(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser.pass().await;
    server.store.calls();
    browser
}

fn sign_in(session: &Session) -> Result<(), SessionError> {
    session.put("user", "ada")?;
    session.tag("ada")
}

async fn tagged(server: &TestServer) -> Vec<StoreKey> {
    server.sessions.collection().tagged("ada").await.unwrap()
}

async fn data(browser: &mut Browser) -> Value {
    browser.visit(async |s| object(s)).await
}

/// Asserts that every signed-in session has the tag, so that "log out everywhere" destroys it.
async fn assert_reachable(server: &TestServer, browsers: &mut [Browser], case: &str) {
    for browser in browsers.iter_mut() {
        let (user, key) = browser
            .visit(async |s| (s.has("user").unwrap(), s.store_key().unwrap()))
            .await;
        assert!(!user || tagged(server).await.contains(&key), "{case}");
    }
    let all = server.sessions.collection();
    all.destroy_tagged("ada", None).await.unwrap();
    for browser in browsers {
        let left = data(browser).await;
        assert_eq!(left.get("user"), None, "{case}: {left}");
    }
}

/// The store calls at which the request that signs in waits, before or after the call.
const STEPS: [(Call, usize); 3] = [(Call::Write, 0), (Call::Tag, 0), (Call::Write, 1)];

#[tokio::test]
async fn a_move_between_the_steps_of_a_first_tagged_write_leaves_no_session_without_the_tag() {
    for (call, nth) in STEPS {
        for after in [false, true] {
            let server = test_server(config());
            let browser = newcomer(&server).await;
            let (mut tagger, mut mover) = (browser.clone(), browser.clone());
            let gate = match after {
                false => server.store.hold_nth(call, nth),
                true => server.store.hold_answer_nth(call, nth),
            };
            tokio::join!(tagger.visit(async |s| sign_in(s).unwrap()), async {
                gate.reached().await;
                mover.visit(async |s| s.regenerate()).await.unwrap();
                gate.open();
            });
            let case = format!("{call:?} {nth}, {after}");
            let dropped = server.events.with_name("write_dropped").len();
            let stored = data(&mut mover).await == json!({"user": "ada"});
            assert_eq!(dropped, usize::from(!stored), "{case}: dropped, or stored");
            assert_reachable(&server, &mut [browser, tagger, mover], &case).await;
        }
    }
}

/// The steps of a regeneration that loaded the session before anything was stored.
const MOVE: [(Call, usize); 4] = [
    (Call::Write, 0),
    (Call::CopyTags, 0),
    (Call::Write, 1),
    (Call::MoveTags, 0),
];

#[tokio::test]
async fn a_first_tagged_write_between_the_steps_of_a_move_leaves_no_session_without_the_tag() {
    for (call, nth) in MOVE {
        let server = test_server(config());
        let browser = newcomer(&server).await;
        let (mut tagger, mut mover) = (browser.clone(), browser.clone());
        let gate = server.store.hold_nth(call, nth);
        tokio::join!(mover.visit(async |s| s.regenerate().unwrap()), async {
            gate.reached().await;
            tagger.visit(async |s| sign_in(s).unwrap()).await;
            gate.open();
        });
        let case = format!("{call:?} {nth}");
        assert_reachable(&server, &mut [browser, tagger, mover], &case).await;
    }
}

/// Both requests wait in turn: the sign-in before or after its tag, the regeneration at each step.
#[tokio::test]
async fn a_first_tagged_write_and_a_move_that_wait_for_each_other_leave_no_session_without_the_tag()
{
    for (call, nth) in MOVE {
        for tags in [false, true] {
            let server = test_server(config());
            let browser = newcomer(&server).await;
            let (mut tagger, mut mover) = (browser.clone(), browser.clone());
            let tagging = match tags {
                true => server.store.hold(Call::Tag),
                false => server.store.hold_answer(Call::Tag),
            };
            let case = format!("{call:?} {nth}, {tags}");
            tokio::join!(tagger.visit(async |s| sign_in(s).unwrap()), async {
                tagging.reached().await;
                let moving = server.store.hold_nth(call, nth);
                tokio::join!(mover.visit(async |s| s.regenerate().unwrap()), async {
                    moving.reached().await;
                    tagging.open();
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                    }
                    moving.open();
                });
            });
            assert_reachable(&server, &mut [browser, tagger, mover], &case).await;
        }
    }
}

/// Another request writes first.
#[tokio::test]
async fn a_first_tagged_write_that_comes_second_leaves_no_session_without_the_tag() {
    for call in [Call::Tag, Call::Write] {
        for after in [false, true] {
            let server = test_server(config());
            let browser = newcomer(&server).await;
            let (mut tagger, mut mover) = (browser.clone(), browser.clone());
            let mut writer = browser.clone();
            let first = server.store.hold(Call::Write);
            tokio::join!(tagger.visit(async |s| sign_in(s).unwrap()), async {
                first.reached().await;
                writer.visit(async |s| s.put("n", &1)).await.unwrap();
                let next = match after {
                    false => server.store.hold(call),
                    true => server.store.hold_answer(call),
                };
                first.open();
                next.reached().await;
                mover.visit(async |s| s.regenerate()).await.unwrap();
                next.open();
            });
            let case = format!("{call:?}, {after}");
            assert_reachable(&server, &mut [browser, tagger, mover], &case).await;
        }
    }
}

#[tokio::test]
async fn a_first_tagged_write_whose_tag_fails_stores_nothing_beside_it() {
    let server = test_server(config());
    let mut browser = newcomer(&server).await;
    server.store.fail(Call::Tag);
    let visit = browser
        .request(async |s| sign_in(s.load().await.unwrap()).unwrap())
        .await;
    assert_eq!(visit.status, 503);
    assert_eq!(data(&mut browser).await, json!({}));
    browser.visit(async |s| sign_in(s)).await.unwrap();
    assert_reachable(&server, &mut [browser], "the second time").await;
}

#[tokio::test]
async fn the_store_is_called_once_if_no_other_request_can_know_the_id() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| sign_in(s)).await.unwrap();
    assert_eq!(server.store.calls(), [Call::Write, Call::Tag]);
    let mut other = newcomer(&server).await;
    other.visit(async |s| sign_in(s)).await.unwrap();
    assert_eq!(
        server.store.calls(),
        [Call::Read, Call::Write, Call::Tag, Call::Write]
    );
    assert_eq!(tagged(&server).await.len(), 2);
}
