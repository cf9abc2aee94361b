//! Several cookies of the session's name in one request, as browsers send them if paths or domains
//! overlap.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use hyper_session::{
    Session, Sessions,
    config::StoreRegistry,
    id::StoreKey,
    session::CookiePolicy,
    store::{Expected, MemoryStore, ReadOutcome, Store, StoreFuture, WriteOutcome, WriteRequest},
};
use serde_json::{Value, json};

use crate::support::{Browser, Call, TestServer, config, data, object, test_server};

const HOUR: Duration = Duration::from_secs(3600);

async fn key(browser: &mut Browser) -> StoreKey {
    browser.visit(async |s| s.store_key()).await.unwrap()
}

async fn stored(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    browser
}

/// The way in which an id has died.
#[derive(Clone, Copy, Debug)]
enum Death {
    Destroyed,
    Regenerated,
    Expired,
    NeverStored,
    Unreadable,
}

impl Death {
    const STORED: [Self; 4] = [
        Self::Destroyed,
        Self::Regenerated,
        Self::Expired,
        Self::Unreadable,
    ];

    /// Returns the cookie of an id that has died.
    async fn cookie(self, server: &TestServer) -> String {
        let mut browser = match self {
            Self::NeverStored => {
                let mut browser = server.browser();
                browser.pass().await;
                browser
            }
            _ => stored(server).await,
        };
        let cookie = browser.cookie().unwrap().to_owned();
        match self {
            Self::Destroyed => browser.visit(async |s| s.destroy()).await.unwrap(),
            Self::Regenerated => browser.visit(async |s| s.regenerate()).await.unwrap(),
            Self::Expired => server.advance(3 * HOUR),
            Self::NeverStored => {}
            Self::Unreadable => {
                let key = key(&mut browser).await;
                let damage = Bytes::from_static(b"damage");
                let damaged = WriteRequest::new(&key, damage, HOUR, Expected::Any);
                server.memory.write(damaged).await.unwrap();
            }
        }
        cookie
    }
}

/// Rotates a session `times` times within one grace window. Returns its first cookie.
async fn rotate(browser: &mut Browser, times: usize) -> String {
    let first = browser.cookie().unwrap().to_owned();
    for _ in 0..times {
        let rotated = browser.visit(async |s| s.rotate_id(HOUR)).await;
        rotated.unwrap();
    }
    first
}

#[tokio::test]
async fn a_living_session_wins_over_a_dead_one_whatever_their_rotations() {
    for (dead_rotations, own_rotations) in [(1, 2), (2, 1), (2, 2)] {
        let server = test_server(config());
        let mut dead = stored(&server).await;
        let stale = rotate(&mut dead, dead_rotations).await;
        let token = dead.visit(async |s| s.csrf_token()).await.unwrap();
        dead.visit(async |s| s.destroy()).await.unwrap();
        let mut own = stored(&server).await;
        let cookie = rotate(&mut own, own_rotations).await;
        let mut browser = server.browser();
        browser.jar.plant("session", &stale);
        browser.jar.set("session", &cookie);
        let place = format!("{dead_rotations}, {own_rotations}");
        let (data, is_valid) = browser
            .visit(async |s| (object(s), s.verify_csrf_token(&token)))
            .await;
        assert_eq!(data, json!({"n": 1}), "{place}");
        assert!(!is_valid, "a token of the dead session: {place}");
    }
}

#[tokio::test]
async fn a_living_session_wins_over_any_dead_one_in_front_of_it() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        for death in [&Death::STORED[..], &[Death::NeverStored]].concat() {
            let server = test_server(config().cookie_policy(policy));
            let stale = match (policy, death) {
                // This policy sends no cookie for a session without content.
                (CookiePolicy::WhenUsed, Death::NeverStored) => continue,
                _ => death.cookie(&server).await,
            };
            let mut browser = stored(&server).await;
            let own = key(&mut browser).await;
            browser.jar.plant("session", &stale);
            for _ in 0..2 {
                let (key, data) = browser
                    .visit(async |s| (s.store_key().unwrap(), object(s)))
                    .await;
                assert_eq!(key, own, "{death:?}");
                assert_eq!(data, json!({"n": 1}), "{death:?}");
            }
            browser.visit(async |s| s.increment("n")).await.unwrap();
            assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 2}));
        }
    }
}

