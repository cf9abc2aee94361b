//! Sessions revoked before their cookies expire.

use std::time::Duration;

use hyper_session::{
    Session, SessionConfig, Sessions,
    clock::{Clock, Timestamp},
    config::StoreRegistry,
    store::{CookieStore, MemoryStore, Store, cookie::CookieStoreError},
};
use serde_json::json;

use crate::support::{
    Browser, Call, CookieServer, GateStore, config, cookie_server,
    cookie_server::cookie_server_with, object,
};

const HOUR: Duration = Duration::from_secs(3600);
const MILLI: Duration = Duration::from_millis(1);

fn server_with_revocation() -> CookieServer {
    cookie_server_with(config(), |store, backing| store.with_revocation(backing))
}

async fn login(browser: &mut Browser, user: &str) -> hyper_session::id::StoreKey {
    browser
        .visit(async |session| {
            session.regenerate().unwrap();
            session.put("user", user).unwrap();
            session.tag(user).unwrap();
            session.store_key().unwrap()
        })
        .await
}

async fn user(browser: &mut Browser) -> Option<String> {
    browser
        .visit(async |session: &Session| session.get("user").unwrap())
        .await
}

#[tokio::test]
async fn cookies_that_come_back_after_a_log_out_are_refused() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    login(&mut browser, "ada").await;
    let mut thief = browser.clone();
    assert_eq!(user(&mut thief).await.as_deref(), Some("ada"));
    browser
        .visit(async |session| session.destroy().unwrap())
        .await;
    server.events.clear();
    let kept = thief.clone();
    assert_eq!(user(&mut thief).await, None);
    assert_eq!(server.rejections(), ["data_revoked"]);
    // Until the cookie expires.
    server.advance(2 * HOUR);
    let mut thief = kept;
    assert_eq!(user(&mut thief).await, None);
}

#[tokio::test]
async fn without_a_list_a_copy_outlives_the_log_out_until_it_expires() {
    let server = cookie_server();
    let mut browser = server.browser();
    login(&mut browser, "ada").await;
    let mut thief = browser.clone();
    browser
        .visit(async |session| session.destroy().unwrap())
        .await;
    assert_eq!(user(&mut thief).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn an_entry_goes_away_when_no_cookie_of_its_time_can_be_alive() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    login(&mut browser, "ada").await;
    browser
        .visit(async |session| session.destroy().unwrap())
        .await;
    assert_eq!(server.server_side.count().await.unwrap(), Some(1));
    server.advance(3 * HOUR);
    server.server_side.sweep();
    assert_eq!(server.server_side.count().await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_replaced_id_is_refused_with_its_data() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", 1).unwrap())
        .await;
    let mut planted = browser.clone();
    login(&mut browser, "ada").await;
    assert!(planted.visit(async |session| session.is_fresh()).await);
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"cart": 1, "user": "ada"}));
}

#[tokio::test]
async fn a_write_of_a_slower_request_after_the_logout_is_dropped() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    login(&mut browser, "ada").await;
    let mut slow = browser.clone();
    slow.request(async |session| {
        session.load().await.unwrap().put("late", 1).unwrap();
        browser
            .visit(async |session| session.destroy().unwrap())
            .await;
    })
    .await;
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
    // The response that destroyed the session removed the cookies. This one sets none.
    assert_eq!(user(&mut slow).await, None);
}

#[tokio::test]
async fn a_session_is_ended_by_its_key_without_its_visitor() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    let key = login(&mut browser, "ada").await;
    server.sessions.collection().destroy(&key).await.unwrap();
    assert_eq!(user(&mut browser).await, None);
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_session_of_the_owner_and_no_other() {
    let server = server_with_revocation();
    let mut browsers: Vec<Browser> = (0..3).map(|_| server.browser()).collect();
    for browser in &mut browsers {
        login(browser, "ada").await;
        server.advance(MILLI);
    }
    let (mut bob, mut guest) = (server.browser(), server.browser());
    login(&mut bob, "bob").await;
    guest
        .visit(async |session| session.put("user", "guest").unwrap())
        .await;
    let all = server.sessions.collection();
    assert_eq!(all.destroy_tagged("ada", None).await.unwrap(), 0);
    server.events.clear();
    for browser in &mut browsers {
        assert_eq!(user(browser).await, None);
    }
    assert_eq!(server.rejections(), ["data_revoked"; 3]);
    assert_eq!(user(&mut bob).await.as_deref(), Some("bob"));
    assert_eq!(user(&mut guest).await.as_deref(), Some("guest"));
    // A later log-in is valid.
    server.advance(MILLI);
    login(&mut browsers[0], "ada").await;
    assert_eq!(user(&mut browsers[0]).await.as_deref(), Some("ada"));
    assert!(all.tagged("ada").await.is_err());
}

