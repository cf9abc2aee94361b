//! Local copies in front of the Redis store. They save round trips, and are never older than
//! documented.

use std::{
    future::ready,
    time::{Duration, Instant},
};

use hyper_session::{
    id::StoreKey,
    store::{
        Expected, ReadOutcome, Store, WriteOutcome, WriteRequest,
        conformance::{self, RealTime},
        redis::{CachedRedisStore, CachedRedisStoreBuilder, RedisStore},
    },
};

use crate::support::redis_servers::{
    Server,
    proxy::{Network, Proxy},
    sessions::{HOUR, append, connect, create_session, create_tagged, key, record, tags, words},
};

/// The time for one message on a loaded machine.
const MESSAGE_TIME: Duration = Duration::from_secs(1);

fn builder(url: &str) -> CachedRedisStoreBuilder {
    let store = RedisStore::builder(url)
        .command_timeout(Duration::from_millis(300))
        .operation_timeout(Duration::from_millis(1_200));
    store.with_near_cache().max_age(HOUR)
}

async fn cached(url: &str) -> CachedRedisStore {
    let store = builder(url).connect().await.unwrap();
    wait_until_caching(&store).await;
    store
}

/// Waits until reads are cached.
async fn wait_until_caching(store: &CachedRedisStore) {
    let key = create_session(store, HOUR).await;
    wait_until(|| async {
        let hits = store.cache_stats().hits;
        store.read(&key, None).await.is_ok() && store.cache_stats().hits > hits
    })
    .await;
}

async fn wait_until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let start = Instant::now();
    while !condition().await {
        assert!(
            start.elapsed() < 10 * MESSAGE_TIME,
            "the condition does not become true"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Returns the number of reads and scripts that the server has run.
fn command_count(server: &Server) -> u64 {
    let commands = ["evalsha", "eval", "get", "mget"];
    commands.map(|command| server.calls(command)).iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_with_local_copies() {
    let server = Server::start();
    let (short, tombstone) = (Duration::from_millis(250), Duration::from_secs(2));
    let store = RedisStore::builder(&server.url())
        .tombstone_ttl(tombstone)
        .with_near_cache()
        .connect()
        .await
        .unwrap();
    wait_until_caching(&store).await;
    let report = conformance::run(&RealTime::new(|| ready(store.clone()), short, tombstone)).await;
    report.assert_passed();
    assert!(report.skipped().is_empty(), "{:?}", report.skipped());
    assert!(store.cache_stats().hits > 0);
}

#[tokio::test]
async fn a_cached_read_sends_no_command() {
    let server = Server::start();
    let store = cached(&server.url()).await;
    let key = create_session(&store, HOUR).await;
    record(&store, &key).await;
    let before = command_count(&server);
    for _ in 0..1_000 {
        assert_eq!(&*record(&store, &key).await.data, b"data");
    }
    assert_eq!(command_count(&server), before);
}

/// Two clients: a change by one reaches the other within one message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_elsewhere_ends_the_copy_within_one_message() {
    let server = Server::start();
    let (local, remote) = (cached(&server.url()).await, connect(&server).await);
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let key = create_session(&remote, HOUR).await;
        let hits = local.cache_stats().hits;
        record(&local, &key).await;
        record(&local, &key).await;
        assert!(local.cache_stats().hits > hits, "the copy is used");
        remote.destroy(&key).await.unwrap();
        let start = Instant::now();
        wait_until(|| async { local.read(&key, None).await.unwrap() == ReadOutcome::Gone }).await;
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < MESSAGE_TIME, "the slowest took {slowest:?}");
}

#[tokio::test]
async fn a_process_reads_its_own_writes_at_once() {
    let server = Server::start();
    let store = cached(&server.url()).await;
    let key = create_session(&store, HOUR).await;
    for number in 0..200 {
        let word = number.to_string();
        append(&store, &key, &format!(" {word}")).await.unwrap();
        assert_eq!(words(&store, &key).await.last(), Some(&word));
    }
    store.destroy(&key).await.unwrap();
    assert_eq!(store.read(&key, None).await.unwrap(), ReadOutcome::Gone);
}

/// Readers that miss race with writers of another client. The remaining copy is the last state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_copy_outlives_a_change_that_overtook_its_read() {
    let server = Server::start();
    let (local, remote) = (cached(&server.url()).await, connect(&server).await);
    for round in 0..60 {
        let key = create_session(&remote, HOUR).await;
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let local = local.clone();
                tokio::spawn(async move {
                    for _ in 0..10 {
                        local.read(&key, None).await.unwrap();
                    }
                })
            })
            .collect();
        for change in 0..5 {
            append(&remote, &key, &format!(" {change}")).await.unwrap();
        }
        for reader in readers {
            reader.await.unwrap();
        }
        let last = remote.read(&key, None).await.unwrap();
        wait_until(|| async { local.read(&key, None).await.unwrap() == last }).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(local.read(&key, None).await.unwrap(), last, "round {round}");
    }
}

