//! Sessions of 2 hours and of 30 days side by side in every store, while they are renewed, get a new id, and
//! migrate or outlive a restart.

use std::time::Duration;

use hyper_session::{
    Session, SessionConfig, Sessions,
    clock::{Clock, Timestamp},
    config::AssuranceLevel,
    id::StoreKey,
    session::MaxAgeError,
    store::{
        CookieStore, MemoryStore, MigratingStore, ReadOutcome, Store, StoreFuture, WriteOutcome,
        WriteRequest,
    },
};

#[cfg(all(feature = "file", unix))]
use hyper_session::store::FileStore;

#[cfg(all(feature = "file", unix))]
use crate::support::scratch::Scratch;
use crate::support::{Browser, Visit, config};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The state of a service in one of three phases. A restart or a step of a migration is between two of them.
type Open<'a> = &'a mut dyn FnMut(usize) -> Sessions;

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_800_000_000_000))
}

fn build(clock: &Clock, store: impl Store) -> Sessions {
    build_with(config(), clock, store)
}

fn build_with(config: SessionConfig, clock: &Clock, store: impl Store) -> Sessions {
    let sessions = Sessions::builder(config).store(store);
    sessions.clock(clock.clone()).build().unwrap()
}

/// Asserts that each cookie lives for this time. A data cookie may live for a touch interval longer.
fn assert_max_age<T>(visit: &Visit<T>, seconds: u64) {
    assert!(!visit.cookies().is_empty());
    let set = visit.cookies().into_iter();
    for cookie in set.filter(|cookie| !cookie.contains("; Max-Age=0;")) {
        let mut attributes = cookie.split("; ");
        let max_age = attributes.find_map(|it| it.strip_prefix("Max-Age="));
        let max_age: u64 = max_age.unwrap().parse().unwrap();
        assert!((seconds..=seconds + 60).contains(&max_age), "{cookie}");
    }
}

async fn sign_in(sessions: &Sessions, max_age: Option<Duration>) -> Browser {
    let mut browser = Browser::new(sessions);
    browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            if let Some(max_age) = max_age {
                s.set_max_age(max_age).unwrap();
            }
        })
        .await;
    browser
}

async fn is_alive(browser: &mut Browser) -> bool {
    browser.visit(async |s| s.has("n")).await.unwrap()
}

async fn load(session: Session) {
    session.load().await.unwrap();
}

/// Visits the three phases with sessions of both kinds.
async fn side_by_side(clock: &Clock, open: Open<'_>) {
    let first = open(0);
    let mut short = sign_in(&first, None).await;
    let mut long = sign_in(&first, Some(30 * DAY)).await;
    let mut other = sign_in(&first, Some(30 * DAY)).await;
    for browser in [&mut long, &mut other] {
        clock.advance(HOUR);
        // Renewals, with and without a load.
        assert_max_age(&short.pass().await, 7200);
        assert_max_age(&browser.pass().await, 2_592_000);
        clock.advance(MINUTE);
        assert_max_age(&short.request(load).await, 7200);
        assert_max_age(&browser.request(load).await, 2_592_000);
    }
    first.close().await.unwrap();
    drop(first);
    let second = open(1);
    let [mut short, mut long, mut other] =
        [short, long, other].map(|browser| browser.with_sessions(&second));
    clock.advance(MINUTE);
    // One session migrates by a renewal, one by a write, one with a new id.
    assert_max_age(&short.pass().await, 7200);
    other.visit(async |s| s.increment("n")).await.unwrap();
    long.visit(async |s| s.regenerate()).await.unwrap();
    assert_max_age(&long.request(load).await, 2_592_000);
    clock.advance(2 * HOUR);
    assert!(is_alive(&mut short).await);
    second.close().await.unwrap();
    drop(second);
    let third = open(2);
    let [mut short, mut long, mut other] =
        [short, long, other].map(|browser| browser.with_sessions(&third));
    clock.advance(2 * HOUR + MINUTE + SECOND);
    assert!(!is_alive(&mut short).await);
    assert!(is_alive(&mut long).await && is_alive(&mut other).await);
    // From one kind to the other.
    let shorten = async |s: &Session| s.set_max_age(3 * HOUR).unwrap();
    long.visit(shorten).await;
    other.visit(async |s| s.reset_max_age().unwrap()).await;
    clock.advance(2 * HOUR + MINUTE + SECOND);
    assert!(is_alive(&mut long).await && !is_alive(&mut other).await);
    clock.advance(3 * HOUR + MINUTE + SECOND);
    assert!(!is_alive(&mut long).await);
}

