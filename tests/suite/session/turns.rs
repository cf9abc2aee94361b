//! Turns, in which one commit alone writes its session, inside a process.

use std::{future::Future, pin::Pin, time::Duration};

use hyper_session::testing::Gate;
use serde_json::json;

use super::{
    queue::visitor,
    queue_limits::{HOUR, yields},
};
use crate::support::{Browser, Call, TestServer, change, config, data, increment, test_server};

/// Makes a regeneration conflict whose fence is held, so that it gets a turn. Sends a request that waits
/// behind it. `meanwhile` runs before the regeneration writes its new record again. Returns the waiting
/// request.
async fn request_behind_a_turn(
    server: &TestServer,
    browser: &Browser,
    fence: &Gate,
    meanwhile: impl AsyncFnOnce(),
) -> Pin<Box<dyn Future<Output = u16>>> {
    fence.reached().await;
    let mut writer = browser.clone();
    writer.visit(async |s| s.increment("n").unwrap()).await;
    let again = server.store.hold(Call::Write);
    fence.open();
    again.reached().await;
    let mut waiting = Box::pin(increment(server.sessions.clone(), browser.jar.clone()));
    tokio::select! {
        biased;
        status = &mut waiting => panic!("it waits for the turn, but ended with {status}"),
        () = yields(20) => {}
    }
    meanwhile().await;
    again.open();
    waiting
}

/// Returns the status of a request that nothing holds any more.
async fn ready(request: impl Future<Output = u16>) -> u16 {
    tokio::select! {
        biased;
        status = request => status,
        () = yields(1000) => panic!("the turn has not ended"),
    }
}

#[tokio::test]
async fn a_regeneration_that_follows_a_rotation_ends_its_turn() {
    let server = test_server(config().commit_timeout(HOUR));
    let browser = visitor(&server, json!({"n": 0})).await;
    let mut new = browser.clone();
    let fence = server.store.hold_nth(Call::Write, 1);
    let mut rotator = browser.clone().with_sessions(&server.another_process());
    let regeneration = new.visit(async |s| s.regenerate().unwrap());
    let others = async {
        let rotate = async || {
            let grace = Duration::from_secs(30);
            rotator.visit(async |s| s.rotate_id(grace)).await.unwrap();
        };
        let waiting = request_behind_a_turn(&server, &browser, &fence, rotate).await;
        let following = server.store.hold(Call::Read);
        following.reached().await;
        assert_eq!(ready(waiting).await, 200);
        following.open();
    };
    tokio::join!(regeneration, others);
    assert_eq!(data(&mut new).await, json!({"n": 2}));
}

#[tokio::test]
async fn a_commit_that_has_ended_has_no_turn() {
    let server = test_server(config().commit_timeout(HOUR));
    let browser = visitor(&server, json!({"n": 0})).await;
    let fence = server.store.hold_nth(Call::Write, 1);
    let mut new = browser.clone();
    let regeneration = new.visit(async |s| {
        s.regenerate().unwrap();
        let mut commit = Box::pin(s.commit());
        let waiting = request_behind_a_turn(&server, &browser, &fence, async || {});
        let (committed, waiting) = tokio::join!(commit.as_mut(), waiting);
        committed.unwrap();
        assert_eq!(ready(waiting).await, 200);
        drop(commit);
    });
    regeneration.await;
    assert_eq!(data(&mut new).await, json!({"n": 1}));
}

#[tokio::test]
async fn a_function_that_panics_in_its_turn_ends_the_turn() {
    let server = test_server(config().commit_timeout(HOUR));
    let mut browser = visitor(&server, json!({"n": 0})).await;
    let write = server.store.hold(Call::Write);
    let panicking = change(server.sessions.clone(), browser.jar.clone(), |session| {
        let mut runs = 0;
        let update = move |n: &mut u32| {
            runs += 1;
            if runs > 1 {
                // Without the message that `panic!` prints.
                std::panic::resume_unwind(Box::new("a function's panic"));
            }
            *n += 10;
        };
        session.update("n", update).unwrap();
    });
    let panicking = tokio::spawn(panicking);
    write.reached().await;
    browser.visit(async |s| s.increment("n").unwrap()).await;
    let turn = server.store.hold(Call::Read);
    write.open();
    turn.reached().await;
    let mut waiting = Box::pin(increment(server.sessions.clone(), browser.jar.clone()));
    tokio::select! {
        biased;
        status = &mut waiting => panic!("it waits for the turn, but ended with {status}"),
        () = yields(20) => {}
    }
    turn.open();
    assert!(panicking.await.unwrap_err().is_panic());
    assert_eq!(ready(waiting).await, 200);
    assert_eq!(data(&mut browser).await, json!({"n": 2}));
}

/// A commit that has followed a rotation waits in the queue of the new id.
#[tokio::test]
async fn an_update_that_follows_a_rotation_ends_its_turn() {
    let server = test_server(config().commit_timeout(HOUR));
    let browser = visitor(&server, json!({"n": 0})).await;
    let elsewhere = server.another_process();
    let grace = Duration::from_secs(30);
    let mut new = browser.clone().with_sessions(&elsewhere);
    let write = server.store.hold(Call::Write);
    let mut updater = browser.clone();
    let update = updater.visit(async |s| {
        s.update("n", |n: &mut u32| *n += 10).unwrap();
    });
    let others = async {
        write.reached().await;
        browser
            .clone()
            .visit(async |s| s.increment("n").unwrap())
            .await;
        let turn = server.store.hold(Call::Read);
        write.open();
        turn.reached().await;
        let mut waiting = Box::pin(increment(server.sessions.clone(), browser.jar.clone()));
        tokio::select! {
            biased;
            status = &mut waiting => panic!("it waits for the turn, but ended with {status}"),
            () = yields(20) => {}
        }
        new.visit(async |s| s.rotate_id(grace)).await.unwrap();
        // The queue of the new id has a batch whose write is held.
        let conflicting = server.store.hold(Call::Write);
        let mut first = Box::pin(increment(server.sessions.clone(), new.jar.clone()));
        tokio::select! {
            biased;
            status = &mut first => panic!("its write is held, but it ended with {status}"),
            () = conflicting.reached() => {}
        }
        new.visit(async |s| s.increment("n").unwrap()).await;
        let batch = server.store.hold(Call::Write);
        conflicting.open();
        tokio::select! {
            biased;
            status = &mut first => panic!("its batch is held, but it ended with {status}"),
            () = batch.reached() => {}
        }
        let next = server.store.hold(Call::Read);
        turn.open();
        // The worker of the old id continues with the next commit.
        tokio::select! {
            biased;
            () = next.reached() => {}
            () = yields(1000) => panic!("the turn has not ended"),
        }
        next.open();
        batch.open();
        assert_eq!(tokio::join!(first, waiting), (200, 200));
    };
    tokio::join!(update, others);
    assert_eq!(data(&mut new).await, json!({"n": 14}));
}