#[tokio::test]
async fn four_dead_sessions_in_front_hide_a_living_one_and_leave_it_alive() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        for death in Death::STORED {
            let server = test_server(config().cookie_policy(policy));
            let mut dead = Vec::new();
            for _ in 0..4 {
                dead.push(death.cookie(&server).await);
            }
            let own = stored(&server).await;
            for count in [3, 4] {
                let mut browser = own.clone();
                for cookie in &dead[..count] {
                    browser.jar.plant("session", cookie);
                }
                let found = data(&mut browser).await == json!({"n": 1});
                assert_eq!(found, count == 3, "{count}, {death:?}, {policy:?}");
            }
            assert_eq!(data(&mut own.clone()).await, json!({"n": 1}), "{death:?}");
        }
    }
}

#[tokio::test]
async fn a_load_that_finds_the_living_session_sends_its_cookie() {
    let server = test_server(config());
    let stale = Death::Destroyed.cookie(&server).await;
    let own = stored(&server).await.cookie().unwrap().to_owned();
    for order in [[&stale, &own], [&own, &stale]] {
        let mut browser = server.browser();
        for cookie in order {
            browser.jar.plant("session", cookie);
        }
        let visit = browser.request(async |s| s.load().await.map(drop)).await;
        assert!(visit.cookie().starts_with("session="));
    }
}

#[tokio::test]
async fn an_end_by_another_request_counts_before_an_expiry() {
    let server = test_server(config());
    let expired = Death::Expired.cookie(&server).await;
    let destroyed = Death::Destroyed.cookie(&server).await;
    for order in [[&expired, &destroyed], [&destroyed, &expired]] {
        let mut browser = server.browser();
        for cookie in order {
            browser.jar.plant("session", cookie);
        }
        let visit = browser.request(async |s| s.load().await.map(drop)).await;
        // A sign-in may have set a newer cookie since.
        assert!(visit.cookies().is_empty(), "{:?}", visit.cookies());
    }
}

#[tokio::test]
async fn a_sign_in_sticks_behind_stale_cookies() {
    let server = test_server(config());
    let mut browser = server.browser();
    for death in [Death::Expired, Death::Destroyed, Death::Regenerated] {
        let stale = death.cookie(&server).await;
        browser.jar.plant("session", &stale);
    }
    let sign_in = async |s: &Session| {
        s.regenerate().unwrap();
        s.put("user", "ada").unwrap();
    };
    browser.visit(sign_in).await;
    let data = browser.visit(async |s| object(s)).await;
    assert_eq!(data, json!({"user": "ada"}));
}

/// Only the prefix `__Host-` keeps a neighbouring subdomain from setting the cookie.
#[tokio::test]
async fn a_living_session_of_a_neighbour_in_front_is_used() {
    let server = test_server(config());
    let mut neighbour = server.browser();
    neighbour
        .visit(async |s| s.put("of", "neighbour"))
        .await
        .unwrap();
    let mut browser = stored(&server).await;
    browser.jar.plant("session", neighbour.cookie().unwrap());
    let data = browser.visit(async |s| object(s)).await;
    assert_eq!(data, json!({"of": "neighbour"}));
}

#[tokio::test]
async fn sixteen_genuine_dead_ids_cost_at_most_four_reads() {
    let server = test_server(config());
    let mut browser = server.browser();
    let mut dead = Vec::new();
    for _ in 0..16 {
        let mut other = stored(&server).await;
        browser.jar.plant("session", other.cookie().unwrap());
        dead.push(key(&mut other).await);
        other.visit(async |s| s.destroy()).await.unwrap();
    }
    server.store.calls();
    let key = key(&mut browser).await;
    assert_eq!(server.store.calls(), [Call::Read; 4]);
    assert!(!dead.contains(&key), "all were stored, so the id is new");
}

#[tokio::test]
async fn equal_ids_count_once_and_stored_ones_come_first() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.pass().await;
    let first = browser.cookie().unwrap().to_owned();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let unstored = Death::NeverStored.cookie(&server).await;
    for cookie in [&unstored, &first, &first] {
        browser.jar.plant("session", cookie);
    }
    server.store.calls();
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 1}));
    assert_eq!(server.store.calls(), [Call::Read]);
}

