//! A master dies or hangs under load, and another takes its place: by Sentinel, and in a cluster.

use std::time::Duration;

use hyper_session::store::redis::RedisStore;

use crate::support::redis_servers::{
    groups::{Cluster, SentinelGroup},
    load::Load,
};

const TOTAL: Duration = Duration::from_millis(2_000);

/// What a change may take: a read and some writes, each within the total time, on a loaded machine.
const CHANGE: Duration = Duration::from_millis(3 * 2_000 + 2_000);

/// Long enough for an election on a loaded machine.
const ELECTION: Duration = Duration::from_secs(30);

/// A store whose writes are acknowledged once `replicas` replicas have them.
async fn store(url: &str, replicas: u32) -> RedisStore {
    RedisStore::builder(url)
        .connect_timeout(Duration::from_millis(500))
        .command_timeout(Duration::from_millis(600))
        .operation_timeout(TOTAL)
        .wait_for_replicas(replicas)
        .connect()
        .await
        .unwrap()
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(400)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_choice_is_followed_when_the_master_is_killed() {
    let mut watched = SentinelGroup::start();
    let (store, plain) = (
        store(&watched.url(), 1).await,
        store(&watched.url(), 0).await,
    );
    let load = Load::start(&store, &plain, 2, CHANGE).await;
    a_moment().await;
    watched.master.kill();
    watched.wait_for_promotion(ELECTION);
    load.wait_for_recovery(ELECTION).await;
    a_moment().await;
    let sum = load.verify().await;
    assert!(sum.kept > 50 && sum.failed > 0, "{sum:?}");
}

/// The old master wakes up as one, and must not be believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_choice_is_followed_when_the_master_hangs() {
    let watched = SentinelGroup::start();
    let (store, plain) = (
        store(&watched.url(), 1).await,
        store(&watched.url(), 0).await,
    );
    let load = Load::start(&store, &plain, 2, CHANGE).await;
    a_moment().await;
    watched.master.freeze();
    watched.wait_for_promotion(ELECTION);
    load.wait_for_recovery(ELECTION).await;
    watched.master.thaw();
    crate::support::redis_servers::wait_until("the old master is a replica", ELECTION, || {
        !watched.master.is_master()
    });
    load.wait_for_recovery(ELECTION).await;
    let sum = load.verify().await;
    assert!(sum.kept > 50 && sum.failed > 0, "{sum:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_node_that_is_killed_is_replaced() {
    let mut cluster = Cluster::start();
    let (store, plain) = (
        store(&cluster.url(), 1).await,
        store(&cluster.url(), 0).await,
    );
    let load = Load::start(&store, &plain, 4, CHANGE).await;
    a_moment().await;
    // The one that the URL names.
    cluster.0.remove(0).kill();
    crate::support::redis_servers::wait_until("a replica is promoted", ELECTION, || {
        cluster.0.iter().filter(|node| node.is_master()).count() == 3
    });
    load.wait_for_recovery(ELECTION).await;
    a_moment().await;
    let sum = load.verify().await;
    assert!(sum.kept > 50 && sum.failed > 0, "{sum:?}");
}
