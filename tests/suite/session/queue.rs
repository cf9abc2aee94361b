//! Many requests that change one session at once wait for each other and lose nothing.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use hyper_session::{Session, SessionError, Sessions, store::MemoryStore};
use serde_json::{Value, json};

use super::{queue_limits::while_a_queue_waits, regenerate::UnversionedStore};
use crate::support::{Browser, Call, GateStore, TestServer, config, data, increment, test_server};

pub(super) async fn visitor(server: &TestServer, data: Value) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.merge(data)).await.unwrap();
    server.store.calls();
    browser
}

#[tokio::test]
async fn a_thousand_requests_at_once_are_all_stored_with_few_store_calls() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 0})).await;
    let requests = (0..1000).map(|_| increment(server.sessions.clone(), browser.jar.clone()));
    let statuses = join_all(requests).await;
    assert!(statuses.iter().all(|status| *status == 200));
    let calls = server.store.calls().len();
    assert!(calls <= 4 * 1000, "{calls} calls");
    assert_eq!(data(&mut browser).await, json!({"n": 1000}));
}

/// Requests of two engines on one store, like two processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_of_two_processes_are_all_stored() {
    let store = MemoryStore::new();
    let engines = [(); 2].map(|()| Sessions::new(config(), store.clone()).unwrap());
    let mut browser = Browser::new(&engines[0]);
    browser.visit(async |s| s.put("n", 0)).await.unwrap();
    let requests = (0..1000).map(|number: usize| {
        tokio::spawn(increment(engines[number % 2].clone(), browser.jar.clone()))
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(data(&mut browser).await, json!({"n": 1000}));
}

/// No request waits for the write of another one, nor is its change in the write of another one.
#[tokio::test]
async fn requests_of_a_store_without_versions_never_queue() {
    let store = GateStore::yielding(MemoryStore::new());
    let sessions = Sessions::new(config(), UnversionedStore(store.clone())).unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 0)).await.unwrap();
    store.calls();
    let slow = store.hold(Call::Write);
    tokio::join!(increment(sessions.clone(), browser.jar.clone()), async {
        slow.reached().await;
        let requests = (0..20).map(|_| increment(sessions.clone(), browser.jar.clone()));
        assert_eq!(join_all(requests).await, [200; 20]);
        slow.open();
    });
    let calls = store.calls();
    let writes = calls.iter().filter(|call| **call == Call::Write).count();
    assert_eq!(
        (calls.len(), writes),
        (42, 21),
        "a read and a write of each"
    );
}

/// Without a runtime, the requests themselves store the changes of all.
#[test]
fn without_a_runtime_requests_are_stored_as_well() {
    store_without_a_runtime();
}

/// A task of the runtime would be dropped at once.
#[test]
fn requests_of_a_runtime_that_has_ended_are_stored_as_well() {
    let ended = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let handle = ended.handle().clone();
    ended.shutdown_background();
    let _entered = handle.enter();
    store_without_a_runtime();
}

fn store_without_a_runtime() {
    let server = test_server(config());
    let mut browser = server.browser();
    block_on(async {
        browser.visit(async |s| s.put("n", 0)).await.unwrap();
        let requests = (0..50).map(|_| {
            let mut other = browser.clone();
            async move {
                other
                    .visit(async |s| {
                        yield_once().await;
                        s.increment("n").unwrap();
                    })
                    .await;
            }
        });
        join_all(requests).await;
        assert_eq!(data(&mut browser).await, json!({"n": 50}));
    });
}

/// The steps at which the request that runs the queue is dropped.
#[test]
fn without_a_runtime_a_request_that_is_dropped_loses_no_change_of_another() {
    for polls in 0..12 {
        let server = test_server(config());
        let mut browser = server.browser();
        block_on(async {
            browser.visit(async |s| s.put("n", 0)).await.unwrap();
            let request = |mut browser: Browser, name: &'static str| async move {
                let visit = browser
                    .request(async |s| {
                        s.load().await.unwrap();
                        yield_once().await;
                        s.put(name, true).unwrap();
                    })
                    .await;
                visit.status.as_u16()
            };
            let mut winner = Some(Box::pin(request(browser.clone(), "winner")));
            let mut dropped = Some(Box::pin(request(browser.clone(), "dropped")));
            let mut second = Box::pin(request(browser.clone(), "second"));
            let mut status = None;
            for round in 0..100 {
                if round == polls {
                    dropped = None;
                }
                for request in [&mut winner, &mut dropped] {
                    if let Some(running) = request
                        && poll_once(running.as_mut()).await.is_some()
                    {
                        *request = None;
                    }
                }
                if status.is_none() {
                    status = poll_once(second.as_mut()).await;
                }
            }
            let stored = data(&mut browser.clone()).await;
            assert_eq!(stored["winner"], true, "{polls}: {stored}");
            match status {
                Some(200) => assert_eq!(stored["second"], true, "{polls}: {stored}"),
                Some(503) => {}
                other => panic!("{polls}: {other:?}"),
            }
        });
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_while_it_waits_is_not_stored_and_holds_nobody_up() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    let mut first = browser.clone();
    let (conflicting, batch) = (
        server.store.hold_nth(Call::Write, 0),
        server.store.hold_nth(Call::Write, 1),
    );
    let mut winner = browser.clone();
    let mut waiting = browser.clone();
    let mut last = browser.clone();
    tokio::join!(
        // Its write conflicts, and its second write waits in the queue.
        first.visit(async |s| s.increment("n").unwrap()),
        async {
            conflicting.reached().await;
            winner.visit(async |s| s.increment("n").unwrap()).await;
            conflicting.open();
            batch.reached().await;
            {
                let waits = pin!(waiting.request(async |s| {
                    s.load().await.unwrap().put("dropped", true).unwrap();
                }));
                let mut waits = waits;
                for _ in 0..20 {
                    assert!(poll_once(waits.as_mut()).await.is_none());
                    tokio::task::yield_now().await;
                }
            }
            tokio::join!(last.visit(async |s| s.increment("n").unwrap()), async {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                batch.open();
            });
        }
    );
    assert_eq!(data(&mut browser.clone()).await, json!({"n": 3}));
}

