//! A session gets a new id while other requests use it.

use std::time::Duration;

use hyper_session::{
    Session, SessionError,
    id::StoreKey,
    session::ContentionReason,
    store::{Capabilities, Expected, ReadOutcome, Store, StoreFuture, WriteOutcome, WriteRequest},
};
use serde_json::{Value, json};

use crate::support::{
    Browser, Call, GateStore, RetryingStore, TestServer, config, data, object, test_server,
};

pub(super) async fn ada(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser
        .visit(async |s| {
            s.put("n", 1)?;
            s.tag("ada")
        })
        .await
        .unwrap();
    server.events.clear();
    browser
}

async fn tagged(server: &TestServer) -> Vec<StoreKey> {
    server.sessions.collection().tagged("ada").await.unwrap()
}

#[tokio::test]
async fn a_write_that_commits_before_the_move_is_in_the_new_session() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    let mut other = browser.clone();
    browser
        .visit(async |s| {
            other.visit(async |s| s.increment("n")).await.unwrap();
            s.regenerate().unwrap();
        })
        .await;
    assert_eq!(data(&mut browser).await, json!({"n": 2}));
}

/// The steps of a regeneration between which another request can run: the write of the new record, and
/// the fence.
const STEPS: [(Call, usize); 2] = [(Call::Write, 0), (Call::Write, 1)];

#[tokio::test]
async fn a_write_that_commits_within_the_move_is_in_the_new_session() {
    for (call, nth) in STEPS {
        let server = test_server(config());
        let browser = ada(&server).await;
        let (mut mover, mut writer) = (browser.clone(), browser.clone());
        let gate = server.store.hold_nth(call, nth);
        tokio::join!(
            mover.visit(async |s| {
                s.regenerate().unwrap();
                s.put("mover", 1).unwrap();
                s.increment("n").unwrap();
            }),
            async {
                gate.reached().await;
                let write = async |s: &Session| {
                    s.increment("n").unwrap();
                    s.put("writer", 1).unwrap();
                };
                writer.visit(write).await;
                gate.open();
            }
        );
        let expected = json!({"n": 3, "mover": 1, "writer": 1});
        assert_eq!(data(&mut mover).await, expected, "{call:?} {nth}");
        assert_eq!(tagged(&server).await.len(), 1, "{call:?} {nth}");
        assert_eq!(server.events.with_name("write_dropped"), []);
        assert_eq!(server.events.with_name("migrated").len(), 1);
    }
}

#[tokio::test]
async fn a_message_left_within_the_move_is_in_the_new_session() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let (mut mover, mut writer) = (browser.clone(), browser.clone());
    let gate = server.store.hold(Call::Write);
    tokio::join!(mover.visit(async |s| s.regenerate().unwrap()), async {
        gate.reached().await;
        writer.visit(async |s| s.flash("m", 1)).await.unwrap();
        gate.open();
    });
    let messages = async |s: &Session| s.flash_messages().unwrap().all::<Value>().unwrap();
    assert_eq!(mover.visit(messages).await, json!({"m": 1}));
}

#[tokio::test]
async fn a_slower_request_under_the_old_id_is_dropped_and_reported() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    let mut mover = browser.clone();
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap();
            mover.visit(async |s| s.regenerate()).await.unwrap();
            s.put("late", 1).unwrap();
        })
        .await;
    assert_eq!(visit.cookies(), [""; 0], "it must not undo the new cookie");
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
    assert_eq!(data(&mut mover).await, json!({"n": 1}));
}

#[tokio::test]
async fn the_old_id_opens_nothing_at_once_and_for_ever() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    let (mut thief, mut late_thief) = (browser.clone(), browser.clone());
    browser.visit(async |s| s.regenerate()).await.unwrap();
    let new = browser.visit(async |s| s.id()).await.unwrap();
    thief
        .visit(async |s| {
            assert_eq!(object(s), json!({}));
            assert!(s.id().unwrap() != new && s.is_fresh());
        })
        .await;
    server.advance(Duration::from_secs(600));
    late_thief
        .visit(async |s| {
            assert_eq!(object(s), json!({}));
            assert!(s.id().unwrap() != new && s.is_fresh());
        })
        .await;
}

