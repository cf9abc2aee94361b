//! Changes that do not fit the changes of another request are refused as a whole.

use hyper_session::{
    Session, SessionConfig, SessionError,
    patch::ChangeLimits,
    session::{ConflictReason, OnConflict, OnTooLarge, SizeLimit},
};
use serde_json::{Value, json};

use crate::support::{Browser, Call, TestServer, config, data, object, test_server};

pub(super) async fn visitor(server: &TestServer, data: Value) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.merge(data)).await.unwrap();
    server.events.clear();
    browser
}

/// Runs `first` in one request, with the whole request of `second` between its load and its commit.
/// Returns the status.
pub(super) async fn overlap<A, B>(
    browser: &Browser,
    first: impl AsyncFnOnce(&Session) -> A,
    second: impl AsyncFnOnce(&Session) -> B,
) -> (u16, Vec<String>) {
    let (mut outer, mut inner) = (browser.clone(), browser.clone());
    let visit = outer
        .request(async |session| {
            session.load().await.unwrap();
            inner.visit(second).await;
            first(&session).await;
        })
        .await;
    let cookies = visit.cookies().into_iter().map(str::to_owned);
    (visit.status.as_u16(), cookies.collect())
}

#[tokio::test]
async fn an_increment_of_a_value_that_became_a_text_is_a_409_and_stores_nothing() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let (status, _) = overlap(
        &browser,
        async |s| {
            s.put("other", true).unwrap();
            s.increment("n").unwrap();
            s.tag("ada").unwrap();
        },
        async |s| s.put("n", "text").unwrap(),
    )
    .await;
    assert_eq!(status, 409);
    assert_eq!(data(&mut browser.clone()).await, json!({"n": "text"}));
    assert_eq!(
        server.sessions.collection().tagged("ada").await.unwrap(),
        []
    );
    let conflicts = server.events.with_name("conflict");
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].text, "n");
}

#[tokio::test]
async fn two_changes_that_are_too_large_together_are_an_error_of_the_second() {
    let server = test_server(config().limits(ChangeLimits::default().document(1 << 20)));
    let browser = visitor(&server, json!({"n": 1})).await;
    let large = "x".repeat(600 << 10);
    let (status, _) = overlap(
        &browser,
        async |s| s.put("ours", &large).unwrap(),
        async |s| s.put("theirs", &large).unwrap(),
    )
    .await;
    assert_eq!(status, 500, "like every session that is too large");
    browser
        .clone()
        .visit(async |s| {
            assert!(s.has("theirs").unwrap() && !s.has("ours").unwrap());
        })
        .await;
}

#[tokio::test]
async fn changes_that_are_too_large_together_do_not_blame_the_store() {
    let large = "x".repeat(600);
    let put = async |s: &Session| s.put("theirs", &large).unwrap();
    let server = test_server(small_config());
    let browser = visitor(&server, json!({})).await;
    let commit = async |s: &Session| {
        s.put("ours", &large).unwrap();
        let error = s.commit().await.unwrap_err();
        let (text, exceeded) = match &error {
            SessionError::TooLarge { exceeded, .. } => (error.to_string(), *exceeded),
            _ => panic!("{error}"),
        };
        assert_eq!(exceeded, SizeLimit::Document);
        assert!(
            text.contains("limit is 1024; remove data or raise `limits.document`"),
            "{text}"
        );
    };
    assert_eq!(overlap(&browser, commit, put).await.0, 500);
    assert_eq!(server.events.with_name("store_failed"), []);
    let dropped = server.events.with_name("write_dropped");
    let reason = "the session exceeds `limits.document` with changes of other requests";
    assert_eq!((dropped.len(), &*dropped[0].text), (1, reason));
}

#[tokio::test]
async fn a_value_and_a_message_that_are_too_large_together_are_an_error_of_the_second() {
    let large = "x".repeat(600 << 10);
    let put = async |s: &Session| s.put("value", &large).unwrap();
    let flash = async |s: &Session| s.flash("message", &large).unwrap();
    for puts_first in [false, true] {
        let server = test_server(config().limits(ChangeLimits::default().document(1 << 20)));
        let browser = visitor(&server, json!({"n": 1})).await;
        let (status, _) = match puts_first {
            true => overlap(&browser, flash, put).await,
            false => overlap(&browser, put, flash).await,
        };
        assert_eq!(status, 500, "{puts_first}");
        let has_value = browser.clone().visit(async |s| s.has("value")).await;
        assert_eq!(has_value.unwrap(), puts_first);
    }
}

