//! Local copies in front of the Redis store: they save round trips, and are never older than told.

use std::{
    future::ready,
    time::{Duration, Instant},
};

use hyper_session::{
    id::StoreKey,
    store::{
        Expected, ReadOutcome, Store, WriteOutcome,
        conformance::{self, RealTime},
        redis::{CachedRedisStore, CachedRedisStoreBuilder, RedisStore},
    },
};

use crate::support::redis_servers::{
    Server,
    proxy::{Network, Proxy},
    sessions::{HOUR, append, connect, create_session, key, record, words},
};

/// A loaded machine's time for one message.
const MESSAGE: Duration = Duration::from_secs(1);

fn builder(url: &str) -> CachedRedisStoreBuilder {
    let store = RedisStore::builder(url)
        .command_timeout(Duration::from_millis(300))
        .operation_timeout(Duration::from_millis(1_200));
    store.cached().max_age(HOUR)
}

async fn cached(url: &str) -> CachedRedisStore {
    let store = builder(url).connect().await.unwrap();
    warm(&store).await;
    store
}

/// Waits until copies are kept.
async fn warm(store: &CachedRedisStore) {
    let key = create_session(store, HOUR).await;
    wait_until(|| async {
        let hits = store.cache_stats().hits;
        store.read(&key, None).await.is_ok() && store.cache_stats().hits > hits
    })
    .await;
}

async fn wait_until<F: Future<Output = bool>>(so: impl Fn() -> F) {
    let start = Instant::now();
    while !so().await {
        assert!(start.elapsed() < 10 * MESSAGE, "it does not come about");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How many scripts and reads the server has been asked for.
fn asked(server: &Server) -> u64 {
    let stats = server.send(&["INFO", "commandstats"]);
    let calls = |name: &str| -> Option<u64> {
        let rest = stats.split(&format!("cmdstat_{name}:calls=")).nth(1)?;
        rest.split(',').next()?.parse().ok()
    };
    ["evalsha", "eval", "get"]
        .iter()
        .filter_map(|name| calls(name))
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_with_local_copies() {
    let server = Server::start();
    let (short, tombstone) = (Duration::from_millis(250), Duration::from_secs(2));
    let store = RedisStore::builder(&server.url())
        .tombstone_ttl(tombstone)
        .cached()
        .connect()
        .await
        .unwrap();
    warm(&store).await;
    let report = conformance::run(&RealTime::new(|| ready(store.clone()), short, tombstone)).await;
    report.assert_passed();
    assert!(report.skipped().is_empty(), "{:?}", report.skipped());
    assert!(store.cache_stats().hits > 0);
}

#[tokio::test]
async fn a_hot_read_asks_the_server_nothing() {
    let server = Server::start();
    let store = cached(&server.url()).await;
    let key = create_session(&store, HOUR).await;
    record(&store, &key).await;
    let before = asked(&server);
    for _ in 0..1_000 {
        assert_eq!(&*record(&store, &key).await.data, b"data");
    }
    assert_eq!(asked(&server), before);
}

/// Two clients: what one does, the other sees within one message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_elsewhere_ends_the_copy_within_one_message() {
    let server = Server::start();
    let (here, there) = (cached(&server.url()).await, connect(&server).await);
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let key = create_session(&there, HOUR).await;
        let hits = here.cache_stats().hits;
        record(&here, &key).await;
        record(&here, &key).await;
        assert!(here.cache_stats().hits > hits, "there is a copy");
        there.destroy(&key).await.unwrap();
        let start = Instant::now();
        wait_until(|| async { here.read(&key, None).await.unwrap() == ReadOutcome::Gone }).await;
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < MESSAGE, "the slowest took {slowest:?}");
}

#[tokio::test]
async fn what_was_written_here_is_read_here_at_once() {
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

/// Readers that miss race with writers elsewhere: the copy that stays is the last state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_copy_outlives_a_change_that_overtook_its_read() {
    let server = Server::start();
    let (here, there) = (cached(&server.url()).await, connect(&server).await);
    for round in 0..60 {
        let key = create_session(&there, HOUR).await;
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let here = here.clone();
                tokio::spawn(async move {
                    for _ in 0..10 {
                        here.read(&key, None).await.unwrap();
                    }
                })
            })
            .collect();
        for change in 0..5 {
            append(&there, &key, &format!(" {change}")).await.unwrap();
        }
        for reader in readers {
            reader.await.unwrap();
        }
        let last = there.read(&key, None).await.unwrap();
        wait_until(|| async { here.read(&key, None).await.unwrap() == last }).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(here.read(&key, None).await.unwrap(), last, "round {round}");
    }
}