#[tokio::test]
async fn a_store_error_fails_the_load_instead_of_trying_the_next() {
    let server = test_server(config());
    let stale = Death::Destroyed.cookie(&server).await;
    for failing in 0..2 {
        let mut browser = stored(&server).await;
        browser.jar.plant("session", &stale);
        server.store.calls();
        server.store.fail_nth(Call::Read, failing);
        let visit = browser.request(async |s| s.load().await.is_ok()).await;
        assert_eq!((visit.value, visit.status.as_u16()), (Some(false), 503));
        assert_eq!(server.store.calls().len(), failing + 1);
    }
}

/// A store whose reads take a while.
#[derive(Clone)]
struct SlowStore(MemoryStore);

impl SlowStore {
    const DELAY: Duration = Duration::from_millis(60);
}

impl Store for SlowStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let read = self.0.read(key, touch);
        StoreFuture::new(async {
            tokio::time::sleep(Self::DELAY).await;
            read.await
        })
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.0.write(request)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.0.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.0.touch(key, ttl)
    }
}

#[tokio::test]
async fn one_time_limit_holds_for_all_lookups_of_a_request() {
    let server = test_server(config());
    let with_limit = |limit| {
        Sessions::builder(config().store("slow").commit_timeout(limit))
            .stores(StoreRegistry::new().register("slow", SlowStore(server.memory.clone())))
            .listener(server.events.listener())
            .clock(server.clock.clone())
            .build()
            .unwrap()
    };
    let mut browser = stored(&server).await;
    // The limit is not for the only id of a request.
    let mut alone = browser
        .clone()
        .with_sessions(&with_limit(SlowStore::DELAY / 4));
    assert_eq!(alone.visit(async |s| s.get("n")).await.unwrap(), Some(1));

    for _ in 0..3 {
        let stale = Death::Destroyed.cookie(&server).await;
        browser.jar.plant("session", &stale);
    }
    let mut patient = browser.clone().with_sessions(&with_limit(HOUR));
    assert_eq!(patient.visit(async |s| s.get("n")).await.unwrap(), Some(1));

    // Each lookup alone is within the limit.
    let mut late = browser.with_sessions(&with_limit(SlowStore::DELAY * 2));
    let load = async |s: Session| {
        let error = s.load().await.unwrap_err();
        let mut cause: &dyn Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        cause.to_string()
    };
    let visit = late.request(load).await;
    assert_eq!(visit.status, 503);
    let cause = visit.value.unwrap();
    assert!(cause.contains("`commit_timeout`"), "{cause}");
    assert_eq!(server.events.with_name("store_failed").len(), 1);
}

#[tokio::test]
async fn an_untouched_request_touches_nothing_and_sends_nothing() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        let server = test_server(config().cookie_policy(policy));
        let (mut browser, other) = (stored(&server).await, stored(&server).await);
        browser.jar.plant("session", other.cookie().unwrap());
        server.advance(Duration::from_secs(120));
        server.store.calls();
        if policy == CookiePolicy::WhenUsed {
            assert!(browser.pass().await.has_no_headers());
        } else {
            assert_eq!(browser.pass().await.cookies(), [""; 0]);
        }
        assert_eq!(server.store.calls(), []);
    }
}

/// Puts a value and regenerates the session. Returns the data of the session that the cookie of the response opens.
async fn put_and_open(server: &TestServer, browser: &mut Browser, path: &str) -> Value {
    let put = async |s: Session| {
        let session = s.load().await.unwrap();
        session.put(path, 1).unwrap();
        session.regenerate().unwrap();
    };
    let visit = browser.request(put).await;
    let mut opened = server.browser();
    opened.jar.take_from(&visit.headers);
    data(&mut opened).await
}

#[tokio::test]
async fn if_none_is_alive_the_first_that_was_looked_up_and_never_stored_is_adopted() {
    let server = test_server(config());
    for dead in [0, 3, 5] {
        let (mut first, mut browser) = (server.browser(), server.browser());
        first.pass().await;
        let expected = key(&mut first).await;
        for _ in 0..dead {
            let stale = Death::Destroyed.cookie(&server).await;
            browser.jar.plant("session", &stale);
        }
        browser.jar.plant("session", first.cookie().unwrap());
        browser.pass().await;
        let other = Death::NeverStored.cookie(&server).await;
        browser.jar.plant("session", &other);
        server.store.calls();
        let is_adopted = key(&mut browser.clone()).await == expected;
        assert!(is_adopted, "{dead} dead ids");
        assert!(server.store.calls().len() <= 5);
        let stored = put_and_open(&server, &mut browser, "n").await;
        assert_eq!(stored, json!({"n": 1}), "{dead} dead ids");
    }
}