#[tokio::test]
async fn too_many_tags_of_two_requests_are_a_conflict() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let add = |from: usize| {
        async move |s: &Session| {
            for number in from..from + 40 {
                s.tag(&number.to_string()).unwrap();
            }
        }
    };
    assert_eq!(overlap(&browser, add(0), add(40)).await.0, 409);
    let all = server.sessions.collection();
    assert_eq!(all.tagged("0").await.unwrap(), []);
    assert_eq!(all.tagged("79").await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_puts_to_one_path_are_no_conflict() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let (status, _) = overlap(
        &browser,
        async |s| s.put("n", "ours").unwrap(),
        async |s| s.put("n", "theirs").unwrap(),
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(data(&mut browser.clone()).await, json!({"n": "ours"}));
}

#[tokio::test]
async fn a_regeneration_whose_changes_do_not_fit_leaves_the_old_id_alive() {
    for nth in [0, 1] {
        let server = test_server(config());
        let browser = visitor(&server, json!({"n": 1})).await;
        let (mut mover, mut writer) = (browser.clone(), browser.clone());
        let gate = server.store.hold_nth(Call::Write, nth);
        let (visit, ()) = tokio::join!(
            mover.request(async |s| {
                s.load().await.unwrap().regenerate().unwrap();
                s.increment("n").unwrap();
            }),
            async {
                gate.reached().await;
                writer.visit(async |s| s.put("n", "text")).await.unwrap();
                gate.open();
            }
        );
        assert_eq!((visit.status.as_u16(), visit.cookies().len()), (409, 0));
        assert_eq!(data(&mut browser.clone()).await, json!({"n": "text"}));
        assert_eq!(server.memory.stats().records, 1);
    }
}

#[tokio::test]
async fn a_request_whose_regeneration_was_refused_cannot_use_the_session_again() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let regenerate = async |s: &Session| {
        s.increment("n").unwrap();
        s.regenerate().unwrap();
        assert!(s.commit().await.unwrap_err().is_conflict());
        assert!(s.put("n", 1).unwrap_err().is_not_mutable());
    };
    let put = async |s: &Session| s.put("n", "text").unwrap();
    let (status, cookies) = overlap(&browser, regenerate, put).await;
    assert_eq!((status, cookies.len()), (503, 0));
    assert_eq!(data(&mut browser.clone()).await, json!({"n": "text"}));
}

#[tokio::test]
async fn an_earlier_explicit_commit_stays() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let mut other = browser.clone();
    let visit = browser
        .clone()
        .request(async |s| {
            s.load().await.unwrap().put("first", 1).unwrap();
            s.commit().await.unwrap();
            other.visit(async |s| s.put("n", "text")).await.unwrap();
            s.put("second", 2).unwrap();
            s.increment("n").unwrap();
        })
        .await;
    assert_eq!(visit.status, 409);
    let left = data(&mut browser.clone()).await;
    assert_eq!(left, json!({"n": "text", "first": 1}));
}

#[tokio::test]
async fn after_a_refused_explicit_commit_the_session_can_be_loaded_again() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let (mut ours, mut theirs) = (browser.clone(), browser.clone());
    ours.visit(async |s| {
        theirs.visit(async |s| s.put("n", "text")).await.unwrap();
        s.increment("n").unwrap();
        let error = s.commit().await.unwrap_err();
        let SessionError::Conflict { path, reason } = &error else {
            panic!("{error}");
        };
        assert_eq!(&**path, "n");
        assert!(matches!(reason, ConflictReason::Edit(_)));
        assert!(matches!(s.get::<Value>("n"), Err(SessionError::NotLoaded)));
        s.load().await.unwrap();
        assert_eq!(s.get("n").unwrap(), Some("text".to_owned()));
        s.put("n", 7).unwrap();
    })
    .await;
    assert_eq!(data(&mut ours).await, json!({"n": 7}));
}

