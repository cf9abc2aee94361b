//! Lists of sessions by tag, and scans of all sessions.

use std::{collections::BTreeSet, time::Duration};

use hyper_session::{
    CookieStore, MigratingStore, Session, SessionError, Sessions, StoreKey,
    clock::{Clock, Timestamp},
    session::SessionInfo,
    store::MemoryStore,
};
use serde_json::{Value, json};

use crate::support::{Browser, TestServer, config, test_server};

const MINUTE: Duration = Duration::from_secs(60);
/// The idle timeout of the configuration.
const AGE: Duration = Duration::from_secs(7200);

async fn sign_in(server: &TestServer, device: &str) -> Browser {
    let mut browser = server.browser();
    browser
        .visit(async |s| {
            s.put("device.name", device)?;
            s.put("secret", "x")?;
            s.tag("user-7")
        })
        .await
        .unwrap();
    browser
}

fn names(sessions: &[SessionInfo]) -> Vec<String> {
    let name = |session: &SessionInfo| session.values().get("device.name").unwrap().unwrap();
    sessions.iter().map(name).collect()
}

#[tokio::test]
async fn sessions_of_a_tag_are_listed_with_their_times_and_values() {
    let server = test_server(config());
    let start = server.clock.now();
    let mut phone = sign_in(&server, "phone").await;
    server.clock.advance(10 * MINUTE);
    sign_in(&server, "laptop").await;
    server.clock.advance(10 * MINUTE);
    let all = server.sessions.collection();
    let listed = all.list("user-7", &["device.name"]).await.unwrap();
    assert_eq!(names(&listed), ["laptop", "phone"], "seen last comes first");

    phone.visit(async |_| ()).await;
    let listed = all
        .list("user-7", &["device.name", "missing"])
        .await
        .unwrap();
    assert_eq!(names(&listed), ["phone", "laptop"]);
    let phone = &listed[0];
    assert_eq!(phone.created_at(), start);
    assert_eq!(phone.last_seen(), Some(start.saturating_add(20 * MINUTE)));
    assert_eq!(
        listed[1].last_seen(),
        Some(start.saturating_add(10 * MINUTE))
    );
    assert_eq!(phone.tags().collect::<Vec<_>>(), ["user-7"]);
    let values: Value = phone.values().all().unwrap();
    assert_eq!(
        values,
        json!({"device": {"name": "phone"}}),
        "only chosen values"
    );
    assert!(!format!("{phone:?}").contains("phone\""));

    // A change by a job is no visit.
    let change = all.update(listed[1].key(), "n", |n: &mut u32| *n = 1);
    assert_eq!(change.await.unwrap(), Some(1));
    let laptop = all.info(listed[1].key(), &["n"]).await.unwrap().unwrap();
    assert_eq!(laptop.last_seen(), Some(start.saturating_add(10 * MINUTE)));
    assert_eq!(laptop.values().get("n").unwrap(), Some(1));
    all.destroy(laptop.key()).await.unwrap();
    assert!(all.info(laptop.key(), &[]).await.unwrap().is_none());
}

#[tokio::test]
async fn last_seen_is_unknown_after_the_absolute_timeout_bounds_the_time_to_live() {
    let server = test_server(config().absolute_timeout(2 * AGE));
    let start = server.clock.now();
    let mut phone = sign_in(&server, "phone").await;
    let all = server.sessions.collection();
    let list = async || all.list("user-7", &["device.name"]).await.unwrap();
    assert_eq!(list().await[0].last_seen(), Some(start));
    server.clock.advance(AGE / 2);
    phone.visit(async |s| s.put("n", 1)).await.unwrap();
    let seen = start.saturating_add(AGE / 2);
    assert_eq!(list().await[0].last_seen(), Some(seen));
    server.clock.advance(AGE / 4);
    sign_in(&server, "laptop").await;
    server.clock.advance(AGE / 2);
    phone.visit(async |s| s.put("n", 2)).await.unwrap();
    let listed = list().await;
    assert_eq!(names(&listed), ["laptop", "phone"], "sorted by creation");
    assert_eq!(listed[1].last_seen(), None);
    assert_eq!(listed[1].created_at(), start);
}

