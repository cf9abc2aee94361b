//! Sessions that migrate from cookies to a store at the server, seen by their visitors.

use std::{cell::Cell, time::Duration};

use hyper_session::{
    Session, Sessions,
    clock::{Clock, Timestamp},
    config::StoreRegistry,
    id::StoreKey,
    store::{CookieStore, MemoryStore, MigratingStore, Store},
};
use serde_json::json;

use crate::support::{Browser, Call, EventLog, GateStore, config, object};

const HOUR: Duration = Duration::from_secs(3600);

/// A service before, during and after the migration, with a manual clock.
struct Rollout {
    before: Sessions,
    during: Sessions,
    after: Sessions,
    gate: GateStore,
    events: EventLog,
    clock: Clock,
}

fn rollout_with(make: impl Fn(CookieStore, MemoryStore) -> CookieStore) -> Rollout {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let memory = || {
        let builder = MemoryStore::builder().clock(clock.clone());
        builder.refuse_when_full(true).build()
    };
    let (backing, gate, events) = (memory(), GateStore::new(memory()), EventLog::default());
    let cookie = || make(CookieStore::new().clock(clock.clone()), backing.clone());
    let build = |stores: StoreRegistry| {
        let sessions = Sessions::builder(config().store("main")).stores(stores);
        let sessions = sessions.listener(events.listener()).clock(clock.clone());
        sessions.build().unwrap()
    };
    let migrating = MigratingStore::new(cookie(), gate.clone());
    Rollout {
        before: build(StoreRegistry::new().register("main", cookie())),
        during: build(StoreRegistry::new().register("main", migrating)),
        after: build(StoreRegistry::new().register("main", gate.clone())),
        gate,
        events,
        clock,
    }
}

fn rollout() -> Rollout {
    rollout_with(|store, _| store)
}

fn rollout_with_revocation() -> Rollout {
    rollout_with(|store, backing| store.with_revocation(backing))
}

impl Rollout {
    /// Signs a visitor in before the migration.
    async fn visitor(&self, user: &str) -> (Browser, StoreKey) {
        let mut browser = Browser::new(&self.before);
        let key = browser
            .visit(async |session| {
                session.regenerate().unwrap();
                session.put("user", user).unwrap();
                session.tag(user).unwrap();
                session.store_key().unwrap()
            })
            .await;
        assert_eq!(browser.jar.names(), ["session", "session-data"]);
        (browser.with_sessions(&self.during), key)
    }

    async fn in_store(&self) -> Option<u64> {
        self.gate.count().await.unwrap()
    }
}

async fn count(browser: &mut Browser) {
    browser
        .visit(async |session| session.increment("visits").unwrap())
        .await;
}

async fn user(browser: &mut Browser) -> Option<String> {
    browser
        .visit(async |session: &Session| session.get("user").unwrap())
        .await
}

#[tokio::test]
async fn a_session_moves_with_its_first_write_and_its_cookie_goes() {
    let rollout = rollout();
    let (mut browser, key) = rollout.visitor("ada").await;
    assert_eq!(user(&mut browser).await.as_deref(), Some("ada"));
    assert_eq!(
        rollout.in_store().await,
        Some(0),
        "reading migrates nothing"
    );
    let visit = browser
        .request(async |session| {
            session.load().await.unwrap().increment("visits").unwrap();
        })
        .await;
    let removal = visit.cookies();
    let removal = removal.iter().find(|it| it.starts_with("session-data=;"));
    assert!(removal.unwrap().contains("Max-Age=0"), "{removal:?}");
    assert_eq!(browser.jar.names(), ["session"]);
    count(&mut browser).await;
    let mut browser = browser.with_sessions(&rollout.after);
    let (all, same) = browser
        .visit(async |session| (object(session), session.store_key().unwrap()))
        .await;
    assert_eq!(all, json!({"user": "ada", "visits": 2}));
    assert_eq!(same, key);
}

#[tokio::test]
async fn a_session_that_is_only_read_moves_when_it_is_renewed() {
    for opens in [true, false] {
        let rollout = rollout();
        let (mut browser, _) = rollout.visitor("ada").await;
        rollout.clock.advance(HOUR);
        match opens {
            true => drop(user(&mut browser).await),
            false => drop(browser.pass().await),
        }
        assert_eq!(browser.jar.names(), ["session"]);
        rollout.clock.advance(HOUR + HOUR / 2);
        let mut browser = browser.with_sessions(&rollout.after);
        assert_eq!(user(&mut browser).await.as_deref(), Some("ada"));
        let owned = rollout.after.collection().tagged("ada").await.unwrap();
        assert_eq!(owned.len(), 1);
    }
}

