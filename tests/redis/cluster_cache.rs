//! The near cache of each node of a cluster.

use std::{
    future::ready,
    time::{Duration, Instant},
};

use hyper_session::{
    id::StoreKey,
    store::{
        Expected, ReadOutcome, Store, WriteOutcome, WriteRequest,
        conformance::{self, RealTime},
        redis::{CachedRedisStore, RedisStore},
    },
};

use crate::support::redis_servers::{
    groups::Cluster,
    sessions::{HOUR, append, create_session, record, version, words},
    wait_until,
};

/// The time for one message on a loaded machine.
const MESSAGE_TIME: Duration = Duration::from_secs(2);

/// Maximum time of an election on a loaded machine.
const ELECTION_TIME: Duration = Duration::from_secs(30);

/// The time after which the nodes are read again, and extra time for a loaded machine.
const MAP_TIME: Duration = Duration::from_secs(10 + 5);

const COMMAND_TIMEOUT: Duration = Duration::from_millis(600);

async fn plain(cluster: &Cluster) -> RedisStore {
    RedisStore::connect(&cluster.url()).await.unwrap()
}

async fn cached(cluster: &Cluster) -> CachedRedisStore {
    let builder = RedisStore::builder(&cluster.url())
        .command_timeout(COMMAND_TIMEOUT)
        .operation_timeout(Duration::from_secs(2));
    let cached = builder.with_near_cache().max_age(HOUR);
    cached.connect().await.unwrap()
}

async fn wait_for<F: Future<Output = bool>>(limit: Duration, condition: impl Fn() -> F) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < limit, "not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Reads a session until a copy of it has answered.
async fn wait_until_cached(store: &CachedRedisStore, key: &StoreKey) {
    wait_for(ELECTION_TIME, || async {
        let hits = store.cache_stats().hits;
        store.read(key, None).await.is_ok() && store.cache_stats().hits > hits
    })
    .await;
}

/// Returns a new session on the node with this index, with a copy in `store`.
async fn cached_session(store: &CachedRedisStore, cluster: &Cluster, node: usize) -> StoreKey {
    loop {
        let key = create_session(store, HOUR).await;
        if cluster.master_of(&name(&key)) == node {
            wait_until_cached(store, &key).await;
            return key;
        }
    }
}

fn name(key: &StoreKey) -> String {
    format!("session:{key}")
}