#[tokio::test]
async fn a_write_slower_than_the_fence_reaches_nothing() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    let mut mover = browser.clone();
    browser
        .request(async |s| {
            s.load().await.unwrap();
            mover.visit(async |s| s.regenerate()).await.unwrap();
            server.advance(Duration::from_secs(600));
            s.put("late", 1).unwrap();
        })
        .await;
    server.memory.sweep();
    assert_eq!(server.memory.stats().records, 1);
}

#[tokio::test]
async fn two_moves_at_once_leave_one_session_with_its_tags() {
    for (call, nth) in STEPS {
        let server = test_server(config());
        let browser = ada(&server).await;
        let (mut first, mut second) = (browser.clone(), browser.clone());
        let gate = server.store.hold_nth(call, nth);
        tokio::join!(first.visit(async |s| s.regenerate().unwrap()), async {
            gate.reached().await;
            second.visit(async |s| s.regenerate().unwrap()).await;
            gate.open();
        });
        assert_eq!(
            server.events.with_name("migrated").len(),
            1,
            "{call:?} {nth}"
        );
        let (a, b) = (data(&mut first).await, data(&mut second).await);
        let live = [&a, &b].into_iter().filter(|it| **it == json!({"n": 1}));
        assert_eq!(live.count(), 1, "{call:?} {nth}: {a} {b}");
        assert_eq!(tagged(&server).await.len(), 1, "{call:?} {nth}");
        server.advance(Duration::from_secs(61));
        server.memory.sweep();
        assert_eq!(server.memory.stats().records, 1, "{call:?} {nth}");
    }
}

/// Both new records exist before one of the two writes its fence.
#[tokio::test]
async fn of_two_regenerations_at_once_one_keeps_the_tags() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let (mut winner, mut loser) = (browser.clone(), browser.clone());
    let first_fence = server.store.hold_nth(Call::Write, 1);
    let second_fence = server.store.hold_nth(Call::Write, 2);
    tokio::join!(
        winner.visit(async |s| s.regenerate().unwrap()),
        async {
            first_fence.reached().await;
            loser.visit(async |s| s.regenerate().unwrap()).await;
        },
        async {
            second_fence.reached().await;
            first_fence.open();
            while server.events.with_name("migrated").is_empty() {
                tokio::task::yield_now().await;
            }
            second_fence.open();
        }
    );
    assert_eq!(data(&mut winner).await, json!({"n": 1}));
    let key = winner.visit(async |s| s.store_key()).await.unwrap();
    assert_eq!(tagged(&server).await, [key]);
}

#[tokio::test]
async fn a_logout_within_the_move_ends_the_session_under_both_ids() {
    for (call, nth) in STEPS {
        let server = test_server(config());
        let browser = ada(&server).await;
        let (mut mover, mut quick) = (browser.clone(), browser.clone());
        let gate = server.store.hold_nth(call, nth);
        tokio::join!(mover.visit(async |s| s.regenerate().unwrap()), async {
            gate.reached().await;
            quick.visit(async |s| s.destroy()).await.unwrap();
            gate.open();
        });
        assert_eq!(server.memory.stats().records, 0, "{call:?} {nth}");
        assert_eq!(
            mover.cookie(),
            browser.cookie(),
            "only the logout removes it"
        );
        assert_eq!(data(&mut browser.clone()).await, json!({}));
    }
}

#[tokio::test]
async fn a_logout_everywhere_within_the_move_ends_the_session_under_both_ids() {
    for (call, nth) in STEPS {
        let server = test_server(config());
        let browser = ada(&server).await;
        let mut mover = browser.clone();
        let gate = server.store.hold_nth(call, nth);
        tokio::join!(mover.visit(async |s| s.regenerate().unwrap()), async {
            gate.reached().await;
            let all = server.sessions.collection();
            all.destroy_tagged("ada", None).await.unwrap();
            gate.open();
        });
        assert_eq!(data(&mut mover).await, json!({}), "{call:?} {nth}");
        assert_eq!(
            data(&mut browser.clone()).await,
            json!({}),
            "{call:?} {nth}"
        );
    }
}

