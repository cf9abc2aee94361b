//! Migration from cookies to each of the stores at the server, by code and by configuration.

use hyper_session::{
    SessionConfig, Sessions,
    config::StoreRegistry,
    store::{CookieStore, MemoryStore, MigratingStore, Store},
};
use serde_json::json;

use crate::support::{Browser, config, object};

fn build(store: impl Store) -> Sessions {
    let builder = Sessions::builder(config().store("main"));
    let stores = StoreRegistry::new().register("main", store);
    builder.stores(stores).build().unwrap()
}

fn configured(text: &str, stores: StoreRegistry) -> Sessions {
    let config: SessionConfig = toml::from_str(text).unwrap();
    let config = config.secure(false).app_key(crate::support::KEY);
    Sessions::builder(config).stores(stores).build().unwrap()
}

fn build_error(config: SessionConfig) -> String {
    format!("{:?}", Sessions::builder(config).build().unwrap_err())
}

async fn count(browser: &mut Browser) -> i64 {
    browser
        .visit(async |session| {
            session.tag("ada").unwrap();
            session.increment("visits").unwrap();
            session.get("visits").unwrap().unwrap()
        })
        .await
}

/// Visitors use a machine that knows only cookies, then two that migrate sessions, then one that knows
/// only the new store.
async fn no_visitor_is_logged_out_on_the_way_to(to: impl Store + Clone) {
    let before = build(CookieStore::new());
    let migrating = || build(MigratingStore::new(CookieStore::new(), to.clone()));
    let (one, other, after) = (migrating(), migrating(), build(to.clone()));
    for together in [false, true] {
        let mut browser = Browser::new(&before);
        count(&mut browser).await;
        let mut second = browser.clone().with_sessions(&other);
        browser = browser.with_sessions(&one);
        if together {
            browser
                .visit(async |session| {
                    session.increment("visits").unwrap();
                    count(&mut second).await;
                })
                .await;
        } else {
            count(&mut browser).await;
            browser = browser.with_sessions(&other);
            count(&mut browser).await;
        }
        assert_eq!(browser.jar.names(), ["session"]);
        browser = browser.with_sessions(&after);
        assert_eq!(count(&mut browser).await, 4);
        let ended = after.collection().destroy_tagged("ada", None).await;
        assert_eq!(ended.unwrap(), 1);
        browser = browser.with_sessions(&one);
        assert!(browser.visit(async |session| session.is_fresh()).await);
    }
}

#[tokio::test]
async fn from_cookies_to_memory() {
    no_visitor_is_logged_out_on_the_way_to(MemoryStore::new()).await;
}

/// A rolling restart in two steps. A machine that knows only cookies never gets a session that has
/// migrated.
#[tokio::test]
async fn on_several_machines_sessions_are_found_before_they_move_everywhere() {
    let to = MemoryStore::new();
    let prepared = build(MigratingStore::prepare(CookieStore::new(), to.clone()));
    let migrating = build(MigratingStore::new(CookieStore::new(), to.clone()));
    let mut browser = Browser::new(&build(CookieStore::new()));
    count(&mut browser).await;

    browser = browser.with_sessions(&prepared);
    assert_eq!(count(&mut browser).await, 2);
    browser
        .visit(async |session| session.regenerate().unwrap())
        .await;
    let mut new = Browser::new(&prepared);
    count(&mut new).await;
    for stays in [&browser, &new] {
        assert_eq!(stays.jar.names(), ["session", "session-data"]);
    }
    browser = browser.with_sessions(&migrating);
    assert_eq!(count(&mut browser).await, 3);
    assert_eq!(browser.jar.names(), ["session"]);
    // A migrated session stays in the new store, under a new id too.
    browser = browser.with_sessions(&prepared);
    let mut slow = browser.clone();
    browser
        .visit(async |session| {
            session.regenerate().unwrap();
            session.increment("visits").unwrap();
            count(&mut slow).await;
        })
        .await;
    assert_eq!(browser.jar.names(), ["session"]);
    assert_eq!(count(&mut browser).await, 6);
    let owned = prepared.collection().tagged("ada").await.unwrap();
    assert_eq!(owned.len(), 1);
    browser
        .visit(async |session| session.destroy().unwrap())
        .await;
    assert!(slow.visit(async |session| session.is_fresh()).await);
}