/// Returns the indexes of the masters.
fn masters(cluster: &Cluster) -> Vec<usize> {
    let nodes = cluster.0.iter().enumerate();
    let masters: Vec<usize> = nodes
        .filter(|(_, node)| node.is_master())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(masters.len(), 3);
    masters
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_end_with_changes_moves_and_restarts() {
    let mut cluster = Cluster::start();
    let (local, remote) = (cached(&cluster).await, plain(&cluster).await);
    copies_of_all_nodes_are_used(&local, &cluster).await;
    changes_elsewhere_end_copies(&local, &remote, &cluster).await;
    a_moved_slot_leaves_no_stale_copy(&local, &remote, &cluster).await;
    a_restarted_node_leaves_no_stale_copy(&local, &mut cluster).await;
    let (short, tombstone) = (Duration::from_millis(250), Duration::from_secs(2));
    let builder = RedisStore::builder(&cluster.url()).tombstone_ttl(tombstone);
    let store = builder.with_near_cache().connect().await.unwrap();
    let report = conformance::run(&RealTime::new(|| ready(store.clone()), short, tombstone)).await;
    report.assert_passed();
    assert!(store.cache_stats().hits > 0);
}

async fn copies_of_all_nodes_are_used(local: &CachedRedisStore, cluster: &Cluster) {
    let mut keys = Vec::new();
    for node in masters(cluster) {
        keys.push(cached_session(local, cluster, node).await);
    }
    let commands = || {
        let nodes = cluster.masters();
        let calls = nodes.map(|node| node.calls("get") + node.calls("evalsha"));
        calls.sum::<u64>()
    };
    let before = commands();
    for _ in 0..300 {
        for key in &keys {
            assert_eq!(&*record(local, key).await.data, b"data");
        }
    }
    assert_eq!(commands(), before, "no command is sent");
}

async fn changes_elsewhere_end_copies(
    local: &CachedRedisStore,
    remote: &RedisStore,
    cluster: &Cluster,
) {
    for node in masters(cluster) {
        for _ in 0..5 {
            let key = cached_session(local, cluster, node).await;
            append(remote, &key, " new").await.unwrap();
            wait_for(MESSAGE_TIME, || async {
                words(local, &key).await == ["data", "new"]
            })
            .await;
            wait_until_cached(local, &key).await;
            remote.destroy(&key).await.unwrap();
            wait_for(MESSAGE_TIME, || async {
                local.read(&key, None).await.unwrap() == ReadOutcome::Gone
            })
            .await;
        }
    }
}

/// The old node reports nothing about a key that it no longer has.
async fn a_moved_slot_leaves_no_stale_copy(
    local: &CachedRedisStore,
    remote: &RedisStore,
    cluster: &Cluster,
) {
    for node in masters(cluster) {
        let key = cached_session(local, cluster, node).await;
        cluster.move_slot_of(&name(&key));
        append(remote, &key, " moved").await.unwrap();
        wait_for(MESSAGE_TIME, || async {
            words(local, &key).await == ["data", "moved"]
        })
        .await;
        // The copy from the new node is as good as the old one.
        wait_until_cached(local, &key).await;
        append(remote, &key, "again").await.unwrap();
        wait_for(MESSAGE_TIME, || async {
            words(local, &key).await == ["data", "moved", "again"]
        })
        .await;
    }
}

/// The server comes back without its data.
async fn a_restarted_node_leaves_no_stale_copy(local: &CachedRedisStore, cluster: &mut Cluster) {
    let [restarted, other, _] = masters(cluster)[..] else {
        panic!("three masters")
    };
    let lost = cached_session(local, cluster, restarted).await;
    let kept = cached_session(local, cluster, other).await;
    cluster.0[restarted].kill();
    // A replica may have taken over before the read fails.
    wait_for(ELECTION_TIME, || async {
        let hits = local.cache_stats().hits;
        let _unavailable = local.read(&lost, None).await;
        local.cache_stats().hits == hits
    })
    .await;
    let hits = local.cache_stats().hits;
    assert_eq!(&*record(local, &kept).await.data, b"data");
    assert!(
        local.cache_stats().hits > hits,
        "copies of other nodes are kept"
    );
    cluster.0[restarted].restart();
    wait_until("three masters", ELECTION_TIME, || {
        cluster.masters().count() == 3
            && cluster
                .0
                .iter()
                .all(|node| node.send(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    });
    let node = masters(cluster)[0];
    cached_session(local, cluster, node).await;
}

/// The master hangs, so it reports nothing while its replica takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_copy_outlives_a_failover() {
    let cluster = Cluster::start();
    let (local, remote) = (cached(&cluster).await, plain(&cluster).await);
    let [hung, handed_over, _] = masters(&cluster)[..] else {
        panic!("three masters")
    };

    // The operator hands the slots over. The old master is still connected.
    let key = cached_session(&local, &cluster, handed_over).await;
    let replica = &cluster.0[cluster.replica_of(handed_over)];
    assert_eq!(replica.send(&["CLUSTER", "FAILOVER"]), "+OK\r\n");
    wait_until("the replica is a master", ELECTION_TIME, || {
        replica.is_master()
    });
    append(&remote, &key, " new").await.unwrap();
    wait_for(MAP_TIME, || async {
        words(&local, &key).await == ["data", "new"]
    })
    .await;

    let key = cached_session(&local, &cluster, hung).await;
    let version = version(&local, &key).await;
    let replica = cluster.replica_of(hung);
    cluster.0[hung].freeze();
    // A heartbeat, the command timeout, and a failed read.
    let bound = Duration::from_secs(1) + COMMAND_TIMEOUT + Duration::from_secs(2) + MESSAGE_TIME;
    wait_for(bound, || async {
        let hits = local.cache_stats().hits;
        let _elected_or_failed = local.read(&key, None).await;
        local.cache_stats().hits == hits
    })
    .await;
    wait_until("a replica takes over", ELECTION_TIME, || {
        cluster.0[replica].is_master()
    });
    wait_for(ELECTION_TIME, || async {
        let changed = WriteRequest::new(&key, "changed", HOUR, Expected::Version(version));
        matches!(
            remote.write(changed).await,
            Ok(WriteOutcome::Done(_) | WriteOutcome::Conflict(_))
        )
    })
    .await;
    cluster.0[hung].thaw();
    wait_for(ELECTION_TIME, || async { is_found(&local, &key).await }).await;
    for _ in 0..100 {
        assert_eq!(&*record(&local, &key).await.data, b"changed");
    }
}

async fn is_found(store: &CachedRedisStore, key: &StoreKey) -> bool {
    matches!(store.read(key, None).await, Ok(ReadOutcome::Found(_)))
}
