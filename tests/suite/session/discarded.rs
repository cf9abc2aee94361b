//! Changes that tasks make during an explicit commit that is refused.

use std::time::Duration;

use hyper_session::{
    Session, SessionConfig, SessionError,
    patch::ChangeLimits,
    session::{OnConflict, OnStoreFailure, Typed},
};
use serde_json::json;

use super::conflicts::visitor;
use crate::support::{Browser, Call, TestServer, config, data, test_server};

type Change = fn(&Session) -> Result<(), SessionError>;

/// The kinds of changes.
const CHANGES: [Change; 4] = [
    |s| s.put("late", 1),
    |s| s.flash("late", 1),
    |s| s.tag("late"),
    |s| s.set_max_age(Duration::from_secs(7200)),
];

/// Starts a server with a session. Returns it with the visitor's browser for each of two requests.
async fn begin(config: SessionConfig) -> (TestServer, Browser, Browser) {
    let server = test_server(config);
    let browser = visitor(&server, json!({"n": 1})).await;
    (server, browser.clone(), browser)
}

/// Increments `n` and commits. During the commit, another task makes the change `late` with its handle, and another
/// request stores a text in `n`.
async fn refuse(
    server: &TestServer,
    other: &mut Browser,
    session: &Session,
    (task, late): (&Session, Change),
) {
    let gate = server.store.hold(Call::Write);
    session.load().await.unwrap().increment("n").unwrap();
    let (refused, ()) = tokio::join!(session.commit(), async {
        gate.reached().await;
        late(task).unwrap();
        other.visit(async |s| s.put("n", "text")).await.unwrap();
        gate.open();
    });
    assert!(refused.unwrap_err().is_conflict());
}

fn assert_conflict(result: Result<(), SessionError>) {
    let error = result.unwrap_err();
    assert!(error.is_conflict(), "{error}");
}

/// Loads of the task whose commit was refused.
#[derive(Clone, Copy, Debug)]
enum Reload {
    None,
    Write,
    ReadOnly,
    Fails,
    Unavailable,
}

impl Reload {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Write,
        Self::ReadOnly,
        Self::Fails,
        Self::Unavailable,
    ];

    async fn run(self, server: &TestServer, session: &Session) {
        if matches!(self, Self::Fails | Self::Unavailable) {
            server.store.fail(Call::Read);
        }
        match self {
            Self::None => {}
            Self::Write => drop(session.load().await.unwrap()),
            Self::ReadOnly | Self::Unavailable => drop(session.load_read_only().await.unwrap()),
            Self::Fails => drop(session.load().await.unwrap_err()),
        }
    }

    fn config(self) -> SessionConfig {
        let policy = match self {
            Self::Unavailable => OnStoreFailure::ReadOnly,
            _ => OnStoreFailure::Unavailable,
        };
        config().on_store_failure(policy)
    }
}

/// The next commit of the handle fails, or its next change.
#[tokio::test]
async fn discarded_changes_are_reported_to_their_handle_once() {
    for late in CHANGES {
        for reload in Reload::ALL {
            let (server, mut browser, mut other) = begin(reload.config()).await;
            let visit = browser.request(async |s| {
                let task = s.clone();
                refuse(&server, &mut other, &s, (&task, late)).await;
                let dropped = server.events.with_name("write_dropped");
                assert_eq!(dropped.len(), 1, "{reload:?}");
                reload.run(&server, &s).await;
                assert_conflict(task.commit().await);
                if !matches!(reload, Reload::Fails | Reload::Unavailable) {
                    task.load().await.unwrap().put("again", 1).unwrap();
                    task.commit().await.unwrap();
                }
            });
            let status = visit.await.status.as_u16();
            let fails = matches!(reload, Reload::Fails);
            assert_eq!(status, if fails { 503 } else { 200 }, "{reload:?}");
            let expected = match reload {
                Reload::Fails | Reload::Unavailable => json!({"n": "text"}),
                _ => json!({"n": "text", "again": 1}),
            };
            assert_eq!(data(&mut browser).await, expected, "{reload:?}");
        }
        for change in CHANGES {
            let (server, mut browser, mut other) = begin(config()).await;
            let visit = browser.request(async |s| {
                let task = s.clone();
                refuse(&server, &mut other, &s, (&task, late)).await;
                task.load().await.unwrap();
                assert_conflict(change(&task));
                change(&task).unwrap();
                task.commit().await.unwrap();
            });
            assert_eq!(visit.await.status, 200);
        }
    }
}

