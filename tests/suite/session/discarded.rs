//! Changes that tasks make during an explicit commit that is refused.

use std::time::Duration;

use hyper_session::{Session, SessionError, session::OnStoreFailure};
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

/// Increments `n` and commits. During the commit another task makes the change `late`, and another request stores a
/// text in `n`.
async fn refuse(server: &TestServer, other: &mut Browser, session: &Session, late: Change) {
    let gate = server.store.hold(Call::Write);
    session.load().await.unwrap().increment("n").unwrap();
    let (refused, ()) = tokio::join!(session.commit(), async {
        gate.reached().await;
        late(session).unwrap();
        other.visit(async |s| s.put("n", "text")).await.unwrap();
        gate.open();
    });
    assert!(refused.unwrap_err().is_conflict());
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
            Self::Write => session.load().await.unwrap().put("ours", 1).unwrap(),
            Self::ReadOnly | Self::Unavailable => drop(session.load_read_only().await.unwrap()),
            Self::Fails => drop(session.load().await.unwrap_err()),
        }
    }

    fn server(self) -> TestServer {
        let policy = match self {
            Self::Unavailable => OnStoreFailure::ReadOnly,
            _ => OnStoreFailure::Unavailable,
        };
        test_server(config().on_store_failure(policy))
    }
}

#[tokio::test]
async fn the_next_explicit_commit_fails_too() {
    for reload in Reload::ALL {
        for late in CHANGES {
            let server = reload.server();
            let mut browser = visitor(&server, json!({"n": 1})).await;
            let mut other = browser.clone();
            let visit = browser.request(async |s| {
                refuse(&server, &mut other, &s, late).await;
                let dropped = server.events.with_name("write_dropped");
                assert_eq!(dropped.len(), 1, "{reload:?}");
                reload.run(&server, &s).await;
                let refused = s.commit().await.unwrap_err();
                assert!(refused.is_conflict(), "{reload:?}: {refused}");
                if !matches!(reload, Reload::Fails | Reload::Unavailable) {
                    s.load().await.unwrap().put("again", 1).unwrap();
                    s.commit().await.unwrap();
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
    }
}

/// The handler does not know that the commit of its task was refused.
#[tokio::test]
async fn without_another_commit_the_response_fails() {
    for reload in Reload::ALL {
        for late in CHANGES {
            let server = reload.server();
            let mut browser = visitor(&server, json!({"n": 1})).await;
            let mut other = browser.clone();
            let visit = browser.request(async |s| {
                refuse(&server, &mut other, &s, late).await;
                reload.run(&server, &s).await;
                s
            });
            let visit = visit.await;
            let status = match reload {
                Reload::Fails => 503,
                _ => 409,
            };
            assert_eq!(visit.status, status, "{reload:?}");
            if let Some(session) = visit.value {
                session.commit().await.unwrap_err();
            }
            assert_eq!(data(&mut browser).await, json!({"n": "text"}), "{reload:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_commit_beside_no_change_fails_alone() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let mut other = browser.clone();
    browser
        .visit(async |s| {
            refuse(&server, &mut other, s, |_| Ok(())).await;
            s.load().await.unwrap().put("again", 1).unwrap();
            s.commit().await.unwrap();
        })
        .await;
    assert_eq!(server.events.with_name("write_dropped"), []);
}

/// The discarded changes would have been destroyed too.
#[tokio::test]
async fn a_destroy_after_a_refused_commit_succeeds() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let mut other = browser.clone();
    browser
        .visit(async |s| {
            refuse(&server, &mut other, s, CHANGES[0]).await;
            s.load().await.unwrap().destroy().unwrap();
            s.commit().await.unwrap();
        })
        .await;
    assert_eq!(data(&mut other).await, json!({}));
}