#[tokio::test]
async fn a_new_visitor_is_at_the_server_from_the_start() {
    let rollout = rollout();
    let mut browser = Browser::new(&rollout.during);
    count(&mut browser).await;
    assert_eq!(browser.jar.names(), ["session"]);
    assert_eq!(rollout.in_store().await, Some(1));
}

#[tokio::test]
async fn first_requests_that_run_together_lose_no_write_and_no_tag() {
    for rollout in [rollout(), rollout_with_revocation()] {
        let (browser, key) = rollout.visitor("ada").await;
        let (mut first, mut second, mut third) = (browser.clone(), browser.clone(), browser);
        first
            .visit(async |session| {
                session.increment("visits").unwrap();
                session.tag("one").unwrap();
                second
                    .visit(async |session| {
                        session.increment("visits").unwrap();
                        session.tag("two").unwrap();
                        count(&mut third).await;
                    })
                    .await;
            })
            .await;
        assert_eq!(rollout.events.with_name("conflict_resolved").len(), 2);
        let mut browser = first.with_sessions(&rollout.after);
        let all = browser.visit(async |session| object(session)).await;
        assert_eq!(all, json!({"user": "ada", "visits": 3}));
        for tag in ["ada", "one", "two"] {
            let keys = rollout.after.collection().tagged(tag).await.unwrap();
            assert_eq!(keys, [key], "{tag}");
        }
    }
}

#[tokio::test]
async fn who_gets_no_answer_to_the_first_write_still_has_the_session() {
    for rollout in [rollout(), rollout_with_revocation()] {
        let (mut browser, _) = rollout.visitor("ada").await;
        // The response is lost. The browser has the same cookies as before.
        count(&mut browser.clone()).await;
        assert_eq!(browser.jar.names(), ["session", "session-data"]);
        count(&mut browser).await;
        assert_eq!(browser.jar.names(), ["session"]);
        let all = browser.visit(async |session| object(session)).await;
        assert_eq!(all, json!({"user": "ada", "visits": 2}));
    }
}

#[tokio::test]
async fn a_move_that_stops_half_way_is_finished_by_the_next_request() {
    let rollout = rollout_with_revocation();
    let (mut browser, key) = rollout.visitor("ada").await;
    // The reserved marker is the first write, and the session the second.
    rollout.gate.fail_nth(Call::Write, 1);
    let visit = browser
        .clone()
        .request(async |session| {
            session.load().await.unwrap().increment("visits").unwrap();
        })
        .await;
    assert!(visit.status.is_server_error());
    assert_eq!(user(&mut browser).await.as_deref(), Some("ada"));
    assert!(
        rollout
            .during
            .collection()
            .get(&key)
            .await
            .unwrap()
            .is_none()
    );
    count(&mut browser).await;
    let mut browser = browser.with_sessions(&rollout.after);
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"user": "ada", "visits": 1}));
}

#[tokio::test]
async fn flash_messages_survive_the_change() {
    let rollout = rollout();
    let (browser, _) = rollout.visitor("ada").await;
    let mut browser = browser.with_sessions(&rollout.before);
    browser
        .visit(async |session| session.flash("notice", "saved").unwrap())
        .await;
    let mut browser = browser.with_sessions(&rollout.during);
    let notice: Option<String> = browser
        .visit(async |session| {
            session.increment("visits").unwrap();
            session.flash_messages().unwrap().get("notice").unwrap()
        })
        .await;
    assert_eq!(notice.as_deref(), Some("saved"));
    assert_eq!(browser.jar.names(), ["session"]);
    let notice: Option<String> = browser
        .visit(async |session| session.flash_messages().unwrap().get("notice").unwrap())
        .await;
    assert_eq!(notice, None);
}

