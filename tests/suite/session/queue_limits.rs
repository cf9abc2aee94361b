//! The limits of a session's queue: waiting commits, waiting bytes, and the commit timeout.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper_session::{
    Session, Sessions,
    clock::Clock,
    document::Document,
    id::StoreKey,
    patch::{ChangeLimits, Patch},
    store::{
        Capabilities, Expected, Expiry, MemoryStore, ReadOutcome, Store, StoreFuture, TagStore,
        WriteOutcome, WriteRequest,
    },
};
use serde_json::{Value, json};

use super::queue::{join_all, poll_until, visitor};
use crate::support::{Browser, Call, TestServer, config, data, increment, object, test_server};

/// A commit timeout that no test reaches.
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Opens a queue whose first write waits, runs `requests`, and returns their statuses. The two
/// requests that open the queue increment `n`.
pub(super) async fn while_a_queue_waits<F: Future<Output = u16>>(
    server: &TestServer,
    browser: &Browser,
    requests: impl IntoIterator<Item = F>,
) -> Vec<u16> {
    let conflicting = server.store.hold_nth(Call::Write, 0);
    let batch = server.store.hold_nth(Call::Write, 1);
    let (mut first, mut winner) = (browser.clone(), browser.clone());
    let opening = first.visit(async |s| s.increment("n").unwrap());
    let others = async {
        conflicting.reached().await;
        winner.visit(async |s| s.increment("n").unwrap()).await;
        conflicting.open();
        batch.reached().await;
        let opened = async {
            yields(100).await;
            batch.open();
        };
        tokio::join!(join_all(requests), opened).0
    };
    tokio::join!(opening, others).1
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_further_requests_and_stores_the_others() {
    let server = test_server(config().commit_timeout(HOUR));
    let browser = visitor(&server, json!({"n": 0})).await;
    let requests = (0..4_100).map(|_| increment(server.sessions.clone(), browser.jar.clone()));
    let statuses = while_a_queue_waits(&server, &browser, requests).await;
    let stored = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(stored, 4_096);
    assert!(statuses.iter().all(|status| [200, 503].contains(status)));
    assert_eq!(server.events.with_name("write_dropped").len(), 4);
    assert_eq!(data(&mut browser.clone()).await, json!({"n": 4_098}));
}

/// Sends requests in which `change` makes a large change. Returns the number that were stored.
async fn stored_of(number: usize, change: impl Fn(&Session)) -> usize {
    let limits = ChangeLimits::default().document(8 << 20).bytes(8 << 20);
    let server = test_server(config().limits(limits).commit_timeout(HOUR));
    let browser = visitor(&server, json!({"n": 0})).await;
    let requests = (0..number).map(|_| {
        let (mut browser, change) = (browser.clone(), &change);
        async move {
            let request = async |s: Session| change(s.load().await.unwrap());
            browser.request(request).await.status.as_u16()
        }
    });
    let statuses = while_a_queue_waits(&server, &browser, requests).await;
    assert!(statuses.iter().all(|status| [200, 503].contains(status)));
    statuses.iter().filter(|status| **status == 200).count()
}

/// Returns a text whose put at the path `a` has a size of exactly 4 MiB.
fn quarter() -> String {
    let (mut patch, mut document) = (Patch::new(ChangeLimits::default()), Document::new());
    patch.put(&mut document, "a", "").unwrap();
    "x".repeat((4 << 20) - patch.size())
}

#[tokio::test]
async fn a_queue_holds_at_most_16_mib_of_changes() {
    let text = quarter();
    let put = |s: &Session| s.put("a", &text).unwrap();
    assert_eq!(stored_of(5, put).await, 4, "16 MiB are not too much");
    let flash = |s: &Session| s.flash("a name is part of the size", &text).unwrap();
    assert_eq!(stored_of(5, flash).await, 3);
    // These wait for a turn and keep their changes meanwhile.
    let regenerate = |s: &Session| {
        s.put("a", &text).unwrap();
        s.regenerate().unwrap();
    };
    assert_eq!(stored_of(5, regenerate).await, 4);
    let update = |s: &Session| {
        s.put("a", &text).unwrap();
        s.update("n", |n: &mut u64| *n += 1).unwrap();
    };
    assert_eq!(stored_of(5, update).await, 3);
}

/// Four requests that fill the queue are dropped. Four others fill it, and begin. Then it has room again.
#[tokio::test]
async fn a_queue_has_room_again_after_its_commits_have_begun_or_were_dropped() {
    let limits = ChangeLimits::default().document(8 << 20).bytes(8 << 20);
    let server = test_server(config().limits(limits).commit_timeout(HOUR));
    let browser = visitor(&server, json!({"n": 0})).await;
    let second_batch = server.store.hold_nth(Call::Write, 3);
    let text = quarter();
    let put = || {
        let (mut browser, text) = (browser.clone(), &text);
        async move {
            let put = async |s: Session| s.load().await.unwrap().put("a", text).unwrap();
            browser.request(put).await.status.as_u16()
        }
    };
    let four = || join_all((0..4).map(|_| put()));
    let fill = async {
        tokio::select! {
            biased;
            statuses = four() => panic!("the queue waits: {statuses:?}"),
            () = yields(20) => {}
        }
        let (mut statuses, more) = tokio::join!(four(), async {
            second_batch.reached().await;
            let opened = async {
                yields(20).await;
                second_batch.open();
            };
            tokio::join!(four(), opened).0
        });
        statuses.extend(more);
        assert_eq!(statuses, [200; 8]);
        200
    };
    while_a_queue_waits(&server, &browser, [fill]).await;
}

#[tokio::test]
async fn a_commit_that_finds_its_queue_full_can_be_made_again() {
    let server = test_server(config().commit_timeout(HOUR));
    let browser = visitor(&server, json!({"n": 0})).await;
    let mut refused = browser.clone();
    let refused = async {
        refused
            .visit(async |s| {
                s.put("kept", true).unwrap();
                yields(5).await;
                assert!(s.commit().await.unwrap_err().is_contention());
                while s.commit().await.is_err() {
                    yields(1).await;
                }
            })
            .await;
        200
    };
    let increments = (0..4_096).map(|_| increment(server.sessions.clone(), browser.jar.clone()));
    let mut requests: Vec<Pin<Box<dyn Future<Output = u16>>>> = vec![Box::pin(refused)];
    requests.extend(increments.map(|request| Box::pin(request) as Pin<Box<_>>));
    while_a_queue_waits(&server, &browser, requests).await;
    let expected = json!({"n": 4_098, "kept": true});
    assert_eq!(data(&mut browser.clone()).await, expected);
    assert_eq!(server.events.with_name("write_dropped"), []);
}

pub(super) async fn yields(number: usize) {
    for _ in 0..number {
        tokio::task::yield_now().await;
    }
}

/// A store in which another process writes the first session before every conditional write of it.
struct RestlessStore(MemoryStore, Arc<AtomicU64>, OnceLock<StoreKey>);

impl Store for RestlessStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.0.read(key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let (store, left) = (self.0.clone(), Arc::clone(&self.1));
        let is_first = *self.2.get_or_init(|| request.key) == request.key;
        StoreFuture::new(async move {
            if !is_first {
                return store.write(request).await;
            }
            let rival =
                left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
            if rival.is_ok()
                && let ReadOutcome::Found(record) = store.read(&request.key, None).await?
            {
                let rival =
                    WriteRequest::new(&request.key, record.data, Expiry::Keep, Expected::Any);
                store.write(rival).await?;
            }
            store.write(request).await
        })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.0.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.0.touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        self.0.tags()
    }
}

