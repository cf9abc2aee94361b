//! The Redis store keeps the store contract on one server, over TCP and over a Unix socket, and
//! reports foreign and damaged values.

use std::{future::ready, time::Duration};

use hyper_session::store::{
    Expected, ReadOutcome, Store, Tag, TagStore,
    conformance::{self, RealTime},
    redis::{RedisError, RedisStore},
};

use crate::support::redis_servers::{
    Server,
    sessions::{HOUR, cause, connect, create_session, key},
};

const SHORT: Duration = Duration::from_millis(250);
const TOMBSTONE: Duration = Duration::from_secs(2);

async fn keeps_the_contract(url: &str) {
    let store = RedisStore::builder(url)
        .tombstone_ttl(TOMBSTONE)
        .connect()
        .await
        .unwrap();
    let report = conformance::run(&RealTime::new(|| ready(store.clone()), SHORT, TOMBSTONE)).await;
    report.assert_passed();
    let skipped = report.skipped();
    assert!(skipped.is_empty(), "skipped: {skipped:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_redis_store_keeps_the_contract() {
    let server = Server::start();
    keeps_the_contract(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_over_a_unix_socket_in_another_database() {
    let server = Server::start_with(&["--unixsocket", "redis.sock"]);
    let socket = server.dir().join("redis.sock");
    keeps_the_contract(&format!("redis+unix://{}?db=3", socket.display())).await;
    let keyspace = server.send(&["INFO", "keyspace"]);
    assert!(
        keyspace.contains("db3:") && !keyspace.contains("db0:"),
        "{keyspace}"
    );
}

#[tokio::test]
async fn a_value_that_is_not_a_record_is_reported_and_not_served() {
    let server = Server::start();
    let store = connect(&server).await;
    for value in [&b"{\"user\":1}"[..], b"hs0R", b"hs", b""] {
        let key = key();
        server.set(&format!("session:{key}"), value);
        let read = store.read(&key, None).await.unwrap_err();
        assert!(
            matches!(cause(&read), RedisError::ForeignValue),
            "{value:?}: {read}"
        );
        for expected in [Expected::Absent, Expected::Any] {
            let write = store
                .write(&key, "x".into(), HOUR, expected)
                .await
                .unwrap_err();
            assert!(
                matches!(cause(&write), RedisError::ForeignValue),
                "{value:?}: {write}"
            );
        }
        assert!(store.touch(&key, HOUR).await.is_err());
        assert_eq!(
            server.get(&format!("session:{key}")),
            value,
            "it is unchanged"
        );
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_reported() {
    let server = Server::start();
    let store = connect(&server).await;
    let key = key();
    server.send(&["RPUSH", &format!("session:{key}"), "x"]);
    let touching = store.read(&key, Some(HOUR)).await.unwrap_err();
    assert!(
        matches!(cause(&touching), RedisError::ForeignValue),
        "{touching}"
    );
    for error in [
        store.read(&key, None).await.map(drop).unwrap_err(),
        store.touch(&key, HOUR).await.map(drop).unwrap_err(),
        store
            .write(&key, "x".into(), HOUR, Expected::Any)
            .await
            .map(drop)
            .unwrap_err(),
    ] {
        assert!(matches!(cause(&error), RedisError::ForeignValue), "{error}");
    }
    store.destroy(&key).await.unwrap();
    assert_eq!(store.read(&key, None).await.unwrap(), ReadOutcome::Gone);
}

#[tokio::test]
async fn a_record_of_a_newer_format_is_reported_as_that() {
    let server = Server::start();
    let store = connect(&server).await;
    for value in [b"hs9R and more", &b"hs9T"[..]] {
        let key = key();
        server.set(&format!("session:{key}"), value);
        for touch in [None, Some(HOUR)] {
            let error = store.read(&key, touch).await.unwrap_err();
            assert!(matches!(cause(&error), RedisError::NewerFormat), "{error}");
            assert!(!error.is_unreadable());
        }
    }
}

#[tokio::test]
async fn a_damaged_record_is_reported_and_not_served() {
    let server = Server::start();
    let store = connect(&server).await;
    let key = create_session(&store, HOUR).await;
    let name = format!("session:{key}");
    let mut value = server.get(&name);
    *value.last_mut().unwrap() ^= 1;
    server.set(&name, &value);
    for touch in [None, Some(HOUR)] {
        let error = store.read(&key, touch).await.unwrap_err();
        assert!(
            matches!(cause(&error), RedisError::DamagedRecord(_)),
            "{error}"
        );
    }
    store.destroy(&key).await.unwrap();
    assert_eq!(store.read(&key, None).await.unwrap(), ReadOutcome::Gone);
}

#[tokio::test]
async fn all_keys_expire() {
    let server = Server::start();
    let store = RedisStore::builder(&server.url())
        .tombstone_ttl(SHORT)
        .connect()
        .await
        .unwrap();
    let tag = Tag::new("user:1").unwrap();
    let (expiring, destroyed) = (
        create_session(&store, SHORT).await,
        create_session(&store, SHORT).await,
    );
    for key in [&expiring, &destroyed] {
        assert!(store.tag(key, &tag).await.unwrap());
    }
    store.destroy(&destroyed).await.unwrap();
    assert_ne!(server.send(&["DBSIZE"]), ":0\r\n");
    // A tag's index lives for three lifetimes, and Redis takes time to remove expired keys.
    crate::support::redis_servers::wait_until("no key is left", Duration::from_secs(5), || {
        server.send(&["DBSIZE"]) == ":0\r\n"
    });
}

#[tokio::test]
async fn an_index_lives_as_long_as_its_touched_sessions_and_drops_dead_members() {
    let server = Server::start();
    let store = connect(&server).await;
    let tag = Tag::new("user:1").unwrap();
    let lasting = create_session(&store, SHORT).await;
    assert!(store.tag(&lasting, &tag).await.unwrap());
    for _ in 0..20 {
        // Expires soon and leaves a member in the index.
        let brief = create_session(&store, Duration::from_millis(30)).await;
        store.tag(&brief, &tag).await.unwrap();
        tokio::time::sleep(SHORT / 4).await;
        assert!(store.touch(&lasting, SHORT).await.unwrap());
    }
    let members = server.send(&["ZCARD", "session:tag:user:1"]);
    let members: u32 = members.trim_matches([':', '\r', '\n']).parse().unwrap();
    assert!(members < 10, "{members} members for one session");
    assert_eq!(store.tagged(&tag).await.unwrap(), [lasting]);
    assert_eq!(server.send(&["ZCARD", "session:tag:user:1"]), ":1\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sessions_of_a_tag_are_destroyed_together() {
    let server = Server::start();
    let store = connect(&server).await;
    let (tag, other) = (Tag::new("user:1").unwrap(), Tag::new("user:2").unwrap());
    let bystander = create_session(&store, HOUR).await;
    store.tag(&bystander, &other).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..450 {
        let key = create_session(&store, HOUR).await;
        store.tag(&key, &tag).await.unwrap();
        keys.push(key);
    }
    assert_eq!(store.destroy_tagged(&tag).await.unwrap(), 450);
    for key in &keys {
        assert_eq!(store.read(key, None).await.unwrap(), ReadOutcome::Gone);
    }
    assert!(store.tagged(&tag).await.unwrap().is_empty());
    assert!(matches!(
        store.read(&bystander, None).await.unwrap(),
        ReadOutcome::Found(_)
    ));
}

#[tokio::test]
async fn two_prefixes_share_nothing() {
    let server = Server::start();
    let (one, two) = (
        RedisStore::builder(&server.url())
            .prefix("a:")
            .build()
            .unwrap(),
        RedisStore::builder(&server.url())
            .prefix("b:")
            .build()
            .unwrap(),
    );
    let key = create_session(&one, HOUR).await;
    assert_eq!(two.read(&key, None).await.unwrap(), ReadOutcome::Absent);
    two.destroy(&key).await.unwrap();
    assert!(matches!(
        one.read(&key, None).await.unwrap(),
        ReadOutcome::Found(_)
    ));
}