#[tokio::test]
async fn an_id_that_was_not_looked_up_is_not_adopted() {
    let server = test_server(config());
    let mut first = server.browser();
    first.pass().await;
    let mut browser = server.browser();
    for _ in 0..4 {
        let stale = Death::Destroyed.cookie(&server).await;
        browser.jar.plant("session", &stale);
    }
    browser.jar.plant("session", first.cookie().unwrap());
    first.visit(async |s| s.put("n", 1)).await.unwrap();
    first.visit(async |s| s.destroy()).await.unwrap();
    let stored = put_and_open(&server, &mut browser, "user").await;
    assert_eq!(stored, json!({"user": 1}));
    assert_eq!(server.events.with_name("write_dropped"), []);
}

#[tokio::test]
async fn parallel_loads_of_one_request_agree() {
    let server = test_server(config());
    let mut browser = stored(&server).await;
    for death in [Death::Destroyed, Death::Regenerated] {
        let stale = death.cookie(&server).await;
        browser.jar.plant("session", &stale);
    }
    let gate = server.store.hold(Call::Read);
    browser
        .request(async |s| {
            let (held, quick) = tokio::join!(s.load(), async {
                gate.reached().await;
                let loaded = s.load().await.map(drop);
                gate.open();
                loaded
            });
            held.unwrap();
            quick.unwrap();
            assert_eq!(object(&s), json!({"n": 1}));
        })
        .await;
}

/// The texts of one id differ if one was sealed before a renewal.
#[tokio::test]
async fn of_two_stored_texts_of_one_id_the_first_counts() {
    for is_older_first in [true, false] {
        let config = config().cookie_policy(CookiePolicy::WhenUsed);
        let server = test_server(config.clone());
        let mut browser = stored(&server).await;
        let older = browser.cookie().unwrap().to_owned();
        server.advance(HOUR);
        browser.pass().await;
        let newer = browser.cookie().unwrap().to_owned();
        assert_ne!(older, newer);
        let (first, second) = match is_older_first {
            true => (older, newer),
            false => (newer, older),
        };
        browser.jar.plant("session", &first);
        browser.jar.set("session", &second);
        // A process that has not renewed the session. By the older text, a renewal is due.
        let another = Sessions::builder(config)
            .store(server.store.clone())
            .clock(server.clock.clone())
            .build();
        let mut elsewhere = browser.with_sessions(&another.unwrap());
        let visit = elsewhere.request(async |s| {
            s.load().await.unwrap();
        });
        assert_eq!(visit.await.cookies().len(), usize::from(is_older_first));
    }
}

/// A form of a visitor who has not signed in yet.
#[tokio::test]
async fn stale_cookies_do_not_lock_out_the_token_of_a_session_that_was_never_stored() {
    let server = test_server(config());
    for dead in [3, 4, 6] {
        let (mut first, mut browser) = (server.browser(), server.browser());
        let token = first.visit(async |s| s.csrf_token().unwrap()).await;
        for _ in 0..dead {
            let stale = Death::Destroyed.cookie(&server).await;
            browser.jar.plant("session", &stale);
        }
        browser.jar.plant("session", first.cookie().unwrap());
        let is_valid = browser.visit(async |s| s.verify_csrf_token(&token)).await;
        assert!(is_valid, "{dead} dead ids");
    }
}

/// A visitor who stores nothing has forms open, whose tokens belong to the id.
#[tokio::test]
async fn an_adopted_id_is_renewed() {
    let server = test_server(config());
    let stale = Death::Destroyed.cookie(&server).await;
    let mut browser = server.browser();
    browser.pass().await;
    let first = key(&mut browser).await;
    browser.jar.plant("session", &stale);
    for _ in 0..6 {
        server.advance(HOUR / 2);
        browser.visit(async |s| object(s)).await;
    }
    assert_eq!(key(&mut browser).await, first);
}
