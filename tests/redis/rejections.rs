//! Commands that the server rejects, and URLs that the store rejects.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper_session::store::{
    Expected, ReadOutcome, Store, StoreError, WriteOutcome, WriteRequest,
    redis::{RedisError, RedisStore, ServerRejection, TransientError},
};

use crate::support::redis_servers::{
    Server, free_port, is_before_7,
    sessions::{HOUR, cause, connect, create_session, key, record},
    wait_until,
};

fn rejection(error: &StoreError) -> &ServerRejection {
    match cause(error) {
        RedisError::Rejected(rejection) | RedisError::RejectedByNode { rejection, .. } => rejection,
        other => panic!("not rejected: {other}"),
    }
}

/// When memory is full, reads work, writes are rejected, and a logout works and is final.
#[tokio::test]
async fn full_memory_rejects_writes_and_lets_sessions_end() {
    let server = Server::start();
    let store = connect(&server).await;
    let key = create_session(&store, HOUR).await;
    server.send(&["CONFIG", "SET", "maxmemory", "1"]);
    let version = record(&store, &key).await.version;
    let write = store.write(WriteRequest::new(
        &key,
        "more",
        HOUR,
        Expected::Version(version),
    ));
    let error = write.await.unwrap_err();
    assert_eq!(rejection(&error), &ServerRejection::OutOfMemory);
    assert!(store.touch(&key, HOUR).await.unwrap());
    store.destroy(&key).await.unwrap();
    assert_eq!(store.read(&key, None).await.unwrap(), ReadOutcome::Gone);
    server.send(&["CONFIG", "SET", "maxmemory", "0"]);
    let write = store
        .write(WriteRequest::new(&key, "back", HOUR, Expected::Any))
        .await;
    assert_eq!(write.unwrap(), WriteOutcome::Gone);
}

#[tokio::test]
async fn a_server_that_cannot_save_is_reported() {
    let server = Server::start();
    let store = connect(&server).await;
    // A directory has the name of the snapshot file.
    std::fs::create_dir(server.dir().join("dump.rdb")).unwrap();
    server.send(&["CONFIG", "SET", "save", "3600 100000"]);
    server.send(&["BGSAVE"]);
    wait_until("saving fails", Duration::from_secs(5), || {
        server
            .send(&["INFO", "persistence"])
            .contains("rdb_last_bgsave_status:err")
    });
    let write = store.write(WriteRequest::new(&key(), "data", HOUR, Expected::Absent));
    assert_eq!(
        rejection(&write.await.unwrap_err()),
        &ServerRejection::Misconfigured
    );
}

#[tokio::test]
async fn a_server_with_too_few_replicas_is_reported() {
    if is_before_7() {
        // Redis 6.2 does not check the number of replicas in scripts.
        return;
    }
    let server = Server::start_with(&["--min-replicas-to-write", "1"]);
    let store = RedisStore::builder(&server.url()).build().unwrap();
    let write = store.write(WriteRequest::new(&key(), "data", HOUR, Expected::Absent));
    for error in [write.await.unwrap_err(), store.ready().await.unwrap_err()] {
        assert_eq!(rejection(&error), &ServerRejection::NoReplicas);
    }
}