/// Returns a browser on a store that conflicts as often as the counter says.
fn restless(timeout: Duration) -> (Browser, Sessions, Arc<AtomicU64>) {
    let rivals = Arc::new(AtomicU64::new(0));
    let store = RestlessStore(MemoryStore::new(), Arc::clone(&rivals), OnceLock::new());
    let sessions = Sessions::builder(config().commit_timeout(timeout))
        .store(store)
        .clock(Clock::system())
        .build()
        .unwrap();
    (Browser::new(&sessions), sessions, rivals)
}

/// A change that adds 1 to `n`.
#[derive(Clone, Copy, Debug)]
enum Change {
    Increment,
    Regenerate,
    Update,
}

impl Change {
    const ALL: [Self; 3] = [Self::Increment, Self::Update, Self::Regenerate];

    fn make(self, session: &Session) {
        if let Self::Update = self {
            session.update("n", |n: &mut u64| *n += 1).unwrap();
            return;
        }
        session.increment("n").unwrap();
        if let Self::Regenerate = self {
            session.regenerate().unwrap();
        }
    }
}

#[tokio::test]
async fn writes_of_other_processes_are_retried_until_the_commit_timeout() {
    let (mut browser, _, rivals) = restless(Duration::from_secs(60));
    browser.visit(async |s| s.put("n", 0)).await.unwrap();
    for change in Change::ALL {
        rivals.store(5, Ordering::Release);
        browser.visit(async |s| change.make(s)).await;
    }
    assert_eq!(data(&mut browser).await, json!({"n": 3}));
}

#[tokio::test]
async fn after_the_commit_timeout_a_commit_fails_and_stores_nothing() {
    for change in Change::ALL {
        let (mut browser, _, rivals) = restless(Duration::from_millis(1));
        browser.visit(async |s| s.put("n", 0)).await.unwrap();
        rivals.store(u64::MAX, Ordering::Release);
        let visit = browser
            .request(async |s| change.make(s.load().await.unwrap()))
            .await;
        assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 0));
        rivals.store(0, Ordering::Release);
        assert_eq!(data(&mut browser).await, json!({"n": 0}));
    }
}