/// The retry of the task whose commit was refused has its own handle.
#[tokio::test]
async fn a_retry_succeeds_and_the_other_handle_gets_the_error() {
    for late in CHANGES {
        let (server, mut browser, mut other) = begin(config()).await;
        let visit = browser.request(async |s| {
            let task = s.clone();
            refuse(&server, &mut other, &s, (&task, late)).await;
            let session = s.load().await.unwrap();
            session.regenerate().unwrap();
            session.put("again", 1).unwrap();
            s.commit().await.unwrap();
            assert_conflict(task.commit().await);
            task.commit().await.unwrap();
        });
        assert_eq!(visit.await.status, 200);
        let expected = json!({"n": "text", "again": 1});
        assert_eq!(data(&mut browser).await, expected);
    }
}

/// One handle cannot tell its tasks apart.
#[tokio::test]
async fn two_tasks_of_one_handle_get_one_error() {
    for late in CHANGES {
        let (server, mut browser, mut other) = begin(config()).await;
        let visit = browser.request(async |s| {
            refuse(&server, &mut other, &s, (&s, late)).await;
            s.load().await.unwrap();
            assert_conflict(s.commit().await);
            s.put("again", 1).unwrap();
            s.commit().await.unwrap();
        });
        assert_eq!(visit.await.status, 200);
        let expected = json!({"n": "text", "again": 1});
        assert_eq!(data(&mut browser).await, expected);
    }
}

/// The refused commit was to store the change of another handle too.
#[tokio::test]
async fn a_change_before_a_refused_commit_is_not_acknowledged() {
    for early in CHANGES {
        let (server, mut browser, mut other) = begin(config()).await;
        let visit = browser.request(async |s| {
            let task = s.clone();
            early(task.load().await.unwrap()).unwrap();
            refuse(&server, &mut other, &s, (&s, |_| Ok(()))).await;
            s.load().await.unwrap().put("again", 1).unwrap();
            s.commit().await.unwrap();
            assert_conflict(task.commit().await);
        });
        assert_eq!(visit.await.status, 200);
        let expected = json!({"n": "text", "again": 1});
        assert_eq!(data(&mut browser).await, expected);
    }
}

#[tokio::test]
async fn a_change_that_an_earlier_commit_stored_is_acknowledged() {
    let (server, mut browser, mut other) = begin(config()).await;
    let visit = browser.request(async |s| {
        let task = s.clone();
        task.load().await.unwrap().put("stored", 1).unwrap();
        s.commit().await.unwrap();
        refuse(&server, &mut other, &s, (&s, |_| Ok(()))).await;
        task.commit().await.unwrap_err();
        s.load().await.unwrap();
        task.commit().await.unwrap();
        task.put("again", 1).unwrap();
    });
    assert_eq!(visit.await.status, 200);
    let expected = json!({"n": "text", "stored": 1, "again": 1});
    assert_eq!(data(&mut browser).await, expected);
}

/// A commit that stored nothing has put its changes back. Then the commit of another handle, which was to store them
/// too, is refused.
#[tokio::test]
async fn changes_of_a_commit_that_can_be_repeated_are_not_acknowledged() {
    let limits = ChangeLimits::default().document(1 << 10);
    let (server, mut browser, mut other) = begin(config().limits(limits)).await;
    let visit = browser.request(async |s| {
        s.load()
            .await
            .unwrap()
            .put("ours", "x".repeat(600))
            .unwrap();
        let big = async |s: &Session| s.put("theirs", "x".repeat(600));
        other.visit(big).await.unwrap();
        assert!(s.commit().await.unwrap_err().is_too_large());
        let small = async |s: &Session| s.put("theirs", 1);
        other.visit(small).await.unwrap();
        let task = s.clone();
        refuse(&server, &mut other, &task, (&task, |_| Ok(()))).await;
        task.load().await.unwrap();
        assert_conflict(s.commit().await);
    });
    assert_eq!(visit.await.status, 200);
    let expected = json!({"n": "text", "theirs": 1});
    assert_eq!(data(&mut browser).await, expected);
}

#[tokio::test]
async fn a_commit_that_was_created_before_the_change_reports_it() {
    let (server, mut browser, mut other) = begin(config()).await;
    let visit = browser.request(async |s| {
        let task = s.clone();
        let commit = task.load().await.unwrap().commit();
        task.put("early", 1).unwrap();
        refuse(&server, &mut other, &s, (&s, |_| Ok(()))).await;
        s.load().await.unwrap();
        assert_conflict(commit.await);
        task.put("again", 1).unwrap();
    });
    assert_eq!(visit.await.status, 200);
    let expected = json!({"n": "text", "again": 1});
    assert_eq!(data(&mut browser).await, expected);
}

