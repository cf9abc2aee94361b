//! Jobs that find the record of a new id before the session has that id. The record is stored, and the fence has
//! not yet replaced the record under the old id.

use std::{cell::Cell, time::Duration};

use hyper_session::{
    Session, SessionCollection, SessionError,
    id::StoreKey,
    session::ContentionReason,
    store::{Expected, Expiry, ReadOutcome, Store, WriteRequest},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::tag_races::tagged;
use crate::support::{Browser, Call, TestServer, config, data, test_server};

pub(super) const GRACE: Duration = Duration::from_secs(30);

const HOUR: Duration = Duration::from_secs(3600);

/// Longer than a fence or a tombstone lives, and than a collection looks for a fence.
pub(super) const FENCE_END: Duration = Duration::from_secs(80);

/// A sign-in that gives the session a new id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// The session was stored before, without a tag.
    pub(super) is_stored: bool,
    pub(super) is_rotation: bool,
    /// Another request writes the session under the old id, so the record of the new id is written again.
    pub(super) has_writer: bool,
    /// The request commits the sign-in, and then changes the session again.
    pub(super) commits: bool,
}

/// The values that the sign-in stores.
#[derive(Serialize, Deserialize)]
struct Account {
    user: String,
    balance: i64,
}

pub(super) fn cases() -> impl Iterator<Item = Case> {
    (0..16).map(|bits| Case {
        is_stored: bits & 1 != 0,
        is_rotation: bits & 2 != 0,
        has_writer: bits & 4 != 0,
        commits: bits & 8 != 0,
    })
}

impl Case {
    pub(super) async fn visitor(self, server: &TestServer) -> Browser {
        let mut browser = server.browser();
        if self.is_stored {
            browser.visit(async |s| s.put("first", 1)).await.unwrap();
        }
        browser.pass().await;
        browser
    }

    pub(super) fn sign_in(self, session: &Session) -> Result<StoreKey, SessionError> {
        session.put("user", "ada")?;
        session.put("balance", 100)?;
        session.tag("ada")?;
        match self.is_rotation {
            true => session.rotate_id(GRACE)?,
            false => session.regenerate()?,
        }
        session.store_key()
    }

    /// Runs `job` with the new key. The fence is written when the job has ended or, if it `waits`, when the job
    /// has read both records. Returns the new key.
    pub(super) async fn run(
        self,
        server: &TestServer,
        browser: &mut Browser,
        waits: bool,
        job: impl AsyncFnOnce(SessionCollection, StoreKey),
    ) -> StoreKey {
        let mut writer = browser.clone();
        let new = Cell::new(None);
        let fence = server.store.hold_nth(Call::Write, 1);
        let renewal = browser.visit(async |s| {
            new.set(Some(self.sign_in(s).unwrap()));
            if self.commits {
                s.commit().await.unwrap();
                s.increment("later").unwrap();
            }
        });
        tokio::join!(renewal, async {
            fence.reached().await;
            if self.has_writer {
                writer.visit(async |s| s.increment("n")).await.unwrap();
            }
            server.store.calls();
            let job = job(server.sessions.collection(), new.get().unwrap());
            let open = async {
                if waits {
                    wait_for_reads(server, 2).await;
                    fence.open();
                }
            };
            tokio::join!(job, open);
            fence.open();
        });
        new.get().unwrap()
    }

    /// Returns the data of the session, with these values.
    pub(super) fn data(self, others: Value) -> Value {
        let mut data = Map::from_iter([("user".to_owned(), json!("ada"))]);
        data.insert("balance".to_owned(), json!(100));
        data.extend(self.is_stored.then(|| ("first".to_owned(), json!(1))));
        data.extend(self.commits.then(|| ("later".to_owned(), json!(1))));
        data.extend(self.has_writer.then(|| ("n".to_owned(), json!(1))));
        data.extend(others.as_object().unwrap().clone());
        data.into()
    }
}