#[tokio::test]
async fn a_new_id_takes_everything_along_and_the_old_one_is_dead() {
    for rollout in [rollout(), rollout_with_revocation()] {
        let (mut browser, old) = rollout.visitor("ada").await;
        let planted = browser.clone();
        let mut slow = browser.clone();
        let key = slow
            .visit(async |session| {
                session.put("late", 1).unwrap();
                browser
                    .visit(async |session| {
                        session.regenerate().unwrap();
                        session.increment("visits").unwrap();
                        session.tag("staff").unwrap();
                        session.store_key().unwrap()
                    })
                    .await
            })
            .await;
        assert_ne!(key, old);
        assert_eq!(browser.jar.names(), ["session"]);
        assert_eq!(rollout.events.with_name("write_dropped").len(), 1);
        assert!(
            planted
                .clone()
                .visit(async |session| session.is_fresh())
                .await
        );
        let mut browser = browser.with_sessions(&rollout.after);
        let all = browser.visit(async |session| object(session)).await;
        assert_eq!(all, json!({"user": "ada", "visits": 1}));
        for tag in ["ada", "staff"] {
            let keys = rollout.after.collection().tagged(tag).await.unwrap();
            assert_eq!(keys, [key], "{tag}");
        }
    }
}

#[tokio::test]
async fn a_write_of_another_request_during_an_id_change_is_migrated() {
    let rollout = rollout();
    let (mut browser, _) = rollout.visitor("ada").await;
    let mut other = browser.clone();
    browser
        .visit(async |session| {
            session.regenerate().unwrap();
            session.put("a", 1).unwrap();
            other
                .visit(async |session| session.put("b", 2).unwrap())
                .await;
        })
        .await;
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"user": "ada", "a": 1, "b": 2}));
}

/// The job finds the new record while the session is still in its cookie, and waits.
#[tokio::test]
async fn a_job_that_changes_a_session_during_an_id_change_loses_nothing() {
    let rollout = rollout();
    let (mut browser, _) = rollout.visitor("ada").await;
    let (mut other, new) = (browser.clone(), Cell::new(None));
    let fence = rollout.gate.hold_nth(Call::Write, 1);
    let renewal = browser.visit(async |session| {
        session.regenerate().unwrap();
        session.put("a", 1).unwrap();
        new.set(session.store_key().ok());
    });
    tokio::join!(renewal, async {
        fence.reached().await;
        other
            .visit(async |session| session.put("b", 2).unwrap())
            .await;
        let all = rollout.during.collection();
        rollout.gate.calls();
        let job = async {
            let add = |number: &mut i64| *number += 10;
            let sum = all.update(&new.get().unwrap(), "a", add).await;
            assert_eq!(sum.unwrap(), Some(11));
        };
        tokio::join!(job, async {
            let mut reads = 0;
            while reads < 2 {
                tokio::task::yield_now().await;
                let calls = rollout.gate.calls();
                reads += calls.iter().filter(|call| **call == Call::Read).count();
            }
            fence.open();
        });
    });
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"user": "ada", "a": 11, "b": 2}));
}

#[tokio::test]
async fn who_logs_out_is_logged_out() {
    for rollout in [rollout(), rollout_with_revocation()] {
        let (mut browser, _) = rollout.visitor("ada").await;
        let mut thief = browser.clone();
        let mut slow = browser.clone();
        slow.visit(async |session| {
            session.put("late", 1).unwrap();
            browser
                .visit(async |session| session.destroy().unwrap())
                .await;
        })
        .await;
        assert!(browser.jar.names().is_empty());
        assert_eq!(rollout.events.with_name("write_dropped").len(), 1);
        assert_eq!(user(&mut thief).await, None);
    }
}

#[tokio::test]
async fn a_copy_of_the_cookies_is_refused_for_good_where_there_is_a_list() {
    for (rollout, stays) in [(rollout(), true), (rollout_with_revocation(), false)] {
        let (mut browser, _) = rollout.visitor("ada").await;
        let mut thief = browser.clone();
        count(&mut browser).await;
        browser
            .visit(async |session| session.destroy().unwrap())
            .await;
        assert_eq!(user(&mut thief.clone()).await, None);
        // The tombstone of the new store has expired, and the cookie is still valid.
        rollout.clock.advance(HOUR);
        assert_eq!(user(&mut thief).await.is_some(), stays);
    }
}