#[tokio::test]
async fn a_request_that_runs_while_its_owner_logs_out_everywhere_does_not_undo_it() {
    for (tags_again, regenerates) in [(false, false), (true, false), (false, true), (true, true)] {
        let server = server_with_revocation();
        let mut browser = server.browser();
        login(&mut browser, "ada").await;
        server.advance(MILLI);
        browser
            .request(async |session| {
                session.load().await.unwrap().put("late", 1).unwrap();
                let all = server.sessions.collection();
                all.destroy_tagged("ada", None).await.unwrap();
                server.advance(MILLI);
                if tags_again {
                    session.tag("ada").unwrap();
                }
                if regenerates {
                    session.regenerate().unwrap();
                }
            })
            .await;
        assert_eq!(user(&mut browser).await, None, "{tags_again} {regenerates}");
    }
}

/// Other stores destroy the session, so a slower write is dropped there as well.
#[tokio::test]
async fn a_request_that_removes_the_tag_while_its_owner_logs_out_everywhere_ends_too() {
    for regenerates in [false, true] {
        let server = server_with_revocation();
        let mut browser = server.browser();
        login(&mut browser, "ada").await;
        server.advance(MILLI);
        browser
            .request(async |session| {
                session.load().await.unwrap().untag("ada").unwrap();
                let all = server.sessions.collection();
                all.destroy_tagged("ada", None).await.unwrap();
                if regenerates {
                    session.regenerate().unwrap();
                }
            })
            .await;
        assert_eq!(server.events.with_name("write_dropped").len(), 1);
        assert_eq!(user(&mut browser).await, None, "{regenerates}");
    }
}

/// A tag keeps its time through writes, and a tag that is added again gets a new one.
#[tokio::test]
async fn only_a_new_tag_is_later_than_a_log_out_everywhere() {
    for (tags_again, lives) in [(false, false), (true, true)] {
        let server = server_with_revocation();
        let mut browser = server.browser();
        login(&mut browser, "ada").await;
        let mut copy = browser.clone();
        browser
            .visit(async |session| session.untag("ada").unwrap())
            .await;
        server.advance(MILLI);
        let all = server.sessions.collection();
        all.destroy_tagged("ada", None).await.unwrap();
        server.advance(MILLI);
        match tags_again {
            true => {
                let tagging = browser.visit(async |session| session.tag("ada").unwrap());
                tagging.await;
            }
            false => browser = copy.clone(),
        }
        for round in 0..2 {
            browser
                .visit(async |session| {
                    session.put("round", round).unwrap();
                    session.regenerate().unwrap();
                })
                .await;
        }
        assert_eq!(user(&mut browser).await.is_some(), lives);
        assert_eq!(user(&mut copy).await, None);
    }
}

#[tokio::test]
async fn one_session_can_be_spared_and_lives_on_under_its_next_ids() {
    let server = server_with_revocation();
    let (mut here, mut there) = (server.browser(), server.browser());
    let key = login(&mut here, "ada").await;
    login(&mut there, "ada").await;
    let all = server.sessions.collection();
    server.advance(MILLI);
    all.destroy_tagged("ada", Some(&key)).await.unwrap();
    assert_eq!(user(&mut there).await, None);
    assert_eq!(user(&mut here).await.as_deref(), Some("ada"));
    here.visit(async |session| session.regenerate().unwrap())
        .await;
    assert_eq!(user(&mut here).await.as_deref(), Some("ada"));
    // Within the request that is exempt itself, before or after it gets a new id.
    for first in [true, false] {
        server.advance(MILLI);
        here.visit(async |session| {
            if first {
                session.regenerate().unwrap();
            }
            let key = session.store_key().unwrap();
            all.destroy_tagged("ada", Some(&key)).await.unwrap();
            if !first {
                session.regenerate().unwrap();
            }
        })
        .await;
        assert_eq!(user(&mut here).await.as_deref(), Some("ada"), "{first}");
    }
    server.advance(MILLI);
    all.destroy_tagged("ada", None).await.unwrap();
    assert_eq!(user(&mut here).await, None);
}

