//! Readers and administrators beside a request that gives its session a new id.

use std::{cell::Cell, time::Duration};

use hyper_session::{
    Session, SessionCollection,
    id::StoreKey,
    store::{Expected, Expiry, ReadOutcome, Store, WriteRequest},
};
use serde_json::{Value, json};

use super::{
    before_the_fence::{FENCE_END, GRACE, add, cases, listed},
    tag_races::tagged,
};
use crate::support::{Browser, Call, config, data, test_server};

async fn store_key(browser: &mut Browser) -> StoreKey {
    browser.visit(async |s| s.store_key()).await.unwrap()
}

async fn add_tag(browser: &mut Browser) {
    browser.visit(async |s| s.tag("ada")).await.unwrap();
}

#[tokio::test]
async fn a_reader_finds_the_new_record_when_the_session_has_its_id() {
    for case in cases().filter(|case| case.is_stored) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let job = async |all: SessionCollection, new| {
            assert!(all.get(&new).await.unwrap().is_none(), "{case:?}");
            assert!(all.info(&new, &[]).await.unwrap().is_none(), "{case:?}");
            assert_eq!(all.current_key(&new).await.unwrap(), None, "{case:?}");
        };
        let new = case.run(&server, &mut browser, false, job).await;
        let all = server.sessions.collection();
        let found: Value = all.get(&new).await.unwrap().unwrap().all().unwrap();
        assert_eq!(found, case.data(json!({})), "{case:?}");
        assert!(all.info(&new, &[]).await.unwrap().is_some(), "{case:?}");
        assert_eq!(all.current_key(&new).await.unwrap(), Some(new), "{case:?}");
    }
}

/// The sign-in merges a change of another request after the reader has read its first record.
#[tokio::test]
async fn a_reader_sees_a_change_that_the_sign_in_has_merged() {
    for case in cases().filter(|case| case.is_stored && case.has_writer && !case.commits) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let mut writer = browser.clone();
        let new = Cell::new(None);
        let fence = server.store.hold_nth(Call::Write, 1);
        let renewal = browser.visit(async |s| new.set(Some(case.sign_in(s).unwrap())));
        let (_, found) = tokio::join!(renewal, async {
            fence.reached().await;
            writer.visit(async |s| s.increment("n")).await.unwrap();
            let answer = server.store.hold_answer(Call::Read);
            let all = server.sessions.collection();
            let key = new.get().unwrap();
            let (found, ()) = tokio::join!(all.get(&key), async {
                answer.reached().await;
                fence.open();
                for _ in 0..200 {
                    tokio::task::yield_now().await;
                }
                answer.open();
            });
            found.unwrap().unwrap()
        });
        let found: Value = found.all().unwrap();
        assert_eq!(found, case.data(json!({})), "{case:?}");
    }
}

#[tokio::test]
async fn either_key_excepts_a_session_that_another_process_gives_a_new_id() {
    for case in cases().filter(|case| case.is_stored) {
        for is_new in [false, true] {
            let server = test_server(config());
            let (mut browser, mut other) = (case.visitor(&server).await, server.browser());
            add_tag(&mut browser).await;
            add_tag(&mut other).await;
            let old = store_key(&mut browser).await;
            let elsewhere = server.another_process().collection();
            let job = async |_, new| {
                let except = if is_new { new } else { old };
                let ended = elsewhere.destroy_tagged("ada", Some(&except)).await;
                assert_eq!(ended.unwrap(), 1, "{case:?} {is_new}");
            };
            let new = case.run(&server, &mut browser, false, job).await;
            let expected = case.data(json!({}));
            assert_eq!(data(&mut browser).await, expected, "{case:?} {is_new}");
            assert_eq!(tagged(&server, "ada").await, [new], "{case:?} {is_new}");
        }
    }
}

/// The regeneration will start from the id that the rotation gave the session.
#[tokio::test]
async fn the_key_of_a_rotation_excepts_a_session_that_a_sign_in_gives_another_one() {
    for case in cases().filter(|case| case.is_stored && !case.is_rotation && !case.has_writer) {
        for is_same_process in [false, true] {
            let server = test_server(config());
            let mut browser = case.visitor(&server).await;
            add_tag(&mut browser).await;
            let mut faster = browser.clone();
            let another = server.another_process();
            let sessions = if is_same_process {
                &server.sessions
            } else {
                &another
            };
            let job = async |_, _| {
                faster.visit(async |s| s.rotate_id(GRACE)).await.unwrap();
                let key = store_key(&mut faster).await;
                let all = sessions.collection();
                let ended = all.destroy_tagged("ada", Some(&key)).await;
                assert_eq!(ended.unwrap(), 0, "{case:?} {is_same_process}");
            };
            case.run(&server, &mut browser, false, job).await;
            let expected = case.data(json!({}));
            assert_eq!(
                data(&mut browser).await,
                expected,
                "{case:?} {is_same_process}"
            );
        }
    }
}

/// Changes of the new record look for the fence.
#[tokio::test]
async fn a_sign_out_under_the_old_id_leaves_the_fence_of_a_sign_in() {
    for case in cases().filter(|case| case.is_stored && !case.is_rotation) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let (mut late, old) = (browser.clone(), store_key(&mut browser).await);
        let new = case
            .run(&server, &mut browser, false, async |_, _| ())
            .await;
        late.visit(async |s| s.destroy()).await.unwrap();
        let all = server.another_process().collection();
        all.destroy(&old).await.unwrap();
        assert_eq!(add(&all, &new, "balance").await, Some(110), "{case:?}");
        let expected = case.data(json!({"balance": 110}));
        assert_eq!(data(&mut browser).await, expected, "{case:?}");
    }
}