#[tokio::test]
async fn changes_that_do_not_fit_can_be_dropped() {
    let server = test_server(config().on_conflict(OnConflict::DropWrite));
    let browser = visitor(&server, json!({"n": 1})).await;
    let (status, cookies) = overlap(
        &browser,
        async |s| s.increment("n").unwrap(),
        async |s| s.put("n", "text").unwrap(),
    )
    .await;
    assert_eq!((status, cookies.len()), (200, 0));
    assert_eq!(data(&mut browser.clone()).await, json!({"n": "text"}));
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
}

/// The browser needs the new id for the token, but the session keeps the old one.
#[tokio::test]
async fn a_regeneration_that_is_dropped_leaves_the_cookie_of_the_session() {
    let server = test_server(config().on_conflict(OnConflict::DropWrite));
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let mut other = browser.clone();
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap();
            other.visit(async |s| s.put("n", "text")).await.unwrap();
            s.regenerate().unwrap();
            s.csrf_token().unwrap();
            s.increment("n").unwrap();
        })
        .await;
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (200, 0));
    assert_eq!(data(&mut browser).await, json!({"n": "text"}));
}

/// A task of the request changes the session while another one commits it.
#[tokio::test]
async fn changes_during_an_explicit_commit_belong_to_the_next_one() {
    for conflicting in [false, true] {
        let server = test_server(config());
        let browser = visitor(&server, json!({"n": 1})).await;
        let (mut ours, mut theirs) = (browser.clone(), browser.clone());
        let gate = server.store.hold(Call::Write);
        ours.visit(async |s| {
            s.increment("n").unwrap();
            s.flash("first", 1).unwrap();
            let commit = async { s.commit().await.unwrap() };
            tokio::join!(commit, async {
                gate.reached().await;
                s.load().await.unwrap();
                s.increment("n").unwrap();
                s.put("late", true).unwrap();
                s.tag("late").unwrap();
                s.flash("second", 2).unwrap();
                if conflicting {
                    let mut other = theirs.clone();
                    other.visit(async |s| s.put("theirs", 1)).await.unwrap();
                }
                gate.open();
            });
            let seen = s.get::<i32>("n").unwrap();
            assert_eq!(seen, Some(3));
            assert_eq!(s.has("theirs").unwrap(), conflicting);
            let stored = theirs.visit(async |s| s.get::<i32>("n").unwrap()).await;
            assert_eq!(stored, Some(2), "the late changes are not stored yet");
        })
        .await;
        let (stored, messages) = ours
            .visit(async |s| {
                (
                    object(s),
                    s.flash_messages().unwrap().all::<Value>().unwrap(),
                )
            })
            .await;
        let mut expected = json!({"n": 3, "late": true});
        if conflicting {
            expected["theirs"] = json!(1);
        }
        assert_eq!(stored, expected);
        assert_eq!(messages["second"], 2, "{messages}");
        assert_eq!(
            server
                .sessions
                .collection()
                .tagged("late")
                .await
                .unwrap()
                .len(),
            1
        );
    }
}

/// A new id, or the end of the session, must wait for the commit that stores it under its present id.
#[tokio::test]
async fn the_id_cannot_be_changed_during_an_explicit_commit() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let gate = server.store.hold(Call::Write);
    browser
        .visit(async |s| {
            s.increment("n").unwrap();
            let commit = async { s.commit().await.unwrap() };
            tokio::join!(commit, async {
                gate.reached().await;
                for refused in [s.regenerate(), s.destroy()] {
                    assert!(matches!(refused, Err(SessionError::Committed)));
                }
                gate.open();
            });
            s.regenerate().unwrap();
        })
        .await;
    assert_eq!(data(&mut browser).await, json!({"n": 2}));
}

/// Sends a request that stores `first` with an explicit commit, and then does `rest`. A change made during the
/// commit does not fit the record that the commit merged. Returns the status and the number of cookies.
async fn with_a_late_conflict(
    server: &TestServer,
    browser: &Browser,
    rest: impl AsyncFnOnce(&Session),
) -> (u16, usize) {
    let mut other = browser.clone();
    let visit = browser
        .clone()
        .request(async |s| {
            let gate = server.store.hold(Call::Write);
            s.load().await.unwrap().put("first", 1).unwrap();
            let commit = async { s.commit().await.unwrap() };
            tokio::join!(commit, async {
                gate.reached().await;
                s.increment("n").unwrap();
                other.visit(async |s| s.put("n", "text")).await.unwrap();
                gate.open();
            });
            rest(&s).await;
        })
        .await;
    (visit.status.as_u16(), visit.cookies().len())
}