#[tokio::test]
async fn sparing_a_session_does_not_revive_one_that_was_ended_before() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    let key = login(&mut browser, "ada").await;
    let all = server.sessions.collection();
    all.destroy_tagged("ada", None).await.unwrap();
    server.advance(MILLI);
    all.destroy_tagged("ada", Some(&key)).await.unwrap();
    assert_eq!(user(&mut browser).await, None);
}

#[tokio::test]
async fn an_untagged_session_is_no_longer_its_owners() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    login(&mut browser, "ada").await;
    browser
        .visit(async |session| session.untag("ada").unwrap())
        .await;
    server
        .sessions
        .collection()
        .destroy_tagged("ada", None)
        .await
        .unwrap();
    assert_eq!(user(&mut browser).await.as_deref(), Some("ada"));
}

/// Creates a server whose revocation list is behind a gate.
fn server_with_gate() -> (CookieServer, GateStore) {
    let mut gate = None;
    let server = cookie_server_with(config(), |store, backing| {
        let backing = GateStore::new(backing);
        gate = Some(backing.clone());
        store.with_revocation(backing)
    });
    (server, gate.unwrap())
}

/// A write keeps the time of the tag. The time of the logout decides, not the time at which the list
/// has it.
#[tokio::test]
async fn a_write_before_a_log_out_is_in_the_list_does_not_undo_it() {
    for regenerates in [false, true] {
        let (server, list) = server_with_gate();
        let mut browser = server.browser();
        login(&mut browser, "ada").await;
        server.advance(MILLI);
        let (gate, all) = (list.hold(Call::Write), server.sessions.collection());
        let writing = async {
            gate.reached().await;
            server.advance(MILLI);
            let visit = browser.visit(async |session| {
                session.put("late", 1).unwrap();
                if regenerates {
                    session.regenerate().unwrap();
                }
            });
            visit.await;
            gate.open();
        };
        let (ended, ()) = tokio::join!(all.destroy_tagged("ada", None), writing);
        ended.unwrap();
        assert!(server.events.with_name("write_dropped").is_empty());
        assert_eq!(user(&mut browser).await, None, "{regenerates}");
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_lets_no_visitor_in() {
    let (server, gate) = server_with_gate();
    let mut browser = server.browser();
    login(&mut browser, "ada").await;
    for skip in 0..2 {
        gate.fail_nth(Call::Read, skip);
        let visit = browser
            .request(async |session| session.load().await.map(drop).is_err())
            .await;
        assert_eq!(visit.value, Some(true));
        assert!(visit.cookies().is_empty());
    }
    gate.fail(Call::Write);
    let visit = browser
        .request(async |session| {
            session.load().await.unwrap();
            session.destroy().unwrap();
        })
        .await;
    assert_eq!(
        visit.status, 503,
        "a logout that was not recorded is not acknowledged"
    );
    assert_eq!(user(&mut browser).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_shorter_age_counts_at_once() {
    let server = server_with_revocation();
    let mut browser = server.browser();
    login(&mut browser, "ada").await;
    let config = config().age(HOUR);
    let clock = server.clock.clone();
    let backing = server.server_side.clone();
    let shorter = crate::support::cookie_server::cookie_server_at(config, clock, |store, _| {
        store.with_revocation(backing)
    });
    server.advance(HOUR + HOUR / 2);
    let mut later = shorter.browser();
    later.jar = browser.jar.clone();
    assert_eq!(user(&mut later).await, None);
    assert_eq!(user(&mut browser).await.as_deref(), Some("ada"));
}

#[test]
fn a_store_that_evicts_is_no_revocation_list() {
    let in_code = CookieStore::new().with_revocation(MemoryStore::new());
    let error = Sessions::new(config(), in_code).unwrap_err();
    assert_eq!(error.setting(), "store");
    let error = format!("{error:?}");
    assert!(error.contains("undo sign-outs"), "{error}");

    let named: SessionConfig =
        toml::from_str("store = 'cookie'\n[stores.cookie]\nrevocation = 'small'").unwrap();
    let build = |store: MemoryStore| {
        let stores = StoreRegistry::new().register("small", store);
        let config = named.clone().app_key(crate::support::KEY);
        Sessions::builder(config).stores(stores).build()
    };
    let error = build(MemoryStore::new()).unwrap_err();
    assert_eq!(error.setting(), "stores.cookie.revocation");
    let reason = CookieStoreError::EvictingRevocationList("memory").to_string();
    assert!(error.to_string().ends_with(&reason), "{error}");
    build(MemoryStore::builder().refuse_when_full(true).build()).unwrap();
}

/// Signs out new visitors, one after the other. Returns the statuses of the responses.
async fn sign_out_visitors(sessions: &Sessions, number: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..number {
        let mut visitor = Browser::new(sessions);
        visitor
            .visit(async |session| session.put("n", 1).unwrap())
            .await;
        let visit = visitor
            .request(async |session| {
                session.load().await.unwrap();
                session.destroy().unwrap();
            })
            .await;
        statuses.push(visit.status.as_u16());
        let is_alive = visitor
            .visit(async |session: &Session| session.has("n").unwrap())
            .await;
        assert_eq!(
            is_alive,
            visit.status == 503,
            "only a refused sign-out fails"
        );
    }
    statuses
}

/// The sessions in the overflow store do not fill the list.
#[tokio::test]
async fn clients_that_sign_out_without_end_undo_no_sign_out_of_another() {
    let config: SessionConfig = toml::from_str(
        "store = 'cookie'\n[stores.memory]\nmax_records = 4\n[stores.cookie]\noverflow = 'memory'\n\
         revocation = 'memory'",
    )
    .unwrap();
    let config = config.secure(false).app_key(crate::support::KEY);
    let sessions = Sessions::builder(config).build().unwrap();
    let text = crate::support::cookie_server::text(9_000);
    for _ in 0..10 {
        let mut large = Browser::new(&sessions);
        large
            .visit(async |session| session.put("text", &text).unwrap())
            .await;
    }
    let mut browser = Browser::new(&sessions);
    browser
        .visit(async |session| session.put("user", "ada").unwrap())
        .await;
    let mut thief = browser.clone();
    browser
        .visit(async |session| session.destroy().unwrap())
        .await;
    let statuses = sign_out_visitors(&sessions, 10).await;
    assert_eq!(statuses[..3], [200; 3]);
    assert_eq!(statuses[3..], [503; 7]);
    assert_eq!(user(&mut thief).await, None, "the sign-out is not undone");
}

#[tokio::test]
async fn a_full_list_records_sign_outs_again_when_entries_have_expired() {
    let mut list = None;
    let server = cookie_server_with(config(), |store, backing| {
        drop(backing);
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let builder = MemoryStore::builder().clock(clock.clone()).max_records(1);
        let backing = builder.refuse_when_full(true).build();
        list = Some((clock, backing.clone()));
        store.with_revocation(backing)
    });
    let (clock, list) = list.unwrap();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("user", "ada").unwrap())
        .await;
    assert_eq!(sign_out_visitors(&server.sessions, 2).await, [200, 503]);
    let visit = browser
        .request(async |session| {
            session.load().await.unwrap();
            session.regenerate().unwrap();
        })
        .await;
    assert_eq!(visit.status, 503, "the former id cannot be revoked");
    assert_eq!(user(&mut browser).await.as_deref(), Some("ada"));
    clock.advance(24 * HOUR);
    assert_eq!(list.sweep(), 1);
    assert_eq!(sign_out_visitors(&server.sessions, 2).await, [200, 503]);
}
