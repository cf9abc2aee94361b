//! Operations that merge: lists, values that are put once, and updates by a function.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper_session::{
    Session, SessionError, Sessions,
    document::EditError,
    patch::ChangeError,
    session::ConflictReason,
    store::{MemoryStore, Store},
};
use serde_json::{Value, json};

use super::conflicts::{overlap, visitor};
use crate::support::{Browser, Call, change, config, data, test_server};

/// Runs two requests that overlap on a session with `before`. Returns the data afterwards.
pub(super) async fn merged<A, B>(
    before: Value,
    first: impl AsyncFnOnce(&Session) -> A,
    second: impl AsyncFnOnce(&Session) -> B,
) -> Value {
    let server = test_server(config());
    let browser = visitor(&server, before).await;
    let (status, _) = overlap(&browser, first, second).await;
    assert_eq!(status, 200);
    data(&mut browser.clone()).await
}

#[tokio::test]
async fn values_that_two_requests_push_are_both_stored() {
    let before = json!({"list": ["a"]});
    let after = merged(
        before,
        async |s| s.push("list", "b").unwrap(),
        async |s| s.push("list", "c").unwrap(),
    )
    .await;
    assert_eq!(after, json!({"list": ["a", "c", "b"]}));
    let push_to_nothing = async |s: &Session| s.push("new.list", 1).unwrap();
    let after = merged(json!({"n": 0}), push_to_nothing, push_to_nothing).await;
    assert_eq!(after, json!({"n": 0, "new": {"list": [1, 1]}}));
}

#[tokio::test]
async fn a_value_that_two_requests_push_as_unique_is_stored_once() {
    let push = async |s: &Session| assert!(s.push_unique("list", json!({"b": 1, "a": 2})).unwrap());
    let after = merged(json!({"list": [3]}), push, push).await;
    assert_eq!(after, json!({"list": [3, {"a": 2, "b": 1}]}));
}

#[tokio::test]
async fn a_value_is_removed_from_the_list_of_another_request() {
    let after = merged(
        json!({"list": [1, 2, 1, 3]}),
        async |s| assert!(s.remove_value("list", 1).unwrap()),
        async |s| {
            s.push("list", 1).unwrap();
            s.push("list", 4).unwrap();
        },
    )
    .await;
    assert_eq!(after, json!({"list": [2, 3, 4]}));
}

#[tokio::test]
async fn of_two_values_that_are_put_if_absent_the_first_commit_wins() {
    let after = merged(
        json!({"n": 0, "null": null}),
        async |s| {
            assert!(s.put_if_absent("theme", "dark").unwrap());
            assert!(s.put_if_absent("null", 1).unwrap());
            assert!(!s.put_if_absent("n", 1).unwrap());
        },
        async |s| assert!(s.put_if_absent("theme", "light").unwrap()),
    )
    .await;
    assert_eq!(after, json!({"n": 0, "null": 1, "theme": "light"}));
}

#[tokio::test]
async fn increments_by_floats_add_up() {
    let after = merged(
        json!({"sum": 0.25}),
        async |s| s.increment_by("sum", 0.5).unwrap(),
        async |s| s.increment_by("sum", 1).unwrap(),
    )
    .await;
    assert_eq!(after, json!({"sum": 1.75}));
}

#[tokio::test]
async fn a_pull_that_finds_nothing_removes_nothing_of_a_parallel_request() {
    let pull = async |s: &Session| {
        assert_eq!(s.pull::<String>("theme").unwrap(), None);
        s.put("m", 1).unwrap();
    };
    let put = async |s: &Session| s.put("theme", "dark").unwrap();
    let after = merged(json!({"n": 0}), pull, put).await;
    assert_eq!(after, json!({"n": 0, "m": 1, "theme": "dark"}));
}

