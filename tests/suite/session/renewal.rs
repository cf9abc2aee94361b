//! Renewals: how often they happen, and how long a response waits for them.

use std::time::{Duration, Instant};

use hyper_session::{
    Sessions,
    config::StoreRegistry,
    id::StoreKey,
    session::CookiePolicy,
    store::{MemoryStore, ReadOutcome, Store, StoreFuture, WriteOutcome, WriteRequest},
};

use tokio::sync::Notify;

use crate::support::{Browser, Call, TestServer, config, test_server};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_client_that_keeps_its_first_cookie_causes_one_renewal_a_minute() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        let server = test_server(config().cookie_policy(policy));
        let mut client = server.browser();
        client.visit(async |s| s.put("n", 1)).await.unwrap();
        server.advance(10 * MINUTE);
        for _ in 0..3 {
            server.store.calls();
            let mut cookies = 0;
            for _ in 0..20 {
                cookies += client.clone().pass().await.cookies().len();
            }
            assert_eq!(cookies, 1, "{policy:?}");
            assert_eq!(server.store.calls(), [Call::Read], "{policy:?}");
            server.advance(MINUTE);
        }
    }
}

#[tokio::test]
async fn loads_are_throttled_too() {
    let server = test_server(config().cookie_policy(CookiePolicy::WhenUsed));
    let mut client = server.browser();
    client.visit(async |s| s.put("n", 1)).await.unwrap();
    server.advance(10 * MINUTE);
    let mut cookies = 0;
    for _ in 0..20 {
        let read = async |s: hyper_session::Session| s.load().await.map(drop).unwrap();
        cookies += client.clone().request(read).await.cookies().len();
    }
    assert_eq!(cookies, 1);
}

#[tokio::test]
async fn after_a_renewal_that_failed_the_next_request_renews() {
    for loads in [false, true] {
        let server = test_server(config().cookie_policy(CookiePolicy::WhenUsed));
        let mut client = server.browser();
        client.visit(async |s| s.put("n", 1)).await.unwrap();
        server.advance(10 * MINUTE);
        let send = async || {
            let handler = async |s: hyper_session::Session| {
                if loads {
                    drop(s.load().await);
                }
            };
            client.clone().request(handler).await.cookies().len()
        };
        server.store.fail(Call::Read);
        assert_eq!(send().await, 0, "loads: {loads}");
        assert_eq!(send().await, 1, "loads: {loads}");
    }
}

#[tokio::test]
async fn after_a_load_that_touched_no_process_renews_for_a_touch_interval() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        let server = test_server(config().cookie_policy(policy));
        let mut client = server.browser();
        client.visit(async |s| s.put("n", 1)).await.unwrap();
        server.advance(10 * MINUTE);
        client.visit(async |s| s.get::<i32>("n")).await.unwrap();
        server.advance(MINUTE / 2);
        // Another process learns of the touch from the cookie alone.
        let other = Sessions::builder(config().cookie_policy(policy).store("gate"))
            .stores(StoreRegistry::new().register("gate", server.store.clone()))
            .clock(server.clock.clone())
            .build()
            .unwrap();
        server.store.calls();
        client.with_sessions(&other).pass().await;
        assert_eq!(server.store.calls(), [], "{policy:?}");
    }
}

#[tokio::test]
async fn a_touch_interval_of_zero_sends_the_cookie_with_every_response() {
    let server = test_server(config().touch_interval(Duration::ZERO));
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    for _ in 0..3 {
        assert!(browser.pass().await.cookie().contains("Max-Age=7200"));
    }
}

/// A store whose reads with a touch never end.
#[derive(Clone)]
struct HangingStore(MemoryStore);

impl Store for HangingStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        match touch {
            Some(_) => StoreFuture::new(std::future::pending()),
            None => self.0.read(key, None),
        }
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.0.write(request)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.0.destroy(key)
    }

    fn touch(&self, _: &StoreKey, _: Duration) -> StoreFuture<bool> {
        StoreFuture::new(std::future::pending())
    }
}

