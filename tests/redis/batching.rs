//! Concurrent operations are sent in batches, and each gets its own result.

use std::{
    future::{Future, poll_fn},
    task::Poll,
    time::Duration,
};

use futures_util::future::join_all;
use hyper_session::{
    id::StoreKey,
    store::{
        Expected, ReadOutcome, Store, StoreError, TagStore, Version, WriteOutcome, WriteRequest,
        redis::{RedisError, RedisStore, ServerRejection, TransientError},
    },
};

use crate::support::redis_servers::{
    Server, free_port,
    groups::Cluster,
    is_before_7,
    proxy::{Network, Proxy},
    sessions::{HOUR, cause, connect, create_session, create_tagged, key, tag, version},
    wait_until,
};

async fn read_all(store: &RedisStore, keys: &[StoreKey]) -> Vec<Result<ReadOutcome, StoreError>> {
    join_all(keys.iter().map(|key| store.read(key, None))).await
}

/// Writes each key's text under the key.
async fn write_all(
    store: &RedisStore,
    all: &[(StoreKey, Expected)],
) -> Vec<Result<WriteOutcome, StoreError>> {
    let write = |(key, expected): &(StoreKey, Expected)| {
        store.write(WriteRequest::new(key, key.to_string(), HOUR, *expected))
    };
    join_all(all.iter().map(write)).await
}

#[tokio::test]
async fn a_hundred_reads_are_a_few_commands() {
    let server = Server::start();
    let store = connect(&server).await;
    let checks = server.calls("get");
    let keys: Vec<StoreKey> = (0..100).map(|_| key()).collect();
    let new: Vec<_> = keys.iter().map(|key| (*key, Expected::Absent)).collect();
    for written in write_all(&store, &new).await {
        assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    }
    for (key, read) in keys.iter().zip(read_all(&store, &keys).await) {
        let Ok(ReadOutcome::Found(record)) = read else {
            panic!("{read:?}");
        };
        assert_eq!(
            record.data,
            key.to_string(),
            "each read gets its own record"
        );
    }
    let [reads, single, writes] = ["mget", "get", "evalsha"].map(|name| server.calls(name));
    assert!(
        (1..=10).contains(&reads) && single - checks <= 10,
        "{reads} {single} {checks}"
    );
    assert!((1..=20).contains(&writes), "{writes}");
}

#[tokio::test]
async fn an_attempt_with_the_whole_operation_timeout_is_still_batched() {
    let server = Server::start();
    let builder = RedisStore::builder(&server.url());
    let builder = builder.command_timeout(Duration::from_secs(2));
    let store = builder.operation_timeout(Duration::from_secs(2));
    let store = store.connect().await.unwrap();
    let keys: Vec<StoreKey> = (0..100).map(|_| key()).collect();
    for read in read_all(&store, &keys).await {
        assert!(matches!(read, Ok(ReadOutcome::Absent)), "{read:?}");
    }
    assert!((1..=10).contains(&server.calls("mget")));
}

#[tokio::test]
async fn commands_in_one_batch_get_their_own_results() {
    let server = Server::start();
    let store = connect(&server).await;
    reads_get_their_own_results(&store, |_| &server).await;
    assert!(server.calls("mget") > 0, "they were batched");
    let before = server.calls("evalsha");
    writes_get_their_own_results(&store, |_| &server).await;
    // Each of the twenty tagged sessions takes some more.
    assert!(server.calls("evalsha") - before < 140, "they were batched");
}

/// A script uses keys of all slots of a node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_one_batch_of_a_cluster_node_get_their_own_results() {
    let cluster = Cluster::start_with_replicas(0);
    let store = RedisStore::connect(&cluster.url()).await.unwrap();
    let node = |name: &str| &cluster.0[cluster.master_of(name)];
    let calls = |command| -> u64 { cluster.masters().map(|node| node.calls(command)).sum() };
    let (gets, scripts) = (calls("get"), calls("evalsha"));
    reads_get_their_own_results(&store, node).await;
    assert!(calls("evalsha") - scripts < 60, "they were batched");
    assert!(calls("get") - gets >= 120, "a script reads each key");
    writes_get_their_own_results(&store, node).await;
}