/// Waits until the store was asked for this number of records. Fails if it is not, because the job does not wait.
async fn wait_for_reads(server: &TestServer, number: usize) {
    let mut reads = 0;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        let calls = server.store.calls();
        reads += calls.iter().filter(|call| **call == Call::Read).count();
        if reads >= number {
            return;
        }
    }
    panic!("{reads} reads");
}

pub(super) async fn add(all: &SessionCollection, key: &StoreKey, path: &str) -> Option<i64> {
    let add = |number: &mut i64| *number += 10;
    all.update(key, path, add).await.unwrap()
}

pub(super) async fn listed(all: &SessionCollection) -> Vec<StoreKey> {
    let sessions = all.list("ada", &[]).await.unwrap();
    sessions.iter().map(|info| *info.key()).collect()
}

fn is_waiting_for_new_id<T>(result: Result<T, SessionError>) -> bool {
    let error = result.err();
    matches!(
        error,
        Some(SessionError::Contention(ContentionReason::NewId { .. }))
    )
}

#[tokio::test]
async fn an_update_sees_what_the_sign_in_stores_and_stays() {
    for case in cases() {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let job = async |all: SessionCollection, new| {
            assert_eq!(add(&all, &new, "balance").await, Some(110), "{case:?}");
        };
        case.run(&server, &mut browser, true, job).await;
        let expected = case.data(json!({"balance": 110}));
        assert_eq!(data(&mut browser).await, expected, "{case:?}");
        assert_eq!(server.events.with_name("write_dropped"), [], "{case:?}");
    }
}

#[tokio::test]
async fn an_update_of_all_fields_sees_what_the_sign_in_stores_and_stays() {
    for case in cases() {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let job = async |all: SessionCollection, new| {
            let update = |account: &mut Account| account.balance += 10;
            let updated = all.update_all(&new, update).await.unwrap();
            assert_eq!(updated.unwrap().balance, 110, "{case:?}");
        };
        case.run(&server, &mut browser, true, job).await;
        let expected = case.data(json!({"balance": 110}));
        assert_eq!(data(&mut browser).await, expected, "{case:?}");
    }
}

#[tokio::test]
async fn a_tag_and_an_untag_of_the_tag_that_the_sign_in_adds_stay() {
    for case in cases() {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let job = async |all: SessionCollection, new| {
            all.untag(&new, "ada").await.unwrap();
            assert!(all.tag(&new, "team").await.unwrap(), "{case:?}");
        };
        let new = case.run(&server, &mut browser, true, job).await;
        assert_eq!(data(&mut browser).await, case.data(json!({})), "{case:?}");
        assert_eq!(tagged(&server, "team").await, [new], "{case:?}");
        assert_eq!(tagged(&server, "ada").await, [], "{case:?}");
    }
}

#[tokio::test]
async fn the_end_of_the_new_record_is_the_end_of_the_session() {
    for case in cases().filter(|case| !case.commits) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let mut late = browser.clone();
        let old = browser.visit(async |s| s.store_key()).await.unwrap();
        let job = async |all: SessionCollection, new| all.destroy(&new).await.unwrap();
        let new = case.run(&server, &mut browser, false, job).await;
        if case.has_writer {
            let destroyed = server.events.with_name("destroyed");
            let destroyed: Vec<_> = destroyed.into_iter().flat_map(|it| it.keys).collect();
            assert_eq!(destroyed, [new, old], "{case:?}");
        }
        for visitor in [&mut browser, &mut late] {
            assert_eq!(data(visitor).await, json!({}), "{case:?}");
        }
        assert_eq!(tagged(&server, "ada").await, [], "{case:?}");
    }
}