/// Runs in a runtime without timers.
#[test]
fn a_hanging_store_delays_an_untouched_response_by_the_touch_timeout_at_most() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = test_server(config());
        let store = HangingStore(server.memory.clone());
        let sessions = Sessions::builder(config())
            .store(store)
            .listener(server.events.listener())
            .clock(server.clock.clone())
            .build()
            .unwrap();
        let mut browser = Browser::new(&sessions);
        browser.visit(async |s| s.put("n", 1)).await.unwrap();
        server.advance(2 * MINUTE);
        let start = Instant::now();
        let visit = browser.pass().await;
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert_eq!((visit.status.as_u16(), visit.cookies().len()), (200, 0));
        let failed = server.events.with_name("store_failed");
        assert_eq!(failed.len(), 1);
        assert_eq!(browser.pass().await.status, 200);
        let failed = server.events.with_name("store_failed");
        assert_eq!(
            failed.len(),
            1,
            "the next touch is due after the touch interval"
        );
    });
}

/// Sends a request that loads its session twice at once. The reads end in this order. Returns the number of cookies.
async fn two_loads(server: &TestServer, mut client: Browser, is_first_slower: bool) -> usize {
    let [first, second] = [(); 2].map(|()| server.store.hold_answer(Call::Read));
    let visit = client.request(async |s| {
        let done = Notify::new();
        let load = async || {
            s.load().await.unwrap();
            done.notify_one();
        };
        tokio::join!(load(), load(), async {
            first.reached().await;
            second.reached().await;
            let gates = match is_first_slower {
                true => [&second, &first],
                false => [&first, &second],
            };
            gates[0].open();
            done.notified().await;
            gates[1].open();
        });
    });
    visit.await.cookies().len()
}

#[tokio::test]
async fn two_loads_at_once_renew_the_session() {
    for is_first_slower in [false, true] {
        let server = test_server(config().cookie_policy(CookiePolicy::WhenUsed));
        let mut client = server.browser();
        client.visit(async |s| s.put("n", 1)).await.unwrap();
        server.advance(10 * MINUTE);
        let cookies = two_loads(&server, client.clone(), is_first_slower).await;
        assert_eq!(cookies, 1, "{is_first_slower}");
        assert_eq!(client.pass().await.cookies(), [""; 0], "{is_first_slower}");
    }
}

/// The first one of two loads at once fails.
#[tokio::test]
async fn after_a_load_that_failed_beside_another_one_the_next_request_renews() {
    let server = test_server(config().cookie_policy(CookiePolicy::WhenUsed));
    let mut client = server.browser();
    client.visit(async |s| s.put("n", 1)).await.unwrap();
    server.advance(10 * MINUTE);
    let gate = server.store.hold(Call::Read);
    server.store.fail(Call::Read);
    let mut other = client.clone();
    let visit = other.request(async |s| {
        let failing = async {
            gate.reached().await;
            assert!(s.load().await.is_err());
            gate.open();
        };
        let (loaded, ()) = tokio::join!(s.load(), failing);
        assert!(loaded.is_err());
    });
    assert_eq!(visit.await.cookies(), [""; 0]);
    assert_eq!(client.pass().await.cookies().len(), 1);
}

/// The first load is dropped before the store has executed its read.
#[tokio::test]
async fn a_load_after_one_that_was_dropped_renews() {
    let server = test_server(config().cookie_policy(CookiePolicy::WhenUsed));
    let mut client = server.browser();
    client.visit(async |s| s.put("n", 1)).await.unwrap();
    server.advance(10 * MINUTE);
    let gate = server.store.hold(Call::Read);
    let visit = client.request(async |s| {
        tokio::select! {
            biased;
            _ = s.load() => panic!("the read is held"),
            () = gate.reached() => {}
        }
        s.load().await.unwrap();
    });
    assert_eq!(visit.await.cookies().len(), 1);
    // The second load has touched the record.
    server.advance(2 * HOUR);
    assert!(!client.visit(async |s| s.is_fresh()).await);
}

/// The request is dropped before the store has executed its read, half a minute before the record expires.
#[tokio::test]
async fn after_a_load_or_a_renewal_that_was_dropped_the_next_request_renews() {
    for loads in [false, true] {
        let server = test_server(config());
        let mut client = server.browser();
        client.visit(async |s| s.put("n", 1)).await.unwrap();
        server.advance(2 * HOUR + MINUTE / 2);
        let handler = async |s: hyper_session::Session| {
            if loads {
                s.load().await.unwrap();
            }
        };
        let gate = server.store.hold(Call::Read);
        let mut dropped = client.clone();
        tokio::select! {
            biased;
            _ = dropped.request(handler) => panic!("the read is held"),
            () = gate.reached() => {}
        }
        server.advance(Duration::from_secs(2));
        client.request(handler).await;
        server.advance(MINUTE);
        assert!(
            !client.visit(async |s| s.is_fresh()).await,
            "loads: {loads}"
        );
    }
}
