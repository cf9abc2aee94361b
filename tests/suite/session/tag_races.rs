//! Tags change together with the data, beside other requests that write, tag or regenerate the session.

use std::time::Duration;

use hyper_session::{Session, SessionError, id::StoreKey};
use serde_json::json;

use crate::support::{Browser, Call, TestServer, config, data, test_server};

/// Creates a browser with an id under which nothing is stored.
async fn newcomer(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser.pass().await;
    server.store.calls();
    browser
}

/// Creates a browser whose session has the tag `ada`.
async fn ada(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| sign_in(s)).await.unwrap();
    server.store.calls();
    browser
}

pub(super) fn sign_in(session: &Session) -> Result<(), SessionError> {
    session.put("user", "ada")?;
    session.tag("ada")
}

pub(super) async fn tagged(server: &TestServer, tag: &str) -> Vec<StoreKey> {
    server.sessions.collection().tagged(tag).await.unwrap()
}

/// Asserts that every signed-in session has the tag, so that "log out everywhere" destroys it.
async fn assert_reachable(server: &TestServer, browsers: &mut [Browser], case: &str) {
    for browser in browsers.iter_mut() {
        let (user, key) = browser
            .visit(async |s| (s.has("user").unwrap(), s.store_key().unwrap()))
            .await;
        assert!(
            !user || tagged(server, "ada").await.contains(&key),
            "{case}"
        );
    }
    let all = server.sessions.collection();
    all.destroy_tagged("ada", None).await.unwrap();
    for browser in browsers {
        let left = data(browser).await;
        assert_eq!(left.get("user"), None, "{case}: {left}");
    }
}

#[tokio::test]
async fn a_regeneration_beside_a_first_tagged_write_leaves_no_session_without_the_tag() {
    for after in [false, true] {
        let server = test_server(config());
        let browser = newcomer(&server).await;
        let (mut tagger, mut mover) = (browser.clone(), browser.clone());
        let gate = match after {
            false => server.store.hold(Call::Write),
            true => server.store.hold_answer(Call::Write),
        };
        tokio::join!(tagger.visit(async |s| sign_in(s).unwrap()), async {
            gate.reached().await;
            mover.visit(async |s| s.regenerate()).await.unwrap();
            gate.open();
        });
        let dropped = server.events.with_name("write_dropped").len();
        let stored = data(&mut mover).await == json!({"user": "ada"});
        assert_eq!(dropped, usize::from(!stored), "{after}: dropped, or stored");
        assert_reachable(&server, &mut [browser, tagger, mover], &format!("{after}")).await;
    }
}

#[tokio::test]
async fn a_first_tagged_write_between_the_steps_of_a_regeneration_is_found_by_its_tag() {
    for nth in [0, 1] {
        let server = test_server(config());
        let browser = newcomer(&server).await;
        let (mut tagger, mut mover) = (browser.clone(), browser.clone());
        let gate = server.store.hold_nth(Call::Write, nth);
        tokio::join!(mover.visit(async |s| s.regenerate().unwrap()), async {
            gate.reached().await;
            tagger.visit(async |s| sign_in(s).unwrap()).await;
            gate.open();
        });
        assert_reachable(&server, &mut [browser, tagger, mover], &format!("{nth}")).await;
    }
}

/// A regeneration that removes one tag and adds another, while other requests write the old record at
/// every step.
#[tokio::test]
async fn a_regeneration_that_changes_tags_beside_other_writers_changes_exactly_those_tags() {
    for nth in [0, 1] {
        for add_elsewhere in [false, true] {
            let server = test_server(config());
            let browser = ada(&server).await;
            let (mut mover, mut writer) = (browser.clone(), browser.clone());
            let gate = server.store.hold_nth(Call::Write, nth);
            tokio::join!(
                mover.visit(async |s| {
                    s.regenerate().unwrap();
                    s.untag("ada").unwrap();
                    s.tag("eve").unwrap();
                }),
                async {
                    gate.reached().await;
                    let write = async |s: &Session| {
                        s.increment("n").unwrap();
                        if add_elsewhere {
                            s.tag("team").unwrap();
                        }
                    };
                    writer.visit(write).await;
                    gate.open();
                }
            );
            let case = format!("{nth}, {add_elsewhere}");
            let key = mover.visit(async |s| s.store_key()).await.unwrap();
            assert_eq!(tagged(&server, "ada").await, [], "{case}");
            assert_eq!(tagged(&server, "eve").await, [key], "{case}");
            let team: &[StoreKey] = if add_elsewhere { &[key] } else { &[] };
            assert_eq!(tagged(&server, "team").await, team, "{case}");
            assert_eq!(
                data(&mut mover).await,
                json!({"user": "ada", "n": 1}),
                "{case}"
            );
        }
    }
}

