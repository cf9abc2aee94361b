//! The Redis store keeps the store contract on one server, over TCP and over a Unix socket, and
//! reports foreign and damaged values.

use std::{future::ready, time::Duration};

use hyper_session::store::{
    Expected, Expiry, ReadOutcome, Store, WriteOutcome, WriteRequest,
    conformance::{self, RealTime},
    redis::{RedisError, RedisStore},
};

use crate::support::redis_servers::{
    Server,
    sessions::{HOUR, cause, connect, create_session, create_tagged, key, tags},
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
    for value in [&b"{\"user\":1}"[..], b"hs0R", b"hs1R", b"hs1T", b"hs", b""] {
        let key = key();
        server.set(&format!("session:{key}"), value);
        let read = store.read(&key, None).await.unwrap_err();
        assert!(
            matches!(cause(&read), RedisError::ForeignValue),
            "{value:?}: {read}"
        );
        for expected in [Expected::Absent, Expected::Any] {
            let write = store
                .write(WriteRequest::new(&key, "x", HOUR, expected))
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
            .write(WriteRequest::new(&key, "x", HOUR, Expected::Any))
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

/// Checks the number of keys, and that each of them ends within four lifetimes of an hour and a minute.
#[track_caller]
fn assert_all_expire(server: &Server, keys: usize, what: &str) {
    // On a loaded machine, the store may test the server with a key of its own meanwhile.
    let script = "local all, endless = 0, {} for _, key in ipairs(redis.call('KEYS', '*')) do \
                  if not string.find(key, ':test:') then all = all + 1 \
                  local left = redis.call('PTTL', key) \
                  if left <= 0 or left > 14460000 then table.insert(endless, key) end end end \
                  return all .. ' keys' .. table.concat(endless, ' ')";
    let reply = server.send(&["EVAL", script, "0"]);
    let (_, found) = reply.split_once("\r\n").unwrap();
    assert_eq!(found.trim_end(), format!("{keys} keys"), "{what}");
}

#[tokio::test]
async fn all_keys_expire() {
    let server = Server::start();
    let store = connect(&server).await;
    let keys = [
        create_tagged(&store, HOUR, &["user:1", "user:2"]).await,
        create_tagged(&store, HOUR, &["user:1", "user:2"]).await,
        create_session(&store, HOUR).await,
    ];
    let destroyed = create_tagged(&store, HOUR, &["user:3"]).await;
    store.destroy(&destroyed).await.unwrap();
    assert_all_expire(&server, 7, "four sessions and three indexes");
    for key in &keys {
        assert!(store.touch(key, HOUR).await.unwrap());
        store.read(key, Some(HOUR)).await.unwrap();
    }
    assert_all_expire(&server, 7, "after touches");
    let mut indexes = 3;
    for expiry in [Expiry::Keep, HOUR.into()] {
        // The tags stay, some are new, and none is left.
        for (names, new) in [
            (&["user:1", "user:2"][..], 0),
            (&["user:1", "user:4"], 1),
            (&[], 0),
        ] {
            for key in &keys {
                let request = WriteRequest::new(key, "changed", expiry, Expected::Any);
                let written = store.write(request.tags(tags(names))).await.unwrap();
                assert!(matches!(written, WriteOutcome::Done(_)), "{written:?}");
            }
            indexes = (indexes + new).min(4);
            assert_all_expire(&server, 4 + indexes, &format!("after {expiry:?} {names:?}"));
        }
    }
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
