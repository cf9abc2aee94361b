//! The settings of the Redis store in a configuration, and two applications with the same settings.

use std::time::{Duration, Instant, SystemTime};

use hyper_session::{
    SessionConfig, Sessions,
    config::ConfigError,
    store::{
        Expected, Store, WriteRequest,
        redis::{CachedRedisStore, RedisStore},
    },
};

use crate::support::{
    Browser, EventLog, KEY,
    redis_servers::{
        Server,
        proxy::{Network, Proxy},
        sessions::{HOUR, create_session, record},
        wait_until,
    },
};

const SECOND_KEY: &str = "the second key of these tests, with enough characters";
const THIRD_KEY: &str = "the third key of these tests, also with enough characters";

fn build(toml: &str) -> Result<Sessions, ConfigError> {
    let config: SessionConfig = toml::from_str(toml).unwrap();
    Sessions::builder(config.app_key(KEY)).build()
}

#[tokio::test]
async fn the_pool_and_the_near_cache_are_set_in_the_configuration() {
    let server = Server::start();
    let sessions = build(&format!(
        "store = 'redis'
         [stores.redis]
         url = '{}'
         pool_size = 3
          [stores.redis.near_cache]",
        server.url()
    ))
    .unwrap();
    sessions.ready().await.unwrap();
    tokio::task::spawn_blocking(move || {
        wait_until(
            "three connections track changes",
            Duration::from_secs(10),
            || {
                let clients = server.send(&["CLIENT", "LIST"]);
                clients
                    .lines()
                    .filter(|client| client.contains("flags=t"))
                    .count()
                    == 3
            },
        );
    })
    .await
    .unwrap();
}

/// All settings differ from their defaults.
#[test]
fn each_setting_of_the_configuration_reaches_the_store() {
    let config = "store = 'redis'
        [stores.redis]
        url = 'redis://127.0.0.1:1'
        prefix = 'shop:'
        pool_size = 3
        connect_timeout = '1s'
        command_timeout = '500ms'
        operation_timeout = '4s'
        outage_timeout = '100ms'
        startup_timeout = '5s'
        max_in_flight = 101
        wait_for_replicas = 2
        ";
    let settings = [
        "prefix: \"shop:\"",
        "pool_size: 3",
        "connect_timeout: 1s",
        "command_timeout: 500ms",
        "operation_timeout: 4s",
        "outage_timeout: 100ms",
        "startup_timeout: 5s",
        "max_in_flight: 101",
        "replicas: 2",
    ];
    let sessions = build(config).unwrap();
    let store = format!("{:?}", sessions.store::<RedisStore>().unwrap());
    let cache = "[stores.redis.near_cache]
        max_records = 102
        max_bytes = 1_000_000
        max_age = '6s'";
    let sessions = build(&format!("{config}{cache}")).unwrap();
    let cached = format!("{:?}", sessions.store::<CachedRedisStore>().unwrap());
    for setting in settings {
        assert!(store.contains(setting), "{setting}: {store}");
        assert!(cached.contains(setting), "{setting}: {cached}");
    }
    for setting in ["entries: 102", "bytes: 1000000", "max_age: 6s"] {
        assert!(cached.contains(setting), "{setting}: {cached}");
    }
}

#[test]
fn a_setting_out_of_range_is_named() {
    for (line, setting) in [
        ("pool_size = 0", "stores.redis.pool_size"),
        ("max_in_flight = 0", "stores.redis.max_in_flight"),
        ("connect_timeout = 0", "stores.redis.connect_timeout"),
        ("command_timeout = '2h'", "stores.redis.command_timeout"),
        ("operation_timeout = 0", "stores.redis.operation_timeout"),
        ("outage_timeout = 0", "stores.redis.outage_timeout"),
        ("startup_timeout = '2h'", "stores.redis.startup_timeout"),
        (
            "near_cache = { max_age = 0 }",
            "stores.redis.near_cache.max_age",
        ),
    ] {
        let error = build(&format!("store = 'redis'\n[stores.redis]\n{line}")).unwrap_err();
        assert_eq!(error.setting(), setting, "{error}");
        assert!(error.to_string().contains("choose"), "{error}");
    }
}