#[tokio::test]
async fn a_list_that_began_before_a_sign_in_has_the_session() {
    let mut strict = config();
    strict.absolute_timeout = Some(Duration::from_secs(3600).into());
    for (settings, is_list) in [(config(), true), (strict.clone(), true), (strict, false)] {
        for case in cases().filter(|case| case.is_stored && !case.has_writer && !case.commits) {
            let server = test_server(settings.clone());
            let mut browser = case.visitor(&server).await;
            add_tag(&mut browser).await;
            let all = server.sessions.collection();
            let read = server.store.hold(Call::Read);
            let list = async {
                match is_list {
                    true => listed(&all).await,
                    false => all.tagged("ada").await.unwrap(),
                }
            };
            let (keys, ()) = tokio::join!(list, async {
                read.reached().await;
                browser.visit(async |s| case.sign_in(s).unwrap()).await;
                read.open();
            });
            assert_eq!(keys.len(), 1, "{case:?} {is_list}");
            assert!(all.get(&keys[0]).await.unwrap().is_some(), "{case:?}");
        }
    }
}

/// A newer release may have written the record under the old id meanwhile.
#[tokio::test]
async fn a_sign_in_that_cannot_read_the_old_record_leaves_no_new_one() {
    for case in cases().filter(|case| case.is_stored && !case.has_writer && !case.commits) {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let (new, old) = (Cell::new(None), store_key(&mut browser).await);
        let fence = server.store.hold_nth(Call::Write, 1);
        let renewal = browser.request(async |s| {
            s.load().await.unwrap();
            new.set(Some(case.sign_in(&s).unwrap()));
        });
        let (visit, ()) = tokio::join!(renewal, async {
            fence.reached().await;
            let ReadOutcome::Found(record) = server.memory.read(&old, None).await.unwrap() else {
                panic!("there is no record");
            };
            let mut bytes = record.data.to_vec();
            bytes[0] = 255;
            let request = WriteRequest::new(&old, bytes, Expiry::Keep, Expected::Any);
            server.memory.write(request).await.unwrap();
            fence.open();
        });
        assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 0));
        let left = server.memory.read(&new.get().unwrap(), None).await.unwrap();
        assert!(!matches!(left, ReadOutcome::Found(_)), "{case:?}: {left:?}");
        assert_eq!(tagged(&server, "ada").await, [], "{case:?}");
    }
}

/// The first sign-in is interrupted after it has stored a record. Without its fence, the record is of no session.
#[tokio::test]
async fn a_sign_in_that_was_interrupted_leaves_nothing_that_the_next_one_excepts() {
    for case in cases()
        .filter(|case| case.is_stored && !case.is_rotation && !case.has_writer && !case.commits)
    {
        let server = test_server(config());
        let mut browser = case.visitor(&server).await;
        let mut first = browser.clone();
        let fence = server.store.hold_nth(Call::Write, 1);
        tokio::select! {
            _ = first.visit(async |s| case.sign_in(s).unwrap()) => panic!("it is held"),
            () = fence.reached() => {}
        }
        let new = browser.visit(async |s| case.sign_in(s).unwrap()).await;
        let all = server.sessions.collection();
        let ended = all.destroy_tagged("ada", Some(&new)).await;
        assert_eq!(ended.unwrap(), 1, "{case:?}");
        server.advance(FENCE_END);
        assert_eq!(tagged(&server, "ada").await, [new], "{case:?}");
        assert_eq!(data(&mut browser).await, case.data(json!({})), "{case:?}");
    }
}

/// A rotation keeps the session, and the sign-in starts from its new id. A regeneration takes the session away.
#[tokio::test]
async fn a_session_that_another_request_regenerated_before_the_commit_is_not_excepted() {
    for is_rotation in [false, true] {
        let server = test_server(config());
        let mut browser = server.browser();
        add_tag(&mut browser).await;
        let mut faster = browser.clone();
        let all = server.sessions.collection();
        let ended = browser
            .visit(async |s| {
                s.regenerate().unwrap();
                let key = s.store_key().unwrap();
                let change = async |s: &Session| match is_rotation {
                    true => s.rotate_id(GRACE),
                    false => s.regenerate(),
                };
                faster.visit(change).await.unwrap();
                all.destroy_tagged("ada", Some(&key)).await.unwrap()
            })
            .await;
        assert_eq!(ended, usize::from(!is_rotation));
        let left = tagged(&server, "ada").await.len();
        assert_eq!(left, usize::from(is_rotation));
    }
}

/// The fence lives as long as changes of the new record look for it.
#[tokio::test]
async fn a_job_changes_a_session_after_its_short_fence_time() {
    let second = Duration::from_secs(1);
    for is_rotation in [false, true] {
        for seconds in 0..15 {
            let mut settings = config();
            settings.fence_ttl = second.into();
            let server = test_server(settings);
            let mut browser = server.browser();
            browser.visit(async |s| s.put("n", 1)).await.unwrap();
            let renewal = browser.visit(async |s| match is_rotation {
                true => s.rotate_id(second),
                false => s.regenerate(),
            });
            renewal.await.unwrap();
            server.advance(second * seconds);
            let key = store_key(&mut browser).await;
            let all = server.sessions.collection();
            let is_tagged = all.tag(&key, "ada").await;
            assert!(is_tagged.unwrap(), "{is_rotation}, {seconds}");
        }
    }
}