#[tokio::test]
async fn a_read_only_replica_is_reported() {
    let server = Server::start_with(&["--replicaof", "127.0.0.1", &free_port().to_string()]);
    let store = RedisStore::builder(&server.url())
        .operation_timeout(Duration::from_millis(600))
        .build()
        .unwrap();
    let error = store.ready().await.unwrap_err();
    assert!(
        format!("{error:?}").contains("server is a read-only replica"),
        "{error:?}"
    );
    let write = store.write(WriteRequest::new(&key(), "data", HOUR, Expected::Absent));
    let error = write.await.unwrap_err();
    let read_only = TransientError::ReadOnly;
    assert!(
        matches!(cause(&error), RedisError::Outage { last, .. } if *last == read_only),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_reported_soon_and_not_shown() {
    let server = Server::start_with(&["--requirepass", "right"]);
    for user in ["", "default:", "unknown:"] {
        let user = if user.is_empty() { ":" } else { user };
        let url = format!("redis://{user}s3cret@127.0.0.1:{}", server.port);
        let builder = RedisStore::builder(&url);
        assert!(!format!("{builder:?}").contains("s3cret"));
        let (start, limit) = (Instant::now(), Duration::from_secs(60));
        let error = builder.startup_timeout(limit).connect().await.unwrap_err();
        assert!(start.elapsed() < limit / 2, "soon");
        let text = format!("{error:?}");
        assert!(
            text.contains(&format!(
                "cannot connect to Redis at 127.0.0.1:{}",
                server.port
            )) && text.contains("WRONGPASS"),
            "{text}"
        );
        assert!(!format!("{error} {text}").contains("s3cret"));
    }
}

#[tokio::test]
async fn a_user_of_its_own_and_a_database_are_used() {
    let server = Server::start_with(&["--requirepass", "right"]);
    let acl = "AUTH right\r\nACL SETUSER app on >p%40ss ~session:* +@all -@dangerous";
    for line in acl.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        server.send_as("right", &words);
    }
    let url = format!("redis://app:p%2540ss@127.0.0.1:{}/2", server.port);
    let store = RedisStore::connect(&url).await.unwrap();
    create_session(&store, HOUR).await;
    let keyspace = server.send_as("right", &["INFO", "keyspace"]);
    assert!(keyspace.contains("db2:keys=1"), "{keyspace}");
    let other = RedisStore::builder(&url).prefix("other:").build().unwrap();
    let error = other.read(&key(), None).await.unwrap_err();
    assert!(
        matches!(rejection(&error), ServerRejection::Denied { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_write_without_its_required_replicas_is_an_error() {
    let server = Server::start();
    let store = RedisStore::builder(&server.url())
        .wait_for_replicas(1)
        // A new replica is sent nothing before its first acknowledgement, up to a second later.
        .command_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(8))
        .build()
        .unwrap();
    let key = key();
    let error = store
        .write(WriteRequest::new(&key, "data", HOUR, Expected::Absent))
        .await
        .unwrap_err();
    let is_unreplicated = matches!(
        cause(&error),
        RedisError::Unreplicated {
            confirmed: 0,
            required: 1
        }
    );
    assert!(is_unreplicated, "{error}");
    let error = store.ready().await.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::Unreplicated { .. }),
        "{error}"
    );
    assert_eq!(
        &*record(&store, &key).await.data,
        b"data",
        "the master has it"
    );

    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &server.port.to_string()]);
    wait_until("the replica follows", Duration::from_secs(10), || {
        replica
            .send(&["INFO", "replication"])
            .contains("master_link_status:up")
            && server
                .send(&["INFO", "replication"])
                .contains("state=online")
    });
    let key = create_session(&store, HOUR).await;
    assert_ne!(
        replica.get(&format!("session:{key}")),
        b"",
        "the replica has it"
    );
    store.destroy(&key).await.unwrap();
}

#[test]
fn invalid_urls_are_rejected_without_showing_a_password() {
    for url in [
        "",
        "127.0.0.1:6379",
        "http://user:s3cret@127.0.0.1",
        "redis://user:s3cret@host:port",
        "redis://user:s3cret@127.0.0.1/db",
        "redis://user:s3cret@127.0.0.1/999",
        "redis-sentinel://user:s3cret@127.0.0.1",
        "redis-cluster://user:s3cret@127.0.0.1?node=nowhere",
        "redis-cluster://127.0.0.1:1?node=user:s3cret@127.0.0.1:2",
        "redis-cluster://127.0.0.1:1?node=s3cret@127.0.0.1:2",
        "redis-cluster://127.0.0.1:1?no%64e=user%3As3cret%40127.0.0.1:2",
        "redis-sentinel://127.0.0.1:1?sentinelServiceName=main&node=user:s3cret@127.0.0.1:2",
        "redis+unix:///tmp/socket?db=first",
        "redis://:p@s3cret#w/rd@host",
        "redis://:s3cret/word@host",
        "redis://:s3cret?word@host",
        // The port of a host `user`, if `?` ended the password.
        "redis://user:1?s3cret@host",
        "redis://user:1/2?s3cret@host",
        "redis://user:1?db=2&s3cret@host",
        "redis://user:1?s3cret=2@host",
        "redis://user:p@s3cret@host",
        "redis://:100%s3cret@host",
    ] {
        let error = RedisStore::builder(url).build().unwrap_err();
        assert!(
            matches!(cause(&error), RedisError::InvalidUrl(_)),
            "{url}: {error}"
        );
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
    let error = RedisStore::builder("redis://:p@ss#w/rd@host")
        .build()
        .unwrap_err();
    assert!(format!("{error:?}").contains("percent-encode"), "{error:?}");
    for url in [
        "redis://:p%40ss%23w%2Frd@host",
        "redis+unix:///run/redis@1.sock?db=2",
        "redis-sentinel://host:26379?sentinelServiceName=main&sentinelPassword=a@b",
        "redis-sentinel://host:26379/1?sentinelServiceName=a@b&node=host:26380",
    ] {
        assert!(RedisStore::builder(url).build().is_ok(), "{url}");
    }
}

#[tokio::test]
async fn megabytes_come_back_as_they_were() {
    let server = Server::start();
    let store = connect(&server).await;
    let data: Bytes = (0..8_u32 << 20).map(|n| (n ^ n >> 8) as u8).collect();
    let key = key();
    let written = store
        .write(WriteRequest::new(
            &key,
            data.clone(),
            HOUR,
            Expected::Absent,
        ))
        .await;
    assert!(matches!(written, Ok(WriteOutcome::Done(_))));
    assert_eq!(record(&store, &key).await.data, data);
}