#[tokio::test]
async fn a_late_change_that_does_not_fit_fails_the_next_commit_and_overwrites_nothing() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let (status, _) = with_a_late_conflict(&server, &browser, async |s| {
        let refused = s.commit().await.unwrap_err();
        assert!(refused.is_conflict(), "{refused}");
        s.load().await.unwrap().put("second", 2).unwrap();
    })
    .await;
    assert_eq!(status, 200);
    let expected = json!({"n": "text", "first": 1, "second": 2});
    assert_eq!(data(&mut browser.clone()).await, expected);
}

#[tokio::test]
async fn a_late_change_that_does_not_fit_is_an_error_or_dropped_at_the_end_of_the_request() {
    for (policy, status) in [(OnConflict::Error, 409), (OnConflict::DropWrite, 200)] {
        let server = test_server(config().on_conflict(policy));
        let browser = visitor(&server, json!({"n": 1})).await;
        let response = with_a_late_conflict(&server, &browser, async |_| ()).await;
        assert_eq!(response, (status, 1));
        let conflicts = server.events.with_name("conflict");
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].text, "n");
        let dropped = server.events.with_name("write_dropped").len();
        assert_eq!(dropped, usize::from(status == 200));
        let left = data(&mut browser.clone()).await;
        assert_eq!(left, json!({"n": "text", "first": 1}));
    }
}

#[tokio::test]
async fn a_regeneration_after_a_late_change_that_does_not_fit_cannot_be_made_again() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let (status, _) = with_a_late_conflict(&server, &browser, async |s| {
        s.regenerate().unwrap();
        assert!(s.commit().await.unwrap_err().is_conflict());
        assert!(s.put("second", 2).unwrap_err().is_not_mutable());
    })
    .await;
    assert_eq!(status, 503);
    let left = data(&mut browser.clone()).await;
    assert_eq!(left, json!({"n": "text", "first": 1}));
}

/// A regeneration waits for its turn, because a queue exists. It stores the flash message once.
#[tokio::test]
async fn an_explicit_commit_with_a_new_id_beside_many_writers_keeps_its_flash_message() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    let (conflicting, batch) = (
        server.store.hold_nth(Call::Write, 0),
        server.store.hold_nth(Call::Write, 1),
    );
    let (mut first, mut winner, mut mover) = (browser.clone(), browser.clone(), browser.clone());
    tokio::join!(first.visit(async |s| drop(s.put("first", true))), async {
        conflicting.reached().await;
        winner.visit(async |s| drop(s.put("winner", true))).await;
        conflicting.open();
        batch.reached().await;
        let moving = mover.visit(async |s| {
            s.regenerate().unwrap();
            s.flash("notice", "Welcome").unwrap();
            s.increment("n").unwrap();
            s.commit().await.unwrap();
            s.increment("n").unwrap();
        });
        tokio::join!(moving, async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            batch.open();
        });
    });
    let (stored, notice) = mover
        .visit(async |s| {
            let notice: Option<String> = s.flash_messages().unwrap().get("notice").unwrap();
            (object(s), notice)
        })
        .await;
    assert_eq!(stored, json!({"n": 2, "first": true, "winner": true}));
    assert_eq!(notice.as_deref(), Some("Welcome"));
}

/// The clear removes what its request has seen, not what the commit merged meanwhile.
#[tokio::test]
async fn a_clear_during_an_explicit_commit_keeps_what_other_requests_wrote() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let (mut ours, mut theirs) = (browser.clone(), browser.clone());
    let gate = server.store.hold(Call::Write);
    ours.visit(async |s| {
        s.put("ours", 1).unwrap();
        let commit = async { s.commit().await.unwrap() };
        tokio::join!(commit, async {
            gate.reached().await;
            s.clear().unwrap();
            theirs.visit(async |s| s.put("theirs", 1)).await.unwrap();
            gate.open();
        });
        theirs.visit(async |s| s.put("more", 1)).await.unwrap();
    })
    .await;
    let left = data(&mut browser.clone()).await;
    assert_eq!(left, json!({"theirs": 1, "more": 1}));
}