#[tokio::test]
async fn an_old_copy_s_version_wins_no_write() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let (local, remote) = (cached(&proxy.url()).await, connect(&server).await);
    let key = create_session(&remote, HOUR).await;
    let old = record(&local, &key).await.version;
    // The invalidation message is late.
    proxy.set(Network::Slow(Duration::from_millis(80)));
    append(&remote, &key, " newer").await.unwrap();
    let write = local.write(WriteRequest::new(
        &key,
        "local",
        HOUR,
        Expected::Version(old),
    ));
    let written = write.await;
    let Ok(WriteOutcome::Conflict(newer)) = written else {
        panic!("the old version was accepted: {written:?}")
    };
    assert_eq!(&*newer.data, b"data newer ");
}

#[tokio::test]
async fn a_closed_connection_drops_all_copies() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let store = cached(&proxy.url()).await;
    let key = create_session(&store, HOUR).await;
    record(&store, &key).await;
    assert!(store.cache_stats().entries > 0);
    proxy.set(Network::Closed);
    wait_until(|| ready(store.cache_stats().entries == 0)).await;
    assert!(store.read(&key, None).await.is_err(), "no copy is used");
    proxy.set(Network::Normal);
    wait_until(|| async { store.read(&key, None).await.is_ok() }).await;
    wait_until_caching(&store).await;
}

#[tokio::test]
async fn a_silent_connection_drops_all_copies_after_one_heartbeat() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let (local, remote) = (cached(&proxy.url()).await, connect(&server).await);
    let key = create_session(&local, HOUR).await;
    record(&local, &key).await;
    proxy.set(Network::DropReplies);
    let start = Instant::now();
    remote.destroy(&key).await.unwrap();
    wait_until(|| async { !matches!(local.read(&key, None).await, Ok(ReadOutcome::Found(_))) })
        .await;
    // A heartbeat, the command timeout, a failed read, and extra time for a loaded machine.
    let bound = Duration::from_millis(1_000 + 300 + 1_200) + 5 * MESSAGE_TIME;
    assert!(start.elapsed() < bound, "{:?}", start.elapsed());
    proxy.set(Network::Normal);
    wait_until(|| async {
        local
            .read(&key, None)
            .await
            .is_ok_and(|read| read == ReadOutcome::Gone)
    })
    .await;
}

#[tokio::test]
async fn a_copy_has_the_tags_of_its_record() {
    let server = Server::start();
    let store = cached(&server.url()).await;
    wait_until_caching(&store).await;
    let key = create_tagged(&store, HOUR, &["a", "b"]).await;
    let read = record(&store, &key).await;
    let hits = store.cache_stats().hits;
    assert_eq!(record(&store, &key).await, read);
    assert!(store.cache_stats().hits > hits);
    assert_eq!(read.tags, tags(&["a", "b"]));
}

#[tokio::test]
async fn copies_have_limits() {
    let server = Server::start();
    let store = builder(&server.url())
        .max_entries(320)
        .max_bytes(64_000)
        .connect()
        .await
        .unwrap();
    wait_until_caching(&store).await;
    let mut keys: Vec<StoreKey> = Vec::new();
    for number in 0..2_000_usize {
        let key = key();
        // The largest exceed the maximum size of a copy.
        let data = vec![7; number * 13 % 2_500];
        let request = WriteRequest::new(&key, data, HOUR, Expected::Absent);
        let written = store.write(request).await;
        assert!(matches!(written, Ok(WriteOutcome::Done(_))));
        record(&store, &key).await;
        keys.push(key);
    }
    let stats = store.cache_stats();
    assert!(stats.entries <= 320 && stats.bytes <= 64_000, "{stats:?}");
    assert!(stats.entries > 20, "{stats:?}");
    for key in &keys {
        store.destroy(key).await.unwrap();
    }
    assert!(store.cache_stats().entries <= 1);
}

#[tokio::test]
async fn an_emptied_server_is_noticed_once_the_copy_expires() {
    let server = Server::start();
    let age = Duration::from_millis(300);
    let store = builder(&server.url()).max_age(age).connect().await.unwrap();
    let key = create_session(&store, HOUR).await;
    wait_until_caching(&store).await;
    record(&store, &key).await;
    server.send(&["FLUSHALL"]);
    tokio::time::sleep(age).await;
    assert_eq!(store.read(&key, None).await.unwrap(), ReadOutcome::Absent);
}