#[tokio::test]
async fn one_that_moves_while_a_prepared_machine_works_on_it_is_followed() {
    let to = MemoryStore::new();
    let prepared = build(MigratingStore::prepare(CookieStore::new(), to.clone()));
    let migrating = build(MigratingStore::new(CookieStore::new(), to.clone()));
    let mut browser = Browser::new(&prepared);
    count(&mut browser).await;
    let mut other = browser.clone().with_sessions(&migrating);
    browser
        .visit(async |session| {
            session.increment("visits").unwrap();
            session.tag("staff").unwrap();
            count(&mut other).await;
        })
        .await;
    assert_eq!(browser.jar.names(), ["session"]);
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"visits": 3}));
    assert_eq!(
        migrating.collection().tagged("staff").await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn the_configuration_names_cookies_and_the_store_they_leave_for() {
    let memory = MemoryStore::new();
    let stores = || StoreRegistry::new().register("memory", memory.clone());
    let before = configured("store = 'cookie'", stores());
    let variables = |name: &str| match name {
        "SESSION_DRIVER" => Some("memory".to_owned()),
        "SESSION_MIGRATE_FROM" => Some("cookie".to_owned()),
        _ => None,
    };
    let migrating = config().with_variables(|name| Ok(variables(name))).unwrap();
    let migrating = Sessions::builder(migrating)
        .stores(stores())
        .build()
        .unwrap();
    let mut browser = Browser::new(&before);
    count(&mut browser).await;
    browser = browser.with_sessions(&configured(
        "store = 'cookie'\nmigrate_to = 'memory'",
        stores(),
    ));
    count(&mut browser).await;
    assert_eq!(memory.stats().records, 0);
    browser = browser.with_sessions(&migrating);
    count(&mut browser).await;
    assert_eq!(browser.jar.names(), ["session"]);
    browser = browser.with_sessions(&configured("store = 'memory'", stores()));
    assert_eq!(count(&mut browser).await, 4);
}

#[tokio::test]
async fn the_store_behind_the_cookies_is_named_and_may_be_their_target() {
    let section = "[stores.cookie]\nmax_chunks = 2\noverflow = 'memory'\nrevocation = 'memory'";
    let memory = MemoryStore::builder().refuse_when_full(true).build();
    let stores = || StoreRegistry::new().register("memory", memory.clone());
    let before = configured(&format!("store = 'cookie'\n{section}"), stores());
    let mut browser = Browser::new(&before);
    for (len, cookies, records) in [(4000, 2, 0), (9000, 1, 1)] {
        let text = crate::support::cookie_server::text(len);
        browser
            .visit(async |session| session.put("text", &text).unwrap())
            .await;
        assert_eq!(browser.jar.names().len(), 1 + cookies);
        assert_eq!(memory.stats().records, records);
    }
    count(&mut browser).await;
    let thief = browser.clone();
    let text = format!("store = 'memory'\nmigrate_from = 'cookie'\n{section}");
    let migrating = configured(&text, stores());
    browser = browser.with_sessions(&migrating);
    assert_eq!(count(&mut browser).await, 2);
    assert_eq!(browser.jar.names(), ["session"]);
    migrating
        .collection()
        .destroy_tagged("ada", None)
        .await
        .unwrap();
    for mut browser in [browser, thief] {
        assert!(browser.visit(async |session| session.is_fresh()).await);
    }
}

#[test]
fn a_problem_in_the_cookie_section_is_named() {
    for (text, setting, words) in [
        ("max_chunks = 0", "max_chunks", "from 1 to 8"),
        ("max_chunks = 9", "max_chunks", "from 1 to 8"),
        (
            "overflow = 'reddis'",
            "overflow",
            "the names are file, memory, redis",
        ),
        ("revocation = 'cookie'", "revocation", "at the server"),
    ] {
        let text = format!("store = 'cookie'\n[stores.cookie]\n{text}");
        let config: SessionConfig = toml::from_str(&text).unwrap();
        let error = build_error(config.app_key(crate::support::KEY));
        let setting = format!("`stores.cookie.{setting}`");
        assert!(error.contains(&setting) && error.contains(words), "{error}");
    }
    let misspelt = toml::from_str::<SessionConfig>("[stores.cookie]\nchunks = 2");
    assert!(misspelt.unwrap_err().to_string().contains("chunks"));
}

#[test]
fn sessions_cannot_move_into_cookies() {
    for config in [
        config().store("cookie").migrate_from("memory"),
        config().store("memory").migrate_to("cookie"),
    ] {
        let error = build_error(config);
        assert!(error.contains("cannot migrate into cookies"), "{error}");
    }
    let both = MigratingStore::new(CookieStore::new(), CookieStore::new());
    let stores = StoreRegistry::new().register("both", both);
    let building = Sessions::builder(config().store("both")).stores(stores);
    assert!(building.build().is_err());
}

#[cfg(all(feature = "file", unix))]
mod to_file {
    use hyper_session::store::{FileStore, file::Durability};

    use super::no_visitor_is_logged_out_on_the_way_to;
    use crate::support::scratch::Scratch;

    #[tokio::test]
    async fn from_cookies_to_file() {
        let scratch = Scratch::new();
        let file = FileStore::builder(scratch.path()).durability(Durability::Os);
        no_visitor_is_logged_out_on_the_way_to(file.open().unwrap()).await;
    }
}

#[cfg(all(feature = "redis", unix))]
mod to_redis {
    use hyper_session::store::RedisStore;

    use super::no_visitor_is_logged_out_on_the_way_to;
    use crate::support::redis_servers::Server;

    #[tokio::test]
    async fn from_cookies_to_redis() {
        let server = Server::start();
        let redis = RedisStore::connect(&server.url()).await.unwrap();
        no_visitor_is_logged_out_on_the_way_to(redis).await;
    }
}