/// The rotation is not needed after another one, so its changes would be stored under the other new id.
#[tokio::test]
async fn the_end_of_the_new_record_beside_another_rotation_is_the_end_of_the_session() {
    for case in cases().filter(|case| case.is_rotation && case.is_stored && !case.commits) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let mut other = browser.clone();
        let job = async |all: SessionCollection, new| {
            other.visit(async |s| s.rotate_id(GRACE)).await.unwrap();
            all.destroy(&new).await.unwrap();
        };
        case.run(&server, &mut browser, false, job).await;
        for visitor in [&mut browser, &mut other] {
            assert_eq!(data(visitor).await, json!({}), "{case:?}");
        }
        assert_eq!(tagged(&server, "ada").await, [], "{case:?}");
    }
}

/// The end of a session under an id that a rotation may replace writes a fence, and then destroys it.
#[tokio::test]
async fn a_failed_end_of_the_new_record_leaves_no_session_without_its_tag() {
    for case in cases().filter(|case| case.is_rotation && !case.commits) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let mut late = browser.clone();
        let job = async |all: SessionCollection, new| {
            server.store.fail(Call::Destroy);
            all.destroy(&new).await.unwrap_err();
        };
        case.run(&server, &mut browser, false, job).await;
        let all = server.sessions.collection();
        all.destroy_tagged("ada", None).await.unwrap();
        for visitor in [&mut browser, &mut late] {
            assert_eq!(data(visitor).await.get("user"), None, "{case:?}");
        }
    }
}

#[tokio::test]
async fn a_list_and_a_scan_have_the_session_under_its_old_key() {
    for case in cases().filter(|case| case.is_stored) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let old = browser.visit(async |s| s.store_key().unwrap()).await;
        let job = async |all: SessionCollection, _| {
            assert!(all.list("ada", &[]).await.unwrap().is_empty(), "{case:?}");
            let mut scan = all.scan(&[]).unwrap();
            let found = scan.next().await.unwrap().map(|info| *info.key());
            assert_eq!(found, Some(old), "{case:?}");
            assert!(scan.next().await.unwrap().is_none(), "{case:?}");
        };
        let new = case.run(&server, &mut browser, false, job).await;
        let listed = listed(&server.sessions.collection()).await;
        assert_eq!(listed, [new], "{case:?}");
    }
}

/// The process may also have ended between its two writes.
#[tokio::test]
async fn a_sign_in_that_was_interrupted_puts_nothing_into_the_session_of_the_old_id() {
    for case in cases().filter(|case| !case.has_writer && !case.commits) {
        let server = test_server(config().commit_timeout(Duration::from_millis(20)));
        let mut browser = case.visitor(&server).await;
        let new = Cell::new(None);
        server.store.fail_nth(Call::Write, 1);
        let renewal = browser.request(async |s| {
            s.load().await.unwrap();
            new.set(Some(case.sign_in(&s).unwrap()));
        });
        assert_eq!(renewal.await.status, 503);
        let (all, new) = (server.sessions.collection(), new.get().unwrap());
        let update = |balance: &mut i64| *balance += 10;
        assert!(is_waiting_for_new_id(
            all.update(&new, "balance", update).await
        ));
        assert!(is_waiting_for_new_id(all.tag(&new, "team").await));
        let before = match case.is_stored {
            true => json!({"first": 1}),
            false => json!({}),
        };
        assert_eq!(data(&mut browser).await, before, "{case:?}");
        server.advance(FENCE_END);
        assert_eq!(add(&all, &new, "balance").await, Some(110), "{case:?}");
        assert_eq!(data(&mut browser).await, before, "{case:?}");
    }
}

/// A rotation that finds another one ends, and a regeneration ends after another one.
#[tokio::test]
async fn a_new_record_is_no_session_if_another_request_gave_the_session_a_new_id_first() {
    for case in cases().filter(|case| !case.has_writer && !case.commits) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let mut faster = browser.clone();
        let other = Cell::new(None);
        let job = async |all: SessionCollection, new| {
            other.set(Some(faster.visit(async |s| case.sign_in(s).unwrap()).await));
            assert_eq!(add(&all, &new, "balance").await, None, "{case:?}");
        };
        case.run(&server, &mut browser, case.is_rotation, job).await;
        assert_eq!(data(&mut faster).await, case.data(json!({})), "{case:?}");
        let listed = listed(&server.sessions.collection()).await;
        assert_eq!(listed, [other.get().unwrap()], "{case:?}");
    }
}