/// A regeneration that stops half way, by a failure or because the client disconnects, must keep the
/// tags. The visitor still has the old id, and "log out everywhere" must destroy its session.
#[tokio::test]
async fn a_move_that_fails_half_way_does_not_shake_off_the_tags() {
    for (call, nth) in STEPS {
        let server = test_server(config());
        let browser = ada(&server).await;
        server.store.fail_nth(call, nth);
        let visit = browser
            .clone()
            .request(async |s| s.load().await.unwrap().regenerate().unwrap())
            .await;
        assert_eq!(visit.status, 503);
        server.store.clear_rules();
        let all = server.sessions.collection();
        all.destroy_tagged("ada", None).await.unwrap();
        assert_eq!(
            data(&mut browser.clone()).await,
            json!({}),
            "{call:?} {nth}"
        );
    }
}

#[tokio::test]
async fn a_move_whose_client_hangs_up_does_not_shake_off_the_tags() {
    for (call, nth) in STEPS {
        let server = test_server(config());
        let browser = ada(&server).await;
        let mut mover = browser.clone();
        let gate = server.store.hold_nth(call, nth);
        tokio::select! {
            () = mover.visit(async |s| s.regenerate().unwrap()) => panic!("the store waits"),
            () = gate.reached() => {}
        }
        let all = server.sessions.collection();
        all.destroy_tagged("ada", None).await.unwrap();
        assert_eq!(
            data(&mut browser.clone()).await,
            json!({}),
            "{call:?} {nth}"
        );
    }
}

#[tokio::test]
async fn tags_follow_the_new_id() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    browser.visit(async |s| s.regenerate()).await.unwrap();
    let key = browser.visit(async |s| s.store_key()).await.unwrap();
    assert_eq!(tagged(&server).await, [key]);
}

#[tokio::test]
async fn a_tag_that_is_taken_off_while_the_session_moves_does_not_come_back() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    browser
        .visit(async |s| {
            s.regenerate()?;
            s.untag("ada")?;
            s.tag("grace")
        })
        .await
        .unwrap();
    assert!(tagged(&server).await.is_empty());
    let all = server.sessions.collection();
    assert_eq!(all.tagged("grace").await.unwrap().len(), 1);
}

/// Signs in as the guide does, from a session that was never stored.
#[tokio::test]
async fn a_sign_in_in_the_first_stored_request_moves_to_a_new_id() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.pass().await;
    let (before, mut planted) = (
        browser.clone().visit(async |s| s.id()).await.unwrap(),
        browser.clone(),
    );
    browser
        .visit(async |s| {
            s.regenerate()?;
            s.put("user", "ada")
        })
        .await
        .unwrap();
    let after = browser.visit(async |s| s.id()).await.unwrap();
    assert!(before != after);
    assert_eq!(
        data(&mut planted).await,
        json!({}),
        "the planted id opens nothing"
    );
}

/// The session has a queue already, so the commit waits for its turn before its first write. The
/// request has loaded the newest record, so the fence then does not conflict.
#[tokio::test]
async fn an_explicit_commit_that_waits_for_its_turn_stores_all_its_changes() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let (mut first, mut winner, mut mover) = (browser.clone(), browser.clone(), browser.clone());
    let conflicting = server.store.hold_nth(Call::Write, 0);
    let batch = server.store.hold_answer_nth(Call::Write, 1);
    tokio::join!(first.visit(async |s| s.put("first", 1).unwrap()), async {
        conflicting.reached().await;
        winner.visit(async |s| s.put("winner", 1).unwrap()).await;
        conflicting.open();
        batch.reached().await;
        let moves = mover.visit(async |s| {
            s.put("mover", 1).unwrap();
            s.flash("notice", 1).unwrap();
            s.tag("mover").unwrap();
            s.regenerate().unwrap();
            s.commit().await.unwrap();
        });
        tokio::join!(moves, async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            batch.open();
        });
    });
    let notice = mover
        .visit(async |s| {
            let seen = object(s);
            for name in ["first", "winner", "mover"] {
                assert_eq!(seen[name], 1, "{seen}");
            }
            s.flash_messages().unwrap().get::<i32>("notice").unwrap()
        })
        .await;
    assert_eq!(notice, Some(1));
    let tagged = server.sessions.collection().tagged("mover").await.unwrap();
    assert_eq!(tagged.len(), 1);
}