async fn reads_get_their_own_results<'a>(store: &RedisStore, node: impl Fn(&str) -> &'a Server) {
    let name = |key: &StoreKey| format!("session:{key}");
    let (absent, found) = (key(), create_session(store, HOUR).await);
    let gone = create_session(store, HOUR).await;
    store.destroy(&gone).await.unwrap();
    let (list, foreign, damaged) = (key(), key(), create_session(store, HOUR).await);
    node(&name(&list)).send(&["RPUSH", &name(&list), "x"]);
    node(&name(&foreign)).set(&name(&foreign), b"{}");
    node(&name(&damaged)).send(&["APPEND", &name(&damaged), "x"]);
    let keys = [absent, found, gone, list, foreign, damaged].repeat(20);
    for results in read_all(store, &keys).await.chunks(6) {
        let [absent, found, gone, list, foreign, damaged] = results else {
            panic!("six each");
        };
        assert!(matches!(absent, Ok(ReadOutcome::Absent)), "{absent:?}");
        assert!(matches!(found, Ok(ReadOutcome::Found(_))), "{found:?}");
        assert!(matches!(gone, Ok(ReadOutcome::Gone)), "{gone:?}");
        for other in [list, foreign] {
            let error = other.as_ref().unwrap_err();
            assert!(matches!(cause(error), RedisError::ForeignValue), "{error}");
        }
        let error = damaged.as_ref().unwrap_err();
        assert!(
            matches!(cause(error), RedisError::DamagedRecord(_)),
            "{error}"
        );
    }
}

async fn writes_get_their_own_results<'a>(store: &RedisStore, node: impl Fn(&str) -> &'a Server) {
    let mut all = Vec::new();
    for _ in 0..20 {
        let (current, outdated, gone, list) = (
            create_tagged(store, HOUR, &["user:1"]).await,
            create_session(store, HOUR).await,
            create_session(store, HOUR).await,
            key(),
        );
        store.destroy(&gone).await.unwrap();
        let name = format!("session:{list}");
        node(&name).send(&["RPUSH", &name, "x"]);
        all.extend([
            (current, Expected::Version(version(store, &current).await)),
            (outdated, Expected::Version(Version::new(7).unwrap())),
            (gone, Expected::Any),
            (list, Expected::Absent),
            (key(), Expected::Absent),
        ]);
    }
    for results in write_all(store, &all).await.chunks(5) {
        let [current, outdated, gone, list, new] = results else {
            panic!("five each");
        };
        assert!(matches!(current, Ok(WriteOutcome::Done(_))), "{current:?}");
        assert!(
            matches!(outdated, Ok(WriteOutcome::Conflict(_))),
            "{outdated:?}"
        );
        assert!(matches!(gone, Ok(WriteOutcome::Gone)), "{gone:?}");
        let error = list.as_ref().unwrap_err();
        assert!(matches!(cause(error), RedisError::ForeignValue), "{error}");
        assert!(matches!(new, Ok(WriteOutcome::Done(_))), "{new:?}");
    }
    let tagged = store.tagged(&tag("user:1")).await.unwrap();
    assert!(tagged.is_empty(), "a write replaces the tags");
}

/// A key of a batch whose slot has moved is found at its new node, and the others are unharmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_in_a_cluster_survives_moved_slots() {
    let cluster = Cluster::start_with_replicas(0);
    let store = RedisStore::connect(&cluster.url()).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..60 {
        keys.push(create_session(&store, HOUR).await);
    }
    for key in &keys[..5] {
        cluster.move_slot_of(&format!("session:{key}"));
    }
    let mut all = Vec::new();
    for key in &keys {
        all.push((*key, Expected::Any));
    }
    for key in &keys[5..10] {
        cluster.move_slot_of(&format!("session:{key}"));
    }
    for written in write_all(&store, &all).await {
        assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    }
    for key in &keys[10..15] {
        cluster.move_slot_of(&format!("session:{key}"));
    }
    for (key, read) in keys.iter().zip(read_all(&store, &keys).await) {
        let Ok(ReadOutcome::Found(record)) = read else {
            panic!("{read:?}");
        };
        assert_eq!(record.data, key.to_string());
    }
}

/// As a proxy in front of a cluster may do. Commands are sent alone then, and batches are not tried
/// again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_rejects_scripts_without_keys_costs_no_operation() {
    if is_before_7() {
        // Redis 6.2 changes the port that it announces only at its start.
        return;
    }
    let cluster = Cluster::start_with_replicas(0);
    let mut proxies = Vec::new();
    for node in &cluster.0 {
        let proxy = Proxy::to(node.port).await;
        proxy.set(Network::ScriptsNeedKeys);
        let port = proxy.port().to_string();
        let set = node.send(&["CONFIG", "SET", "cluster-announce-port", &port]);
        assert_eq!(set, "+OK\r\n");
        proxies.push(proxy);
    }
    let announced = |node: &Server| {
        let slots = node.send(&["CLUSTER", "SLOTS"]);
        let mut ports = proxies.iter().map(|proxy| proxy.port().to_string());
        ports.all(|port| slots.contains(&port))
    };
    wait_until(
        "the cluster announces the proxies",
        Duration::from_secs(30),
        || cluster.0.iter().all(announced),
    );
    let builder = RedisStore::builder(&cluster.url()).pool_size(1);
    let store = builder.connect().await.unwrap();
    let mut rejections = Vec::new();
    for _ in 0..5 {
        let all: Vec<_> = (0..100).map(|_| (key(), Expected::Absent)).collect();
        for written in write_all(&store, &all).await {
            assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
        }
        let keys: Vec<_> = all.into_iter().map(|(key, _)| key).collect();
        for read in read_all(&store, &keys).await {
            assert!(matches!(read, Ok(ReadOutcome::Found(_))), "{read:?}");
        }
        rejections.push(count_failed_scripts(&cluster));
    }
    // Batches that are on their way when the first one is rejected are rejected, too. On a slow machine the
    // pause may end meanwhile.
    let (first, all) = (rejections[0], rejections[4]);
    assert!(first > 0 && all - first <= first, "{rejections:?}");
}