/// The typed session is the same handle.
#[tokio::test]
async fn a_change_of_a_typed_session_is_reported_to_its_session() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Early {
        early: Option<u32>,
    }
    let (server, mut browser, mut other) = begin(config()).await;
    let visit = browser.request(async |s| {
        let task = s.clone();
        let mut typed = Typed::<Early>::load(&task).await.unwrap();
        typed.update(|it| it.early = Some(1)).unwrap();
        refuse(&server, &mut other, &s, (&s, |_| Ok(()))).await;
        s.load().await.unwrap();
        assert_conflict(task.commit().await);
        typed.update(|it| it.early = Some(2)).unwrap();
    });
    assert_eq!(visit.await.status, 200);
    let expected = json!({"n": "text", "early": 2});
    assert_eq!(data(&mut browser).await, expected);
}

/// There is nothing to report.
#[tokio::test]
async fn attempts_that_change_nothing_are_not_discarded() {
    let attempts: [Change; 4] = [
        |s| s.pull::<u32>("missing").map(drop),
        |s| s.reflash(),
        |s| {
            s.put("n", f64::NAN).unwrap_err();
            Ok(())
        },
        |s| s.update_all(|_: &mut serde_json::Value| {}).map(drop),
    ];
    for attempt in attempts {
        let (server, mut browser, mut other) = begin(config()).await;
        let visit = browser.request(async |s| {
            let task = s.clone();
            refuse(&server, &mut other, &s, (&task, attempt)).await;
            s.load().await.unwrap().put("again", 1).unwrap();
        });
        assert_eq!(visit.await.status, 200);
    }
}

/// The handler does not know that the commit of its task was refused.
#[tokio::test]
async fn without_another_commit_of_the_handle_the_response_fails() {
    for reload in Reload::ALL {
        for late in CHANGES {
            let (server, mut browser, mut other) = begin(reload.config()).await;
            let visit = browser.request(async |s| {
                let task = s.clone();
                refuse(&server, &mut other, &s, (&task, late)).await;
                reload.run(&server, &s).await;
                drop(task);
                s
            });
            let visit = visit.await;
            let status = match reload {
                Reload::Fails => 503,
                _ => 409,
            };
            assert_eq!(visit.status, status, "{reload:?}");
            if let Some(session) = visit.value
                && !matches!(reload, Reload::ReadOnly | Reload::Unavailable)
            {
                session.commit().await.unwrap_err();
            }
            assert_eq!(data(&mut browser).await, json!({"n": "text"}), "{reload:?}");
        }
    }
}

/// The policy is to drop changes that do not fit.
#[tokio::test]
async fn a_policy_to_drop_changes_drops_those_only() {
    let (server, mut browser, mut other) = begin(config().on_conflict(OnConflict::DropWrite)).await;
    let visit = browser.request(async |s| {
        let task = s.clone();
        refuse(&server, &mut other, &s, (&task, CHANGES[0])).await;
        s.load().await.unwrap().put("again", 1).unwrap();
    });
    assert_eq!(visit.await.status, 200);
    let expected = json!({"n": "text", "again": 1});
    assert_eq!(data(&mut browser).await, expected);
}

/// A load of another task has read that there is no session. Then a commit has stored one, and another was refused.
#[tokio::test]
async fn a_load_that_is_older_than_a_refused_commit_reads_again() {
    let server = test_server(config());
    let mut browser = server.browser();
    // The cookie of a session that was never stored.
    browser.visit(async |s| drop(s.csrf_token())).await;
    let mut other = browser.clone();
    let visit = browser.request(async |s| {
        let gate = server.store.hold_answer(Call::Read);
        let task = s.clone();
        let (old, ()) = tokio::join!(task.load(), async {
            gate.reached().await;
            s.load().await.unwrap().put("n", 1).unwrap();
            s.commit().await.unwrap();
            refuse(&server, &mut other, &s, (&s, |_| Ok(()))).await;
            other.visit(async |s| s.put("n", 7)).await.unwrap();
            gate.open();
        });
        assert_eq!(old.unwrap().get("n").unwrap(), Some(7));
    });
    assert_eq!(visit.await.status, 200);
    assert_eq!(data(&mut browser).await, json!({"n": 7}));
}

#[tokio::test]
async fn a_refused_commit_beside_no_change_fails_alone() {
    let (server, mut browser, mut other) = begin(config()).await;
    browser
        .visit(async |s| {
            refuse(&server, &mut other, s, (s, |_| Ok(()))).await;
            s.load().await.unwrap().put("again", 1).unwrap();
            s.commit().await.unwrap();
        })
        .await;
    assert_eq!(server.events.with_name("write_dropped"), []);
}

/// The discarded changes would have been destroyed too.
#[tokio::test]
async fn a_destroy_after_a_refused_commit_succeeds() {
    let (server, mut browser, mut other) = begin(config()).await;
    browser
        .visit(async |s| {
            let task = s.clone();
            refuse(&server, &mut other, s, (&task, CHANGES[0])).await;
            s.load().await.unwrap().destroy().unwrap();
            task.commit().await.unwrap();
        })
        .await;
    assert_eq!(data(&mut other).await, json!({}));
}