/// The longest time means that there is no limit.
#[tokio::test]
async fn times_without_a_limit_are_accepted() {
    let server = Server::start();
    let store = RedisStore::builder(&server.url())
        .connect_timeout(Duration::MAX)
        .command_timeout(Duration::MAX)
        .operation_timeout(Duration::MAX)
        .outage_timeout(Duration::MAX)
        .startup_timeout(Duration::MAX)
        .tombstone_ttl(Duration::MAX)
        .with_near_cache()
        .max_age(Duration::MAX)
        .connect()
        .await
        .unwrap();
    let key = create_session(&store, HOUR).await;
    while store.cache_stats().hits == 0 {
        assert_eq!(&*record(&store, &key).await.data, b"data");
    }
    server.send(&["CONFIG", "SET", "maxmemory", "1"]);
    let write = || WriteRequest::new(&key, "more", HOUR, Expected::Any);
    store.write(write()).await.unwrap_err();
    assert_eq!(store.store().stats().unavailable_servers, 1);
    server.send(&["CONFIG", "SET", "maxmemory", "0"]);
    let start = Instant::now();
    while store.store().stats().unavailable_servers > 0 {
        assert!(start.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    store.destroy(&key).await.unwrap();
}

/// Starts a service with these keys, and returns its events.
async fn start(server: &Server, prefix: &str, keys: &[&str]) -> (Sessions, EventLog) {
    start_at(&server.url(), prefix, keys).await
}

async fn start_at(url: &str, prefix: &str, keys: &[&str]) -> (Sessions, EventLog) {
    let toml = format!("store = 'redis'\n[stores.redis]\nurl = '{url}'\nprefix = '{prefix}'");
    let mut config = toml::from_str::<SessionConfig>(&toml)
        .unwrap()
        .app_key(keys[0]);
    for key in &keys[1..] {
        config = config.previous_key(*key);
    }
    let events = EventLog::default();
    let sessions = Sessions::builder(config).listener(events.listener());
    let sessions = sessions.build().unwrap();
    sessions.ready().await.unwrap();
    (sessions, events)
}

fn now() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_millis()
}

#[tokio::test]
async fn another_application_with_the_same_prefix_is_reported() {
    let server = Server::start();
    let before = now();
    let (_, first) = start(&server, "session:", &[KEY]).await;
    let after = now();
    let (second, events) = start(&server, "session:", &[SECOND_KEY]).await;
    let [event] = &events.with_name("prefix_shared")[..] else {
        panic!("{:?}", events.all());
    };
    let (prefix, started) = event.text.split_once(' ').unwrap();
    assert_eq!(prefix, "session:");
    assert!(
        (before..=after).contains(&started.parse().unwrap()),
        "{started}"
    );
    second.ready().await.unwrap();
    assert_eq!(
        events.with_name("prefix_shared").len(),
        1,
        "once for each start"
    );
    let (_, third) = start(&server, "other:", &[THIRD_KEY]).await;
    for events in [first, third] {
        assert!(events.with_name("prefix_shared").is_empty());
    }
    let marker = server.get("session:application");
    for key in [KEY, SECOND_KEY] {
        let key = key.as_bytes();
        assert!(
            !marker.windows(key.len()).any(|part| part == key),
            "no secret"
        );
    }
}

/// Each reply of the start is lost once.
#[tokio::test]
async fn another_application_is_reported_if_a_reply_is_lost() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let mut is_lost = true;
    let mut replies_before = 0;
    while is_lost {
        start(&server, "session:", &[KEY]).await;
        proxy.set(Network::CutReply(replies_before));
        let (_, events) = start_at(&proxy.url(), "session:", &[SECOND_KEY]).await;
        let reports = events.with_name("prefix_shared");
        assert_eq!(reports.len(), 1, "after {replies_before} replies");
        is_lost = proxy.network() == Network::Normal;
        replies_before += 1;
    }
}

#[tokio::test]
async fn a_rotation_of_keys_and_a_second_machine_are_one_application() {
    let server = Server::start();
    let rotation: [&[&str]; 5] = [
        &[KEY],
        &[SECOND_KEY, KEY],
        &[KEY],
        &[SECOND_KEY, KEY],
        &[THIRD_KEY, SECOND_KEY],
    ];
    for keys in rotation {
        let (sessions, events) = start(&server, "shop:", keys).await;
        assert!(events.with_name("prefix_shared").is_empty(), "{keys:?}");
        Browser::new(&sessions)
            .visit(async |s| s.put("n", 1))
            .await
            .unwrap();
    }
}