/// The second request commits first.
#[tokio::test]
async fn of_two_writes_to_one_path_the_later_commit_wins() {
    let (one, two) = (json!({"a": 1}), json!({"a": 2}));
    let put_one = async |s: &Session| s.put("a", 1).unwrap();
    let put_two = async |s: &Session| s.put("a", 2).unwrap();
    let forget = async |s: &Session| s.forget("a").unwrap();
    assert_eq!(merged(json!({"a": 0}), put_one, put_two).await, one);
    assert_eq!(merged(json!({"a": 0}), put_two, put_one).await, two);
    assert_eq!(merged(json!({"a": 0}), forget, put_one).await, json!({}));
    assert_eq!(merged(json!({"a": 0}), put_one, forget).await, one);
    let after = merged(
        json!({"o": {"n": 0}}),
        async |s| s.merge(json!({"o": {"x": 1, "both": 1}})).unwrap(),
        async |s| s.merge(json!({"o": {"y": 2, "both": 2}})).unwrap(),
    )
    .await;
    assert_eq!(after, json!({"o": {"n": 0, "x": 1, "y": 2, "both": 1}}));
}

#[tokio::test]
async fn a_value_that_two_requests_pull_is_returned_to_both_and_is_gone() {
    let pull = async |s: &Session| assert_eq!(s.pull_or("step", 0).unwrap(), 3);
    assert_eq!(merged(json!({"step": 3}), pull, pull).await, json!({}));
}

#[tokio::test]
async fn a_clear_keeps_what_another_request_writes() {
    let clear = async |s: &Session| s.clear().unwrap();
    let put = async |s: &Session| s.put("new", 1).unwrap();
    assert_eq!(
        merged(json!({"old": 1}), clear, put).await,
        json!({"new": 1})
    );
}

#[tokio::test]
async fn flash_messages_of_two_requests_are_both_kept_and_their_errors_are_one_message() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let (status, _) = overlap(
        &browser,
        async |s| {
            s.flash("notice", "first").unwrap();
            s.flash_errors([("E_A", "first")]).unwrap();
        },
        async |s| {
            s.flash("other", "second").unwrap();
            s.flash_errors([("E_B", "second")]).unwrap();
        },
    )
    .await;
    assert_eq!(status, 200);
    let all = async |s: &Session| s.flash_messages().unwrap().all::<Value>().unwrap();
    let expected = json!({
        "notice": "first", "other": "second", "errorsBag": {"E_A": "first"},
    });
    assert_eq!(browser.clone().visit(all).await, expected);
}

#[tokio::test]
async fn an_operation_without_effect_is_no_change() {
    let server = test_server(config());
    let mut browser = visitor(
        &server,
        json!({"list": [1, {"a": [2], "b": 0}], "text": "x"}),
    )
    .await;
    server.store.calls();
    browser
        .visit(async |s| {
            assert!(!s.push_unique("list", json!({"b": 0, "a": [2]})).unwrap());
            assert!(!s.remove_value("list", 1.0).unwrap(), "1 is not 1.0");
            assert!(!s.remove_value("missing", 1).unwrap());
            assert!(!s.put_if_absent("text", "y").unwrap());
            assert!(!s.is_modified());
        })
        .await;
    let calls = server.store.calls();
    assert!(!calls.contains(&Call::Write), "{calls:?}");
}

#[tokio::test]
async fn a_value_that_is_no_list_is_an_error_that_names_its_path() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"user": {"name": "ada"}})).await;
    browser
        .visit(async |s| {
            let results = [
                s.push("user.name", 1),
                s.push_unique("user.name", 1).map(drop),
                s.remove_value("user.name", 1).map(drop),
            ];
            for result in results {
                let Err(SessionError::Change(ChangeError::Edit(error))) = result else {
                    panic!("{result:?}");
                };
                let EditError::NotAnArray { path } = &error else {
                    panic!("{error:?}");
                };
                assert_eq!(&**path, "user.name");
                assert_eq!(
                    error.to_string(),
                    "cannot change \"user.name\" as an array: its value is not an array; store an array \
                     first"
                );
            }
            let result = s.update("user.name", |n: &mut u64| *n += 1);
            assert!(matches!(result, Err(SessionError::Read(_))), "{result:?}");
            assert!(!s.is_modified());
        })
        .await;
}

/// Adds a line in front, and keeps three.
fn add_line(line: &str) -> impl FnMut(&mut Vec<String>) + Send + 'static + use<> {
    let line = line.to_owned();
    move |lines| {
        lines.insert(0, line.clone());
        lines.truncate(3);
    }
}