/// Sends a request with an explicit commit, under a limit of 1 KiB. `late` runs during the commit, before another
/// request does `others`, which the commit merges. Then `rest` runs. Returns the status.
async fn with_a_late_change(
    server: &TestServer,
    browser: &Browser,
    late: impl Fn(&Session),
    others: impl Fn(&Session),
    rest: impl AsyncFnOnce(&Session),
) -> u16 {
    let mut other = browser.clone();
    let visit = browser
        .clone()
        .request(async |s| {
            let gate = server.store.hold(Call::Write);
            s.load().await.unwrap().put("first", 1).unwrap();
            let commit = async { s.commit().await.unwrap() };
            tokio::join!(commit, async {
                gate.reached().await;
                late(&s);
                other.visit(async |s| others(s)).await;
                gate.open();
            });
            rest(&s).await;
        })
        .await;
    visit.status.as_u16()
}

fn small_config() -> SessionConfig {
    config().limits(ChangeLimits::default().document(1 << 10))
}

#[tokio::test]
async fn a_late_change_that_is_too_large_fails_the_next_commit_and_overwrites_nothing() {
    let large = "x".repeat(600);
    for loads_again in [false, true] {
        let server = test_server(small_config());
        let browser = visitor(&server, json!({})).await;
        let late = |s: &Session| s.put("late", &large).unwrap();
        let others = |s: &Session| s.put("others", &large).unwrap();
        let status = with_a_late_change(&server, &browser, late, others, async |s| {
            let refused = s.commit().await.unwrap_err();
            assert!(refused.is_too_large(), "{refused}");
            assert!(matches!(s.forget("late"), Err(SessionError::NotLoaded)));
            if loads_again {
                s.load().await.unwrap().put("second", 2).unwrap();
            }
        })
        .await;
        assert_eq!(status, 200);
        let mut expected = json!({"first": 1, "others": large});
        if loads_again {
            expected["second"] = json!(2);
        }
        assert_eq!(data(&mut browser.clone()).await, expected);
    }
}

#[tokio::test]
async fn a_late_change_that_is_too_large_is_an_error_or_dropped_at_the_end_of_the_request() {
    let large = "x".repeat(600);
    for (policy, status) in [(OnTooLarge::Error, 500), (OnTooLarge::DropWrite, 200)] {
        let server = test_server(small_config().on_too_large(policy));
        let browser = visitor(&server, json!({})).await;
        let late = |s: &Session| s.put("late", &large).unwrap();
        let others = |s: &Session| s.put("others", &large).unwrap();
        let sent = with_a_late_change(&server, &browser, late, others, async |_| ()).await;
        assert_eq!(sent, status);
        let left = data(&mut browser.clone()).await;
        assert_eq!(left, json!({"first": 1, "others": large}));
    }
}

#[tokio::test]
async fn a_regeneration_after_a_late_change_that_is_too_large_cannot_be_made_again() {
    let large = "x".repeat(600);
    let server = test_server(small_config());
    let browser = visitor(&server, json!({})).await;
    let late = |s: &Session| s.put("late", &large).unwrap();
    let others = |s: &Session| s.put("others", &large).unwrap();
    let status = with_a_late_change(&server, &browser, late, others, async |s| {
        s.regenerate().unwrap();
        assert!(s.commit().await.unwrap_err().is_too_large());
        assert!(s.forget("late").unwrap_err().is_not_mutable());
    })
    .await;
    assert_eq!(status, 503);
    let left = data(&mut browser.clone()).await;
    assert_eq!(left, json!({"first": 1, "others": large}));
}

/// A message of the same name replaces the other one.
#[tokio::test]
async fn late_changes_and_messages_of_other_requests_have_one_limit() {
    let large = "x".repeat(600);
    let put: &dyn Fn(&Session) = &|s| s.put("value", &large).unwrap();
    let flash: &dyn Fn(&Session) = &|s| s.flash("message", &large).unwrap();
    let changes = [(put, flash, 500), (flash, put, 500), (flash, flash, 200)];
    for (at, (late, others, status)) in changes.into_iter().enumerate() {
        let server = test_server(small_config());
        let browser = visitor(&server, json!({})).await;
        let sent = with_a_late_change(&server, &browser, late, others, async |_| ()).await;
        assert_eq!(sent, status, "{at}");
    }
}