/// The regeneration starts from the id that the rotation gave the session.
#[tokio::test]
async fn an_update_beside_a_rotation_and_a_sign_in_stays() {
    for case in cases().filter(|case| !case.is_rotation && !case.has_writer) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let mut faster = browser.clone();
        let job = async |all: SessionCollection, new| {
            faster.visit(async |s| s.rotate_id(GRACE)).await.unwrap();
            assert_eq!(add(&all, &new, "balance").await, Some(110), "{case:?}");
        };
        case.run(&server, &mut browser, true, job).await;
        let expected = case.data(json!({"balance": 110}));
        assert_eq!(data(&mut browser).await, expected, "{case:?}");
    }
}

/// The sign-in may wait for its turn longer than a fence lives.
#[tokio::test]
async fn an_update_waits_as_long_as_the_sign_in_may_write() {
    for case in cases().filter(|case| case.is_stored) {
        let mut settings = config();
        settings.fence_ttl = Duration::from_secs(1).into();
        let server = test_server(settings);
        let mut browser = case.visitor(&server).await;
        let job = async |all: SessionCollection, new| {
            server.advance(Duration::from_secs(2));
            assert_eq!(add(&all, &new, "balance").await, Some(110), "{case:?}");
        };
        case.run(&server, &mut browser, true, job).await;
        let expected = case.data(json!({"balance": 110}));
        assert_eq!(data(&mut browser).await, expected, "{case:?}");
    }
}

/// The fence is written after the list has read one of the records.
#[tokio::test]
async fn a_list_during_a_sign_in_has_the_session_once() {
    for case in cases().filter(|case| case.is_stored && !case.has_writer) {
        for held in 0..4 {
            let server = test_server(config());
            let mut browser = case.visitor(&server).await;
            browser.visit(async |s| s.tag("ada")).await.unwrap();
            let fence = server.store.hold_nth(Call::Write, 1);
            let renewal = browser.visit(async |s| case.sign_in(s).unwrap());
            let (new, keys) = tokio::join!(renewal, async {
                fence.reached().await;
                let read = server.store.hold_nth(Call::Read, held);
                let all = server.sessions.collection();
                let (keys, ()) = tokio::join!(listed(&all), async {
                    read.reached().await;
                    fence.open();
                    for _ in 0..50 {
                        tokio::task::yield_now().await;
                    }
                    read.open();
                });
                keys
            });
            assert_eq!(keys.len(), 1, "{case:?} {held}: {keys:?}, {new:?}");
        }
    }
}

/// The first cookie of a session that was never stored then opens a session of its own.
#[tokio::test]
async fn when_the_fence_has_ended_the_old_key_is_not_read() {
    for case in cases() {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let mut first = browser.clone();
        let new = case
            .run(&server, &mut browser, false, async |_, _| ())
            .await;
        server.advance(FENCE_END);
        if !case.is_stored {
            first.visit(async |s| s.put("other", 1)).await.unwrap();
        }
        server.store.calls();
        let all = server.sessions.collection();
        assert_eq!(add(&all, &new, "balance").await, Some(110), "{case:?}");
        assert_eq!(server.store.calls(), [Call::Read, Call::Write], "{case:?}");
        assert_eq!(data(&mut first).await.get("balance"), None, "{case:?}");
    }
}