#[tokio::test]
async fn logging_out_everywhere_ends_what_has_moved_and_what_has_not() {
    let rollout = rollout_with_revocation();
    let (mut phone, _) = rollout.visitor("ada").await;
    let (mut laptop, kept) = rollout.visitor("ada").await;
    let (mut old, _) = rollout.visitor("ada").await;
    let (mut bob, _) = rollout.visitor("bob").await;
    count(&mut phone).await;
    let all = rollout.during.collection();
    assert_eq!(all.tagged("ada").await.unwrap().len(), 1);
    rollout.clock.advance(Duration::from_millis(1));
    all.destroy_tagged("ada", Some(&kept)).await.unwrap();
    assert_eq!(user(&mut phone).await, None);
    assert_eq!(user(&mut old).await, None);
    assert_eq!(user(&mut laptop).await.as_deref(), Some("ada"));
    assert_eq!(user(&mut bob).await.as_deref(), Some("bob"));
    // The exempt session migrates like any other, and has its tag afterwards.
    count(&mut laptop).await;
    let all = rollout.after.collection();
    assert_eq!(all.destroy_tagged("ada", None).await.unwrap(), 1);
    assert_eq!(user(&mut laptop.with_sessions(&rollout.after)).await, None);
}

#[tokio::test]
async fn who_moves_while_the_owner_logs_out_everywhere_does_not_escape() {
    let rollout = rollout_with_revocation();
    let (mut browser, _) = rollout.visitor("ada").await;
    browser
        .visit(async |session| {
            session.increment("visits").unwrap();
            let all = rollout.during.collection();
            all.destroy_tagged("ada", None).await.unwrap();
        })
        .await;
    assert_eq!(rollout.events.with_name("write_dropped").len(), 1);
    assert_eq!(user(&mut browser).await, None);
}

/// The logout comes before the marker is stored, or after the cookie was found valid.
#[tokio::test]
async fn a_log_out_everywhere_between_two_steps_of_a_move_ends_the_session() {
    for nth in 0..2 {
        let rollout = rollout_with_revocation();
        let (mut browser, _) = rollout.visitor("ada").await;
        let mut copy = browser.clone();
        let gate = rollout.gate.hold_nth(Call::Write, nth);
        let ending = async {
            gate.reached().await;
            let all = rollout.during.collection();
            all.destroy_tagged("ada", None).await.unwrap();
            gate.open();
        };
        tokio::join!(count(&mut browser), ending);
        assert_eq!(rollout.events.with_name("write_dropped").len(), 1, "{nth}");
        assert_eq!(user(&mut browser).await, None);
        assert_eq!(user(&mut copy).await, None);
    }
}

#[tokio::test]
async fn a_job_finds_a_session_after_it_has_left_its_cookie() {
    let rollout = rollout();
    let (mut browser, key) = rollout.visitor("ada").await;
    let all = rollout.during.collection();
    let change = async || {
        let change = all.update(&key, "unread", |unread: &mut u32| *unread += 1);
        change.await.unwrap()
    };
    assert_eq!(change().await, None);
    count(&mut browser).await;
    assert_eq!(change().await, Some(1));
    let unread = browser.visit(async |s| s.get::<u32>("unread").unwrap());
    assert_eq!(unread.await, Some(1));
}

#[tokio::test]
async fn destroying_a_cookie_session_without_a_list_is_an_error() {
    let rollout = rollout();
    let (mut phone, moved) = rollout.visitor("ada").await;
    let (mut laptop, kept) = rollout.visitor("ada").await;
    count(&mut phone).await;
    let all = rollout.during.collection();
    let error = all.destroy_tagged("ada", None).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("with_revocation"),
        "{error:?}"
    );
    assert_eq!(
        user(&mut phone).await,
        None,
        "the session at the server was destroyed"
    );
    assert_eq!(user(&mut laptop).await.as_deref(), Some("ada"));
    assert!(all.destroy(&kept).await.is_err());
    all.destroy(&moved).await.unwrap();
}

#[tokio::test]
async fn a_session_that_was_in_overflow_moves_to_the_same_store() {
    let memory = MemoryStore::new();
    let cookie = || CookieStore::new().with_overflow(memory.clone());
    let build = |store| {
        let builder = Sessions::builder(config().store("main"));
        builder.stores(store).build().unwrap()
    };
    let before = build(StoreRegistry::new().register("main", cookie()));
    let during =
        build(StoreRegistry::new().register("main", MigratingStore::new(cookie(), memory.clone())));
    let mut browser = Browser::new(&before);
    let text = crate::support::cookie_server::text(9000);
    browser
        .visit(async |session| session.put("text", &text).unwrap())
        .await;
    let mut browser = browser.with_sessions(&during);
    count(&mut browser).await;
    count(&mut browser).await;
    assert_eq!(browser.jar.names(), ["session"]);
    let mut browser = browser.with_sessions(&build(
        StoreRegistry::new().register("main", memory.clone()),
    ));
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"text": text, "visits": 2}));
}