#[tokio::test]
async fn an_old_copy_s_version_wins_no_write() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let (here, there) = (cached(&proxy.url()).await, connect(&server).await);
    let key = create_session(&there, HOUR).await;
    let old = record(&here, &key).await.version;
    // The news comes late.
    proxy.set(Network::Slow(Duration::from_millis(80)));
    append(&there, &key, " newer").await.unwrap();
    let write = here.write(&key, "ours".into(), HOUR, Expected::Version(old));
    let written = write.await;
    let Ok(WriteOutcome::Conflict(newer)) = written else {
        panic!("it was believed: {written:?}")
    };
    assert_eq!(&*newer.data, b"data newer ");
}

#[tokio::test]
async fn a_closed_connection_takes_all_copies_with_it() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let store = cached(&proxy.url()).await;
    let key = create_session(&store, HOUR).await;
    record(&store, &key).await;
    assert!(store.cache_stats().entries > 0);
    proxy.set(Network::Closed);
    wait_until(|| ready(store.cache_stats().entries == 0)).await;
    assert!(
        store.read(&key, None).await.is_err(),
        "it is not served from a copy"
    );
    proxy.set(Network::Normal);
    wait_until(|| async { store.read(&key, None).await.is_ok() }).await;
    warm(&store).await;
}

#[tokio::test]
async fn a_silent_connection_takes_them_after_one_heartbeat() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let (here, there) = (cached(&proxy.url()).await, connect(&server).await);
    let key = create_session(&here, HOUR).await;
    record(&here, &key).await;
    proxy.set(Network::DropReplies);
    let start = Instant::now();
    there.destroy(&key).await.unwrap();
    wait_until(|| async { !matches!(here.read(&key, None).await, Ok(ReadOutcome::Found(_))) })
        .await;
    // A heartbeat, the command timeout, a read in vain, and a loaded machine's second.
    let bound = Duration::from_millis(1_000 + 300 + 1_200) + MESSAGE;
    assert!(start.elapsed() < bound, "{:?}", start.elapsed());
    proxy.set(Network::Normal);
    wait_until(|| async {
        here.read(&key, None)
            .await
            .is_ok_and(|read| read == ReadOutcome::Gone)
    })
    .await;
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
    warm(&store).await;
    let mut keys: Vec<StoreKey> = Vec::new();
    for number in 0..2_000_usize {
        let key = key();
        // The largest are larger than any one copy may be.
        let data = vec![7; number * 13 % 2_500];
        let written = store.write(&key, data.into(), HOUR, Expected::Absent).await;
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
async fn an_emptied_server_is_noticed_when_the_copy_is_old() {
    let server = Server::start();
    let age = Duration::from_millis(300);
    let store = builder(&server.url()).max_age(age).connect().await.unwrap();
    let key = create_session(&store, HOUR).await;
    warm(&store).await;
    record(&store, &key).await;
    server.send(&["FLUSHALL"]);
    tokio::time::sleep(age).await;
    assert_eq!(store.read(&key, None).await.unwrap(), ReadOutcome::Absent);
}

#[test]
fn in_front_of_a_cluster_it_is_refused() {
    let builder = RedisStore::builder("redis-cluster://127.0.0.1:1");
    let error = builder.cached().build().unwrap_err();
    assert!(format!("{error:?}").contains("cluster"), "{error:?}");
}