#[tokio::test]
async fn after_a_clock_was_set_back_the_old_key_is_not_read() {
    let case = cases().find(|case| case.is_stored).unwrap();
    let server = test_server(config());
    let start = server.clock.now();
    server.advance(HOUR);
    let mut browser = case.visitor(&server).await;
    let new = case
        .run(&server, &mut browser, false, async |_, _| ())
        .await;
    server.clock.set(start);
    server.store.calls();
    let all = server.sessions.collection();
    assert_eq!(add(&all, &new, "balance").await, Some(110));
    assert_eq!(server.store.calls(), [Call::Read, Call::Write]);
}

/// The next write of the session removes its pending mark.
#[tokio::test]
async fn the_old_key_is_read_before_the_first_change_only() {
    let case = cases().find(|case| case.is_stored).unwrap();
    let server = test_server(config());
    let mut browser = case.visitor(&server).await;
    let new = case
        .run(&server, &mut browser, false, async |_, _| ())
        .await;
    let all = server.sessions.collection();
    server.store.calls();
    add(&all, &new, "balance").await.unwrap();
    assert_eq!(server.store.calls(), [Call::Read, Call::Read, Call::Write]);
    add(&all, &new, "balance").await.unwrap();
    assert_eq!(server.store.calls(), [Call::Read, Call::Write]);
}

/// A program that does not use this crate may write the store.
#[tokio::test]
async fn a_new_record_that_something_else_wrote_is_not_overwritten() {
    let case = cases().find(|case| case.is_stored).unwrap();
    let case = Case {
        has_writer: true,
        ..case
    };
    let server = test_server(config());
    let mut browser = case.visitor(&server).await;
    let mut late = browser.clone();
    let new = Cell::new(None);
    let fence = server.store.hold_nth(Call::Write, 1);
    let renewal = browser.request(async |s| {
        s.load().await.unwrap();
        new.set(Some(case.sign_in(&s).unwrap()));
    });
    let (visit, ()) = tokio::join!(renewal, async {
        fence.reached().await;
        late.visit(async |s| s.increment("n")).await.unwrap();
        let new = new.get().unwrap();
        let found = server.memory.read(&new, None).await.unwrap();
        let ReadOutcome::Found(record) = found else {
            panic!("{found:?}")
        };
        let request = WriteRequest::new(&new, record.data, Expiry::Keep, Expected::Any);
        server.memory.write(request).await.unwrap();
        fence.open();
    });
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 0));
    assert_eq!(data(&mut late).await, json!({"first": 1, "n": 1}));
    let left = server.memory.read(&new.get().unwrap(), None).await;
    assert!(matches!(left.unwrap(), ReadOutcome::Found(_)));
}

/// Removes a record without a tombstone.
async fn evict(server: &TestServer, key: &StoreKey) {
    let ReadOutcome::Found(record) = server.memory.read(key, None).await.unwrap() else {
        panic!("there is no record");
    };
    let ttl = Duration::from_millis(1);
    let request = WriteRequest::new(key, record.data, ttl, Expected::Any);
    server.memory.write(request).await.unwrap();
    server.advance(2 * ttl);
}

#[tokio::test]
async fn a_new_record_that_is_evicted_before_it_is_merged_is_written_again() {
    for case in cases().filter(|case| case.has_writer) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let job = async |_, new| evict(&server, &new).await;
        let new = case.run(&server, &mut browser, false, job).await;
        assert_eq!(data(&mut browser).await, case.data(json!({})), "{case:?}");
        assert_eq!(tagged(&server, "ada").await, [new], "{case:?}");
    }
}

/// The missing record may have been evicted, or destroyed.
#[tokio::test]
async fn a_new_record_that_was_destroyed_is_not_written_again_after_its_tombstone() {
    for case in cases().filter(|case| case.has_writer && !case.commits) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let mut late = browser.clone();
        let job = async |all: SessionCollection, new| {
            all.destroy(&new).await.unwrap();
            server.advance(FENCE_END);
        };
        case.run(&server, &mut browser, false, job).await;
        for visitor in [&mut browser, &mut late] {
            assert_eq!(data(visitor).await, json!({}), "{case:?}");
        }
    }
}