/// A request is dropped while the task stores its change together with others. The change may be
/// stored, once.
#[tokio::test]
async fn a_request_that_is_dropped_during_its_batch_does_not_interrupt_others() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    let (conflicting, batch) = (
        server.store.hold_nth(Call::Write, 0),
        server.store.hold_nth(Call::Write, 1),
    );
    let (mut first, mut winner) = (browser.clone(), browser.clone());
    {
        let mut dropped = Box::pin(first.request(async |s| {
            s.load().await.unwrap().increment("n").unwrap();
        }));
        assert!(poll_once(dropped.as_mut()).await.is_none());
        conflicting.reached().await;
        winner.visit(async |s| s.increment("n").unwrap()).await;
        conflicting.open();
        poll_until(dropped.as_mut(), batch.reached()).await;
    }
    batch.open();
    let mut last = browser.clone();
    last.visit(async |s| s.increment("n").unwrap()).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(data(&mut browser.clone()).await, json!({"n": 3}));
}

/// The runtime of the request that opened the queue ends while the queue stores a batch.
#[test]
fn requests_of_another_runtime_learn_at_once_that_the_outcome_is_unknown() {
    let server = test_server(config());
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let mut browser = server.browser();
    first.block_on(async { browser.visit(async |s| s.put("n", 0)).await.unwrap() });
    let conflicting = server.store.hold_nth(Call::Write, 0);
    let batch = server.store.hold_nth(Call::Write, 1);
    let mut opener = browser.clone();
    let mut other = browser.clone();
    // The opener conflicts and starts the queue on the first runtime.
    let mut opening = Box::pin(opener.request(async |s| {
        s.load().await.unwrap().increment("n").unwrap();
    }));
    first.block_on(async {
        assert!(poll_once(opening.as_mut()).await.is_none());
        conflicting.reached().await;
        other.visit(async |s| s.increment("n").unwrap()).await;
        conflicting.open();
        tokio::select! {
            _ = &mut opening => panic!("the store waits"),
            () = batch.reached() => {}
        }
    });
    // This request joins on the second runtime. Its batch has not begun.
    let mut late = browser.clone();
    let joined = second.block_on(async {
        let mut joining = Box::pin(late.request(async |s| {
            s.load().await.unwrap().increment("n").unwrap();
        }));
        for _ in 0..20 {
            assert!(poll_once(joining.as_mut()).await.is_none());
            tokio::task::yield_now().await;
        }
        first.shutdown_background();
        // The batch in flight has an unknown outcome: its requests do not try again.
        assert_eq!(opening.await.status, 503);
        joining.await.status
    });
    assert_eq!(joined, 200, "nothing of it was begun, so it is stored now");
    let n = second.block_on(async { data(&mut browser.clone()).await });
    assert_eq!(n, json!({"n": 2}));
}

/// A regeneration ends the id for the requests behind it, not for those before it.
#[tokio::test]
async fn a_queue_keeps_the_order_of_changes_and_regenerations() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    let mut mover = browser.clone();
    let change = |name: &'static str| -> Pin<Box<dyn Future<Output = u16>>> {
        let mut browser = browser.clone();
        Box::pin(async move {
            let put = async |s: Session| s.load().await.unwrap().put(name, true).unwrap();
            browser.request(put).await.status.as_u16()
        })
    };
    let moving = Box::pin(async {
        let regenerate = async |s: Session| s.load().await.unwrap().regenerate().unwrap();
        let status = mover.request(regenerate).await.status.as_u16();
        assert_eq!(data(&mut mover).await, json!({"n": 2, "before": true}));
        status
    });
    let requests = [change("before"), moving, change("behind")];
    let statuses = while_a_queue_waits(&server, &browser, requests).await;
    assert_eq!(statuses, [200; 3]);
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
}