/// The token belongs to a new id that was never used, because the session has ended.
#[tokio::test]
async fn a_regeneration_that_came_too_late_sends_no_cookie_for_its_csrf_token() {
    let server = test_server(config());
    let mut slow = ada(&server).await;
    let mut quick = slow.clone();
    let visit = slow
        .request(async |s| {
            s.load().await.unwrap().regenerate().unwrap();
            s.csrf_token().unwrap();
            quick.visit(async |s| s.regenerate()).await.unwrap();
        })
        .await;
    assert_eq!(visit.cookies(), [""; 0]);
}

#[tokio::test]
async fn a_csrf_token_of_an_id_that_proves_dead_sends_no_cookie() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    let mut copy = browser.clone();
    copy.visit(async |s| s.destroy()).await.unwrap();
    let visit = browser
        .request(async |s| {
            s.csrf_token().unwrap();
            s.load().await.unwrap();
        })
        .await;
    assert_eq!(visit.cookies(), [""; 0]);
}

#[tokio::test]
async fn a_regeneration_whose_roll_back_fails_is_an_error() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let (mut mover, mut quick) = (browser.clone(), browser.clone());
    let fence = server.store.hold_nth(Call::Write, 1);
    let regenerate = mover.request(async |s| s.load().await.unwrap().regenerate().unwrap());
    let (visit, ()) = tokio::join!(regenerate, async {
        fence.reached().await;
        quick.visit(async |s| s.destroy()).await.unwrap();
        server.store.fail(Call::Destroy);
        fence.open();
    });
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 0));
}

/// A memory store that has no versions.
pub(super) struct UnversionedStore(pub(super) GateStore);

impl Store for UnversionedStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.0.read(key, touch)
    }

    fn write(&self, mut request: WriteRequest) -> StoreFuture<WriteOutcome> {
        request.expected = Expected::Any;
        self.0.write(request)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.0.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.0.touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities().conditional_writes(false)
    }
}

#[tokio::test]
async fn without_versions_a_regeneration_that_cannot_destroy_the_old_record_is_an_error() {
    let server = test_server(config());
    let sessions = server.with_store(UnversionedStore(server.store.clone()));
    let mut browser = ada(&server).await.with_sessions(&sessions);
    server.store.fail(Call::Destroy);
    let visit = browser.request(async |s| s.load().await.unwrap().regenerate().unwrap());
    let visit = visit.await;
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 0));
    browser.visit(async |s| s.regenerate()).await.unwrap();
    assert_eq!(data(&mut browser).await, json!({"n": 1}));
}

/// The store conflicts with its own record of the new id. The old id must not stay alive beside the new one.
#[tokio::test]
async fn a_store_that_does_not_recognize_its_own_write_gives_no_new_id() {
    let server = test_server(config());
    let store = RetryingStore::new(server.memory.clone());
    let mut browser = Browser::new(&server.with_store(store.clone()));
    for commits in [false, true] {
        browser.visit(async |s| s.put("n", 1)).await.unwrap();
        let sign_in = async |s: Session| {
            let session = s.load().await.unwrap();
            session.put("user", "ada").unwrap();
            session.increment("n").unwrap();
            session.regenerate().unwrap();
            store.lose_answer();
            if commits {
                let error = s.commit().await.unwrap_err();
                let expected = ContentionReason::NewRecord;
                assert!(matches!(error, SessionError::Contention(it) if it == expected));
            }
        };
        let visit = browser.clone().request(sign_in).await;
        assert_eq!(
            (visit.status.as_u16(), visit.cookies().len()),
            (503, 0),
            "{commits}"
        );
        assert_eq!(data(&mut browser).await, json!({"n": 1}), "{commits}");
    }
}