#[tokio::test]
async fn updates_of_two_requests_are_both_stored() {
    let after = merged(
        json!({"lines": ["1", "2"]}),
        async |s| {
            let lines = s.update("lines", add_line("first")).unwrap();
            assert_eq!(lines, ["first", "1", "2"]);
        },
        async |s| {
            s.update("lines", add_line("second")).unwrap();
        },
    )
    .await;
    assert_eq!(after, json!({"lines": ["first", "second", "1"]}));
}

#[tokio::test]
async fn an_update_of_a_value_that_has_another_type_by_then_is_a_conflict() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let (status, _) = overlap(
        &browser,
        async |s| {
            s.put("other", true).unwrap();
            s.update("n", |n: &mut u64| *n += 1).unwrap();
        },
        async |s| s.put("n", "text").unwrap(),
    )
    .await;
    assert_eq!(status, 409);
    assert_eq!(data(&mut browser.clone()).await, json!({"n": "text"}));
    let visit = browser.clone();
    let mut other = browser.clone();
    visit
        .clone()
        .visit(async |s| {
            s.put("n", 1).unwrap();
            s.commit().await.unwrap();
            s.update("n", |n: &mut u64| *n += 1).unwrap();
            other.visit(async |s| s.put("n", "text").unwrap()).await;
            let error = s.commit().await.unwrap_err();
            let SessionError::Conflict { path, reason } = error else {
                panic!("{error:?}");
            };
            assert_eq!(&*path, "n");
            assert!(
                matches!(reason, ConflictReason::Edit(EditError::WrongType { .. })),
                "{reason:?}"
            );
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_of_two_processes_add_up_and_run_on_the_task_of_their_request() {
    let store = MemoryStore::new();
    let engines = [(); 2].map(|()| Sessions::new(config(), store.clone()).unwrap());
    let mut browser = Browser::new(&engines[0]);
    browser.visit(async |s| s.put("n", 0)).await.unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let tasks = (0..200).map(|number: usize| {
        let runs = Arc::clone(&runs);
        let update = move |session: &Session| {
            let (runs, own) = (Arc::clone(&runs), tokio::task::id());
            let count = move |n: &mut u64| {
                assert_eq!(tokio::task::id(), own);
                runs.fetch_add(1, Relaxed);
                *n += 1;
            };
            session.update("n", count).unwrap();
            session.increment("m").unwrap();
        };
        tokio::spawn(change(
            engines[number % 2].clone(),
            browser.jar.clone(),
            update,
        ))
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), 200);
    }
    assert_eq!(data(&mut browser).await, json!({"n": 200, "m": 200}));
    // Each function runs once in its request, and again in each attempt that meets a newer record. The threads
    // decide how many attempts do.
    assert!(runs.load(Relaxed) >= 200);
}

#[tokio::test]
async fn an_update_that_panics_harms_no_other_request() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let (mut bad, mut good) = (browser.clone(), browser.clone());
    let request = async move {
        bad.request(async |s| {
            s.load().await.unwrap();
            let mut runs = 0;
            s.update("n", move |n: &mut u64| {
                runs += 1;
                assert_eq!(runs, 1, "the second attempt panics");
                *n += 100;
            })
            .unwrap();
            good.visit(async |s| s.increment("n").unwrap()).await;
        })
        .await
        .status
    };
    let local = tokio::task::LocalSet::new();
    let panicked = local
        .run_until(async { tokio::task::spawn_local(request).await })
        .await;
    assert!(panicked.unwrap_err().is_panic());
    browser
        .clone()
        .visit(async |s| s.update("n", |n: &mut u64| *n += 1).map(drop))
        .await
        .unwrap();
    assert_eq!(data(&mut browser.clone()).await, json!({"n": 3}));
}

#[tokio::test]
async fn an_update_may_use_the_session() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1, "step": 10})).await;
    let mut other = browser.clone();
    browser
        .clone()
        .visit(async |s| {
            let session = s.clone();
            let add_step = move |n: &mut u64| *n += session.get_or("step", 0).unwrap();
            s.update("n", add_step.clone()).unwrap();
            other.visit(async |s| s.increment("n").unwrap()).await;
            // The update runs again in the commit, and once more on its result for what follows.
            let (committed, ()) = tokio::join!(s.commit(), async {
                s.update("n", add_step).unwrap();
            });
            committed.unwrap();
        })
        .await;
    assert_eq!(
        data(&mut browser.clone()).await,
        json!({"n": 22, "step": 10})
    );
}