/// Returns the number of scripts that the nodes of a cluster have rejected.
fn count_failed_scripts(cluster: &Cluster) -> u32 {
    let failed = |node: &Server| -> u32 {
        let stats = node.send(&["INFO", "commandstats"]);
        let mut lines = stats.lines();
        let line = lines.find(|line| line.starts_with("cmdstat_evalsha:"));
        let (_, failed) = line.unwrap().rsplit_once("failed_calls=").unwrap();
        failed.trim().parse().unwrap()
    };
    cluster.0.iter().map(failed).sum()
}

#[tokio::test]
async fn touches_are_batched_and_dead_sessions_stay_dead() {
    let server = Server::start();
    let store = connect(&server).await;
    let mut keys = Vec::new();
    for _ in 0..10 {
        keys.extend([create_session(&store, HOUR).await, key()]);
    }
    let day = Duration::from_secs(86_400);
    let touches = join_all(keys.iter().map(|key| store.touch(key, day))).await;
    let reads = join_all(keys.iter().map(|key| store.read(key, Some(day)))).await;
    for (at, (key, (touched, read))) in keys.iter().zip(touches.into_iter().zip(reads)).enumerate()
    {
        let live = at % 2 == 0;
        assert_eq!(touched.unwrap(), live);
        assert_eq!(matches!(read.unwrap(), ReadOutcome::Found(_)), live);
        let ttl = server.send(&["TTL", &format!("session:{key}")]);
        let ttl: i64 = ttl.trim_start_matches(':').trim().parse().unwrap();
        assert_eq!(ttl > 80_000, live, "{ttl}");
    }
}

#[tokio::test]
async fn full_memory_refuses_each_write_and_a_forgotten_script_none() {
    let server = Server::start();
    let store = connect(&server).await;
    let all: Vec<_> = (0..50).map(|_| (key(), Expected::Absent)).collect();
    server.send(&["SCRIPT", "FLUSH"]);
    server.send(&["CONFIG", "SET", "maxmemory", "1"]);
    for written in write_all(&store, &all).await {
        let error = written.unwrap_err();
        let full = ServerRejection::OutOfMemory;
        assert!(
            matches!(cause(&error), RedisError::Rejected(rejection) if *rejection == full),
            "{error}"
        );
    }
    server.send(&["CONFIG", "SET", "maxmemory", "0"]);
    server.send(&["SCRIPT", "FLUSH"]);
    for written in write_all(&store, &all).await {
        assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    }
}

#[tokio::test]
async fn a_replica_s_rejection_reaches_each_write() {
    let server = Server::start_with(&["--replicaof", "127.0.0.1", &free_port().to_string()]);
    let store = RedisStore::builder(&server.url())
        .operation_timeout(Duration::from_millis(1_500))
        .build()
        .unwrap();
    let all: Vec<_> = (0..50).map(|_| (key(), Expected::Absent)).collect();
    let mut last = Vec::new();
    for written in write_all(&store, &all).await {
        match cause(&written.unwrap_err()) {
            RedisError::Outage { last: error, .. } => last.push(*error),
            other => panic!("{other}"),
        }
    }
    // The last attempt of some failed because the client reconnects to look for a master.
    assert!(last.contains(&TransientError::ReadOnly), "{last:?}");
}

/// Dropping a read does not delay the other reads of its batch, whether it was queued first or later.
#[tokio::test]
async fn a_cancelled_read_does_not_delay_the_others() {
    let server = Server::start();
    let (limit, long) = (Duration::from_secs(30), Duration::from_secs(60));
    let builder = RedisStore::builder(&server.url()).command_timeout(long);
    let store = builder.operation_timeout(long).connect().await.unwrap();
    let key = create_session(&store, HOUR).await;
    for cancelled in [0, 3, 7] {
        let mut reads: Vec<_> = (0..8).map(|_| Box::pin(store.read(&key, None))).collect();
        for read in &mut reads {
            let started = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
            assert!(started.is_pending());
        }
        drop(reads.swap_remove(cancelled));
        let rest = tokio::time::timeout(limit, join_all(reads));
        for read in rest.await.expect("in time") {
            assert!(matches!(read, Ok(ReadOutcome::Found(_))), "{read:?}");
        }
    }
}