#[tokio::test]
async fn in_memory() {
    let clock = clock();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    side_by_side(&clock, &mut |_| build(&clock, store.clone())).await;
    store.sweep();
    assert_eq!(store.stats().records, 0);
}

/// A store with the four methods that every store has.
struct FourMethods(MemoryStore);

impl Store for FourMethods {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.0.read(key, touch)
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
async fn in_a_store_with_four_methods() {
    let clock = clock();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    side_by_side(&clock, &mut |_| build(&clock, FourMethods(store.clone()))).await;
}

#[cfg(all(feature = "file", unix))]
#[tokio::test]
async fn in_files_with_restarts() {
    let (clock, scratch) = (clock(), Scratch::new());
    let mut open = |_| {
        let store = FileStore::builder(scratch.path()).clock(clock.clone());
        build(&clock, store.open().unwrap())
    };
    side_by_side(&clock, &mut open).await;
}

#[tokio::test]
async fn in_cookies() {
    let clock = clock();
    let mut open = |_| build(&clock, CookieStore::new().clock(clock.clone()));
    side_by_side(&clock, &mut open).await;
}

#[tokio::test]
async fn from_one_store_to_another() {
    let clock = clock();
    let memory = || MemoryStore::builder().clock(clock.clone()).build();
    let (old, new) = (memory(), memory());
    let mut open = |phase| match phase {
        0 => build(&clock, old.clone()),
        1 => build(&clock, MigratingStore::new(old.clone(), new.clone())),
        _ => build(&clock, new.clone()),
    };
    side_by_side(&clock, &mut open).await;
}

#[tokio::test]
async fn from_cookies_to_a_store() {
    let clock = clock();
    let new = MemoryStore::builder().clock(clock.clone()).build();
    let cookies = || CookieStore::new().clock(clock.clone());
    let mut open = |phase| match phase {
        0 => build(&clock, cookies()),
        1 => build(&clock, MigratingStore::new(cookies(), new.clone())),
        _ => build(&clock, new.clone()),
    };
    side_by_side(&clock, &mut open).await;
}

/// Visits with sessions of 30 days after a restart with a limit of 2 hours: with a renewal alone, with a load,
/// with a write and with a new id.
async fn lower_the_limit(clock: &Clock, open: &dyn Fn(SessionConfig) -> Sessions) {
    let before = open(config().age(HOUR));
    let mut browsers = Vec::new();
    for _ in 0..4 {
        browsers.push(sign_in(&before, Some(30 * DAY)).await);
    }
    before.close().await.unwrap();
    drop(before);
    let after = open(config().age(HOUR).max_age_limit(2 * HOUR));
    let mut browsers = browsers.into_iter().map(|it| it.with_sessions(&after));
    let [mut passed, mut loaded, mut written, mut moved] =
        std::array::from_fn(|_| browsers.next().unwrap());
    clock.advance(90 * MINUTE);
    assert_max_age(&passed.pass().await, 7200);
    assert_max_age(&loaded.request(load).await, 7200);
    written.visit(async |s| s.increment("n")).await.unwrap();
    moved.visit(async |s| s.regenerate()).await.unwrap();
    let expires_at = moved.visit(async |s| s.expires_at()).await.unwrap();
    assert_eq!(expires_at, clock.now().saturating_add(2 * HOUR));
    clock.advance(2 * HOUR - SECOND);
    for browser in [&mut passed, &mut loaded, &mut written, &mut moved] {
        assert_max_age(&browser.request(load).await, 7200);
        assert!(is_alive(browser).await);
    }
    clock.advance(2 * HOUR + MINUTE + SECOND);
    for browser in [&mut passed, &mut loaded, &mut written, &mut moved] {
        assert!(!is_alive(browser).await);
    }
    after.close().await.unwrap();
}

#[tokio::test]
async fn a_lowered_limit_applies_to_stored_timeouts() {
    let clock = clock();
    let memory = MemoryStore::builder().clock(clock.clone()).build();
    lower_the_limit(&clock, &|config| build_with(config, &clock, memory.clone())).await;
    let cookies = || CookieStore::new().clock(clock.clone());
    lower_the_limit(&clock, &|config| build_with(config, &clock, cookies())).await;
}

#[tokio::test]
async fn an_assurance_level_applies_to_stored_timeouts() {
    let clock = clock();
    let memory = MemoryStore::builder().clock(clock.clone()).build();
    let before = build(&clock, memory.clone());
    let browser = sign_in(&before, Some(2 * HOUR)).await;
    let after = build_with(config().assurance(AssuranceLevel::Aal2), &clock, memory);
    let mut browser = browser.with_sessions(&after);
    clock.advance(30 * MINUTE);
    assert_max_age(&browser.pass().await, 3540);
    clock.advance(HOUR + SECOND);
    assert!(!is_alive(&mut browser).await);
}

/// The tombstones of the new store are not a revocation list.
#[tokio::test]
async fn a_migration_from_cookies_has_the_limit_of_the_cookie_store() {
    let clock = clock();
    let memory = || {
        let builder = MemoryStore::builder().clock(clock.clone());
        builder.refuse_when_full(true).build()
    };
    let cookies = || CookieStore::new().clock(clock.clone());
    let long = async |s: &Session| s.set_max_age(30 * DAY);
    for (old, accepts) in [
        (cookies(), true),
        (cookies().with_revocation(memory()), false),
    ] {
        let prepared = MigratingStore::prepare(old.clone(), memory());
        for store in [prepared, MigratingStore::new(old, memory())] {
            let sessions = build(&clock, store);
            let set = Browser::new(&sessions).visit(long).await;
            assert_eq!(set.is_ok(), accepts, "{set:?}");
        }
    }
}

#[tokio::test]
async fn the_data_cookie_of_a_browser_session_has_no_max_age() {
    let clock = clock();
    let sessions = build(&clock, CookieStore::new().clock(clock.clone()));
    let mut browser = sign_in(&sessions, None).await;
    let visit = browser
        .request(async |s| s.load().await.unwrap().set_browser_session().unwrap())
        .await;
    assert_eq!(visit.cookies().len(), 2);
    assert!(visit.cookies().iter().all(|it| !it.contains("Max-Age")));
    clock.advance(HOUR);
    let renewed = browser.pass().await;
    assert_eq!(renewed.cookies().len(), 2);
    assert!(renewed.cookies().iter().all(|it| !it.contains("Max-Age")));
}

/// Returns a service with a revocation list.
fn revoking(clock: &Clock, config: SessionConfig) -> Sessions {
    let list = MemoryStore::builder().clock(clock.clone());
    let list = list.refuse_when_full(true).build();
    let store = CookieStore::new()
        .clock(clock.clone())
        .with_revocation(list);
    build_with(config, clock, store)
}

#[tokio::test]
async fn a_revoked_session_stays_revoked_for_its_own_time() {
    let clock = clock();
    let sessions = revoking(&clock, config().max_age_limit(30 * DAY));
    let mut browser = sign_in(&sessions, Some(30 * DAY)).await;
    let mut thief = browser.clone();
    browser.visit(async |s| s.destroy()).await.unwrap();
    clock.advance(30 * DAY - SECOND);
    assert!(!is_alive(&mut thief).await);
    let mut other = sign_in(&sessions, Some(30 * DAY)).await;
    clock.advance(30 * DAY - SECOND);
    assert!(is_alive(&mut other).await, "one that is not revoked lives");
}

#[tokio::test]
async fn a_revocation_list_bounds_the_timeout_to_age_by_default() {
    let clock = clock();
    let sessions = revoking(&clock, config());
    let refused = Browser::new(&sessions)
        .visit(async |s| s.set_max_age(3 * HOUR))
        .await;
    let error = refused.unwrap_err();
    let expected =
        "session max age 3h is too long; choose at most 2h, or raise `max_age_limit`".to_owned();
    assert_eq!(error.to_string(), expected);
    let reason = match error {
        hyper_session::SessionError::MaxAge(reason) => reason,
        other => panic!("{other}"),
    };
    assert!(matches!(
        reason,
        MaxAgeError::TooLong {
            setting: "max_age_limit",
            ..
        }
    ));
}