/// Without the lock, while the explicit commit makes the merged session the session of the request.
#[tokio::test]
async fn a_change_that_an_update_makes_when_it_runs_again_is_stored() {
    for is_replaced in [false, true] {
        let server = test_server(config());
        let browser = visitor(&server, json!({"n": 1})).await;
        let (mut ours, mut theirs) = (browser.clone(), browser.clone());
        let gate = server.store.hold(Call::Write);
        ours.visit(async |s| {
            s.put("first", 1).unwrap();
            let (committed, ()) = tokio::join!(s.commit(), async {
                gate.reached().await;
                let (session, mut runs) = (s.clone(), 0);
                s.update("n", move |n: &mut u64| {
                    runs += 1;
                    if runs == 2 {
                        session.put("late", 1).unwrap();
                    }
                    *n += 1;
                })
                .unwrap();
                if is_replaced {
                    s.put("late", 0).unwrap();
                }
                theirs.visit(async |s| s.put("theirs", 1)).await.unwrap();
                gate.open();
            });
            committed.unwrap();
        })
        .await;
        let expected = json!({"n": 2, "first": 1, "theirs": 1, "late": 1});
        assert_eq!(data(&mut browser.clone()).await, expected, "{is_replaced}");
    }
}

/// The record disappears while the commit that updates it has its turn.
#[tokio::test]
async fn an_update_of_a_record_that_is_gone_begins_only_a_session_that_was_never_stored() {
    for was_stored in [true, false] {
        let server = test_server(config());
        let mut browser = server.browser();
        match was_stored {
            true => browser.visit(async |s| s.put("n", 1)).await.unwrap(),
            false => drop(browser.pass().await),
        }
        let key = browser.visit(async |s| s.store_key()).await.unwrap();
        let (mut ours, mut theirs) = (browser.clone(), browser.clone());
        ours.visit(async |s| {
            s.update("n", |n: &mut u64| *n += 1).unwrap();
            theirs.visit(async |s| s.put("theirs", 1)).await.unwrap();
            let turn = server.store.hold(Call::Read);
            let (committed, ()) = tokio::join!(s.commit(), async {
                turn.reached().await;
                server.memory.destroy(&key).await.unwrap();
                server.advance(Duration::from_secs(3600));
                server.memory.sweep();
                turn.open();
            });
            committed.unwrap();
        })
        .await;
        let dropped = server.events.with_name("write_dropped").len();
        assert_eq!(dropped, usize::from(was_stored));
        let expected = if was_stored {
            json!({})
        } else {
            json!({"n": 1})
        };
        assert_eq!(data(&mut ours).await, expected, "{was_stored}");
    }
}

#[tokio::test]
async fn updates_follow_a_new_id_and_end_with_the_session() {
    let add = |s: &Session| s.update("n", |n: &mut u64| *n += 1).map(drop);
    for rotates in [true, false] {
        let server = test_server(config());
        let browser = visitor(&server, json!({"n": 1})).await;
        let mut mover = browser.clone();
        let mut outer = browser.clone();
        outer
            .request(async |s| {
                s.load().await.unwrap();
                add(&s).unwrap();
                mover
                    .visit(async |s| match rotates {
                        true => s.rotate_id(Duration::from_secs(30)),
                        false => s.regenerate(),
                    })
                    .await
                    .unwrap();
            })
            .await;
        let after = data(&mut mover).await;
        let expected = if rotates { 2 } else { 1 };
        assert_eq!(after, json!({"n": expected}), "rotates: {rotates}");
    }
}

#[tokio::test]
async fn a_regeneration_runs_its_updates_on_the_newest_record() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let (mut mover, mut other) = (browser.clone(), browser.clone());
    mover
        .request(async |s| {
            s.load().await.unwrap();
            s.update("n", |n: &mut u64| *n *= 10).unwrap();
            s.regenerate().unwrap();
            other.visit(async |s| s.increment("n").unwrap()).await;
        })
        .await;
    assert_eq!(data(&mut mover).await, json!({"n": 20}));
}