#[tokio::test]
async fn last_seen_is_unknown_after_a_change_of_the_timeouts() {
    let clock = Clock::manual(Clock::system().now());
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let service = |config| {
        let builder = Sessions::builder(config).store(store.clone());
        builder.clock(clock.clone()).build().unwrap()
    };
    let (start, month) = (clock.now(), 360 * AGE);
    let before = service(config());
    for max_age in [None, Some(month)] {
        let visit = async |s: &Session| {
            s.tag("user-7")?;
            max_age.map_or(Ok(()), |max_age| s.set_max_age(max_age))
        };
        Browser::new(&before).visit(visit).await.unwrap();
    }
    let seen = async |config| {
        let listed = service(config).collection().list("user-7", &[]).await;
        let mut seen: Vec<_> = listed.unwrap().iter().map(SessionInfo::last_seen).collect();
        seen.sort();
        seen
    };
    clock.advance(AGE / 2);
    assert_eq!(seen(config()).await, [Some(start), Some(start)]);
    let shorter = config().age(AGE / 4).max_age_limit(12 * AGE);
    assert_eq!(seen(shorter).await, [None, None]);
    assert_eq!(seen(config().age(month)).await, [None, Some(start)]);
    // The time to live is below the limit now.
    clock.advance(month - AGE);
    let shorter = config().max_age_limit(12 * AGE);
    assert_eq!(seen(shorter).await, [None]);
    assert_eq!(seen(config()).await, [Some(start)]);
}

async fn scanned(sessions: &Sessions) -> BTreeSet<StoreKey> {
    let mut scan = sessions.collection().scan(&["device.name"]).unwrap();
    let mut keys = BTreeSet::new();
    while let Some(session) = scan.next().await.unwrap() {
        assert!(session.values().has("device.name").unwrap());
        keys.insert(*session.key());
    }
    assert!(
        scan.next().await.unwrap().is_none(),
        "the end stays the end"
    );
    keys
}

#[tokio::test]
async fn a_scan_visits_all_live_sessions() {
    let server = test_server(config());
    let mut expected = BTreeSet::new();
    for number in 0..20 {
        let mut browser = sign_in(&server, "phone").await;
        match number % 4 {
            0 => browser.visit(async |s| s.destroy()).await.unwrap(),
            1 => browser.visit(async |s| s.regenerate()).await.unwrap(),
            _ => {}
        }
        if number % 4 > 0 {
            expected.insert(browser.visit(async |s| s.store_key()).await.unwrap());
        }
    }
    assert_eq!(scanned(&server.sessions).await, expected);
    server.clock.advance(2 * AGE);
    assert_eq!(scanned(&server.sessions).await, BTreeSet::new());
}

#[tokio::test]
async fn sessions_of_both_stores_of_a_migration_are_visited() {
    let (old, new) = (MemoryStore::new(), MemoryStore::new());
    let mut expected = BTreeSet::new();
    let before = Sessions::new(config(), old.clone()).unwrap();
    let during = Sessions::new(config(), MigratingStore::new(old, new)).unwrap();
    for (sessions, count) in [(&before, 3), (&during, 2)] {
        for _ in 0..count {
            let mut browser = Browser::new(sessions);
            browser
                .visit(async |s| s.put("device.name", "x"))
                .await
                .unwrap();
            expected.insert(browser.visit(async |s| s.store_key()).await.unwrap());
        }
    }
    assert_eq!(scanned(&during).await, expected);
    let key = expected.first().unwrap();
    let info = during.collection().info(key, &[]).await.unwrap().unwrap();
    let seen = info.last_seen().unwrap();
    assert!(seen >= info.created_at() && seen > Timestamp::from_millis(0));
}

#[tokio::test]
async fn sessions_in_cookies_cannot_be_visited() {
    let sessions = Sessions::new(config(), CookieStore::new()).unwrap();
    let error = sessions.collection().scan(&[]).unwrap_err();
    assert!(matches!(error, SessionError::ScanUnsupported), "{error:?}");
    assert_eq!(
        error.to_string(),
        "session store cannot list its sessions; use a store with `Store::scan`, or list by tag"
    );
    let key = hyper_session::id::SessionId::generate()
        .unwrap()
        .store_key();
    let error = sessions
        .collection()
        .update(&key, "n", |n: &mut u32| *n += 1)
        .await;
    assert!(error.unwrap_err().is_store_failure());
}