#[tokio::test]
async fn a_request_whose_regeneration_timed_out_cannot_change_the_session_again() {
    let (mut browser, _, rivals) = restless(Duration::from_millis(1));
    browser.visit(async |s| s.put("n", 0)).await.unwrap();
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap().regenerate().unwrap();
            rivals.store(u64::MAX, Ordering::Release);
            assert!(s.commit().await.unwrap_err().is_contention());
            assert!(s.put("n", 1).unwrap_err().is_not_mutable());
        })
        .await;
    assert_eq!((visit.status.as_u16(), visit.cookies().len()), (503, 0));
    rivals.store(0, Ordering::Release);
    assert_eq!(data(&mut browser).await, json!({"n": 0}));
}

#[tokio::test]
async fn a_handler_may_commit_again_after_the_timeout() {
    for clears in [false, true] {
        // The second commit needs a part of this time.
        let (mut browser, sessions, rivals) = restless(Duration::from_millis(500));
        let begin = async |s: &Session| {
            s.put("n", 0)?;
            s.flash("shown", true)
        };
        browser.visit(begin).await.unwrap();
        browser
            .visit(async |s| {
                s.increment("n").unwrap();
                rivals.store(u64::MAX, Ordering::Release);
                s.put("order", "first").unwrap();
                s.flash("early", 1).unwrap();
                s.tag("early").unwrap();
                let (refused, ()) = tokio::join!(s.commit(), async {
                    if clears {
                        s.clear().unwrap();
                    }
                    s.put("order", "second").unwrap();
                    s.flash("late", 2).unwrap();
                    s.tag("late").unwrap();
                });
                let error = refused.unwrap_err();
                assert!(
                    error.is_contention() && !error.is_store_failure(),
                    "{error}"
                );
                rivals.store(0, Ordering::Release);
                s.increment("n").unwrap();
            })
            .await;
        let n = if clears { 1 } else { 2 };
        browser
            .visit(async |s| {
                assert_eq!(object(s), json!({"n": n, "order": "second"}));
                let messages: Value = s.flash_messages().unwrap().all().unwrap();
                assert_eq!(messages, json!({"early": 1, "late": 2}));
            })
            .await;
        for tag in ["early", "late"] {
            let tagged = sessions.collection().tagged(tag).await.unwrap();
            assert_eq!(tagged.len(), 1, "{tag}");
        }
    }
}

/// The runtime of the queue's task is alive, but nothing drives it.
#[test]
fn a_request_whose_queue_makes_no_progress_fails_after_the_commit_timeout() {
    let server = test_server(config().commit_timeout(Duration::from_secs(2)));
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (idle, busy) = (runtime(), runtime());
    let mut browser = server.browser();
    idle.block_on(async { browser.visit(async |s| s.put("n", 0)).await.unwrap() });
    let conflicting = server.store.hold_nth(Call::Write, 0);
    let batch = server.store.hold_nth(Call::Write, 1);
    let (mut opener, mut other, mut late) = (browser.clone(), browser.clone(), browser.clone());
    let mut opening = Box::pin(opener.request(async |s| {
        s.load().await.unwrap().increment("n").unwrap();
    }));
    idle.block_on(async {
        poll_until(opening.as_mut(), conflicting.reached()).await;
        other.visit(async |s| s.increment("n").unwrap()).await;
        conflicting.open();
        poll_until(opening.as_mut(), batch.reached()).await;
    });
    let visit = busy.block_on(late.request(async |s| {
        s.load().await.unwrap().increment("n").unwrap();
        let error = s.commit().await.unwrap_err();
        assert!(error.is_contention(), "nothing was begun: {error}");
    }));
    assert_eq!(visit.status, 503);
    batch.open();
    idle.block_on(async {
        let opened = opening.await.status.as_u16();
        let n = data(&mut browser).await["n"].as_i64().unwrap();
        assert!(
            [(200, 2), (503, 1), (503, 2)].contains(&(opened, n)),
            "{opened}, {n}"
        );
    });
}

#[tokio::test]
async fn other_tasks_run_while_a_large_batch_is_merged() {
    let server = test_server(config().commit_timeout(Duration::from_secs(3_600)));
    let browser = visitor(&server, json!({"n": 0})).await;
    let turns = Arc::new(AtomicU64::new(0));
    let other_task = tokio::spawn({
        let turns = Arc::clone(&turns);
        async move {
            loop {
                turns.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    let text = "x".repeat(10_000);
    let requests = (0..50).map(|number| {
        let (mut browser, text) = (browser.clone(), &text);
        async move {
            let path = format!("key{number}");
            let put = browser.visit(async |s| {
                // All requests have loaded the session before the first one writes.
                tokio::task::yield_now().await;
                s.put(&path, text).unwrap();
            });
            put.await;
        }
    });
    join_all(requests).await;
    other_task.abort();
    let writes = server.store.calls();
    let writes = writes.iter().filter(|call| **call == Call::Write).count();
    assert!(
        writes < 60,
        "{writes} writes, so the changes were one batch"
    );
    let turns = turns.load(Ordering::Relaxed);
    assert!(turns > 20, "{turns} turns of the other task");
}