/// A regeneration on a hot session gets its turn, and the requests behind it learn that the id is gone.
#[tokio::test]
async fn a_regeneration_beside_many_writers_is_stored_and_loses_nothing_acknowledged() {
    for before in [0, 10, 40] {
        let server = test_server(config());
        let browser = visitor(&server, json!({"n": 0})).await;
        let mut mover = browser.clone();
        let writers = (0..50).map(|_| increment(server.sessions.clone(), browser.jar.clone()));
        let moving = async {
            for _ in 0..before {
                tokio::task::yield_now().await;
            }
            mover
                .visit(async |s| {
                    s.put("user", "ada").unwrap();
                    s.regenerate().unwrap();
                })
                .await;
        };
        let (statuses, ()) = tokio::join!(join_all(writers), moving);
        assert!(statuses.iter().all(|status| *status == 200), "{before}");
        let dropped = server.events.with_name("write_dropped").len();
        let stored = data(&mut mover).await;
        assert_eq!(
            stored,
            json!({"n": 50 - dropped, "user": "ada"}),
            "{before}"
        );
        assert_eq!(server.events.with_name("migrated").len(), 1, "{before}");
    }
}

#[tokio::test]
async fn a_destroy_beside_many_writers_stays() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    let mut leaver = browser.clone();
    let writers = (0..50).map(|_| increment(server.sessions.clone(), browser.jar.clone()));
    let leaving = leaver.visit(async |s| s.destroy().unwrap());
    tokio::join!(join_all(writers), leaving);
    assert_eq!(server.memory.stats().records, 0);
    assert_eq!(data(&mut browser.clone()).await, json!({}));
}

/// Requests that all create the session, under an id that was never stored.
#[tokio::test]
async fn parallel_first_changes_of_one_id_are_all_stored() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.pass().await;
    let requests = (0..20).map(|_| increment(server.sessions.clone(), browser.jar.clone()));
    assert!(join_all(requests).await.iter().all(|status| *status == 200));
    assert_eq!(data(&mut browser).await, json!({"n": 20}));
}

#[tokio::test]
async fn a_commit_that_is_polled_once_and_abandoned_does_not_hold_others_up() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 0})).await;
    let (mut abandoned, mut other) = (browser.clone(), browser.clone());
    let visit = abandoned
        .request(async |s| {
            s.load().await.unwrap().increment("n").unwrap();
            other.visit(async |s| s.increment("n").unwrap()).await;
            let mut commit = Box::pin(s.commit());
            let _ = poll_once(commit.as_mut()).await;
            drop(commit);
            let again = s.commit().await;
            assert!(matches!(again, Err(SessionError::Committed)));
        })
        .await;
    assert_eq!(visit.status, 503);
    other.visit(async |s| s.increment("n").unwrap()).await;
    let n = data(&mut browser.clone()).await["n"].as_i64().unwrap();
    assert!([2, 3].contains(&n), "{n}");
}

/// A regeneration that has its turn is neither polled nor dropped.
#[tokio::test]
async fn a_turn_that_is_never_ended_does_not_block_others_for_ever() {
    let server = test_server(config().commit_timeout(Duration::from_secs(2)));
    let browser = visitor(&server, json!({"n": 0})).await;
    let (mut mover, mut writer) = (browser.clone(), browser.clone());
    let fence = server.store.hold_nth(Call::Write, 1);
    let mut kept = Box::pin(mover.request(async |s| {
        s.load().await.unwrap().regenerate().unwrap();
    }));
    poll_until(kept.as_mut(), fence.reached()).await;
    writer.visit(async |s| s.increment("n").unwrap()).await;
    fence.open();
    // The fence conflicts. The regeneration gets its turn, and writes the new record again.
    let again = server.store.hold(Call::Write);
    poll_until(kept.as_mut(), again.reached()).await;
    writer.visit(async |s| s.increment("n").unwrap()).await;
    assert_eq!(data(&mut browser.clone()).await, json!({"n": 2}));
    drop(kept);
}

/// Polls a future that must not become ready until `event` is.
pub(super) async fn poll_until<F: Future>(
    mut future: Pin<&mut F>,
    event: impl Future<Output = ()>,
) {
    let polling = async {
        loop {
            assert!(poll_once(future.as_mut()).await.is_none());
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = polling => {}
        () = event => {}
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        match std::mem::replace(&mut yielded, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Polls all futures in turn until all are ready.
pub(super) async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    std::future::poll_fn(|cx| {
        let mut is_pending = false;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(ready) => *output = Some(ready),
                    Poll::Pending => is_pending = true,
                }
            }
        }
        if is_pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    futures
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

/// Runs a future without a runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::yield_now();
    }
}