#[tokio::test]
async fn parallel_requests_lose_no_tag_and_no_untag() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let (mut first, mut second) = (browser.clone(), browser.clone());
    let gate = server.store.hold(Call::Write);
    tokio::join!(
        first.visit(async |s| {
            s.untag("ada").unwrap();
            s.tag("one").unwrap();
        }),
        async {
            gate.reached().await;
            second.visit(async |s| s.tag("two")).await.unwrap();
            gate.open();
        }
    );
    let counts = ["ada", "one", "two"].map(async |tag| tagged(&server, tag).await.len());
    let [ada, one, two] = counts;
    assert_eq!((ada.await, one.await, two.await), (0, 1, 1));
}

#[tokio::test]
async fn a_tagged_change_is_one_write() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| sign_in(s)).await.unwrap();
    assert_eq!(server.store.calls(), [Call::Write]);
    let mut other = newcomer(&server).await;
    other.visit(async |s| sign_in(s)).await.unwrap();
    assert_eq!(server.store.calls(), [Call::Read, Call::Write]);
    other.visit(async |s| s.untag("ada")).await.unwrap();
    assert_eq!(server.store.calls(), [Call::Read, Call::Write]);
    assert_eq!(tagged(&server, "ada").await.len(), 1);
}

#[tokio::test]
async fn an_untag_of_a_session_that_was_never_stored_writes_nothing() {
    let server = test_server(config());
    let mut browser = newcomer(&server).await;
    browser.visit(async |s| s.untag("ada")).await.unwrap();
    browser
        .visit(async |s| {
            s.tag("ada")?;
            s.untag("ada")
        })
        .await
        .unwrap();
    assert_eq!(server.store.calls(), [Call::Read, Call::Read]);
}

#[tokio::test]
async fn a_session_has_at_most_64_tags() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .visit(async |s| {
            for number in 0..64 {
                s.tag(&number.to_string()).unwrap();
            }
            let refused = s.tag("another");
            assert!(matches!(refused, Err(SessionError::TooManyTags(_))));
            s.tag("7").unwrap();
        })
        .await;
    assert_eq!(tagged(&server, "63").await.len(), 1);
    let all = server.sessions.collection();
    let key = tagged(&server, "0").await[0];
    let refused = all.tag(&key, "another").await;
    assert!(matches!(refused, Err(SessionError::TooManyTags(_))));
}

/// An administrator's tag neither prolongs an idle session nor loses a change of a request.
#[tokio::test]
async fn a_tag_from_outside_keeps_the_expiry_and_the_changes_of_requests() {
    let age = Duration::from_secs(600);
    let server = test_server(config().age(age).touch_interval(Duration::from_secs(60)));
    let mut browser = ada(&server).await;
    let key = browser.visit(async |s| s.store_key()).await.unwrap();
    let all = server.sessions.collection();
    server.advance(age / 2);
    browser
        .visit(async |s| {
            s.increment("n").unwrap();
            assert!(all.tag(&key, "team").await.unwrap());
        })
        .await;
    assert_eq!(data(&mut browser).await, json!({"user": "ada", "n": 1}));
    assert_eq!(tagged(&server, "team").await, [key]);
    for _ in 0..4 {
        server.advance(age / 2);
        all.tag(&key, "team").await.unwrap();
        all.untag(&key, "team").await.unwrap();
    }
    assert!(!all.tag(&key, "team").await.unwrap(), "it has expired");
}
