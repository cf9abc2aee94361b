//! A master dies or hangs under load and is replaced, with Sentinel and in a cluster.

use std::time::{Duration, Instant};

use hyper_session::store::{Expected, Store, WriteOutcome, WriteRequest, redis::RedisStore};
use tokio::time::timeout;

use crate::support::redis_servers::{
    groups::{Cluster, SentinelGroup},
    load::Load,
    sessions::{HOUR, key, keys},
};

const OPERATION_TIMEOUT: Duration = Duration::from_millis(2_000);

/// Maximum time of a change on a loaded machine: a read and some writes, each within the operation
/// timeout.
const CHANGE_TIME: Duration = Duration::from_millis(3 * 2_000 + 2_000);

/// Maximum time of an election on a loaded machine.
const ELECTION_TIME: Duration = Duration::from_secs(30);

/// Returns a store whose writes are acknowledged once `replicas` replicas have them.
async fn store(url: &str, replicas: u32) -> RedisStore {
    RedisStore::builder(url)
        .connect_timeout(Duration::from_millis(500))
        .command_timeout(Duration::from_millis(600))
        .operation_timeout(OPERATION_TIMEOUT)
        .wait_for_replicas(replicas)
        .connect()
        .await
        .unwrap()
}

async fn run_load_for_a_moment() {
    tokio::time::sleep(Duration::from_millis(400)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_that_sentinel_elects_is_used_when_the_old_one_is_killed() {
    let mut group = SentinelGroup::start();
    let (store, plain) = (store(&group.url(), 1).await, store(&group.url(), 0).await);
    let load = Load::start(&store, &plain, &keys(2), CHANGE_TIME).await;
    run_load_for_a_moment().await;
    group.master.kill();
    group.wait_for_promotion(ELECTION_TIME);
    load.wait_for_recovery(ELECTION_TIME).await;
    run_load_for_a_moment().await;
    let sum = load.verify().await;
    assert!(sum.kept > 50 && sum.hindered > 0, "{sum:?}");
}

/// The old master resumes as a master, and must not be used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_that_sentinel_elects_is_used_when_the_old_one_hangs() {
    let group = SentinelGroup::start();
    let (store, plain) = (store(&group.url(), 1).await, store(&group.url(), 0).await);
    let load = Load::start(&store, &plain, &keys(2), CHANGE_TIME).await;
    run_load_for_a_moment().await;
    group.master.freeze();
    group.wait_for_promotion(ELECTION_TIME);
    load.wait_for_recovery(ELECTION_TIME).await;
    group.master.thaw();
    crate::support::redis_servers::wait_until("the old master is a replica", ELECTION_TIME, || {
        !group.master.is_master()
    });
    load.wait_for_recovery(ELECTION_TIME).await;
    let sum = load.verify().await;
    assert!(sum.kept > 50 && sum.hindered > 0, "{sum:?}");
}

/// A timeout above the store ends each operation before the command timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_that_sentinel_elects_is_used_even_if_every_caller_cancels() {
    let group = SentinelGroup::start();
    let (store, key) = (store(&group.url(), 0).await, key());
    let wait_for_write = async || {
        let start = Instant::now();
        loop {
            let write = WriteRequest::new(&key, "data", HOUR, Expected::Any);
            let written = timeout(Duration::from_millis(120), store.write(write)).await;
            if matches!(written, Ok(Ok(WriteOutcome::Done(_)))) {
                return;
            }
            assert!(start.elapsed() < 2 * ELECTION_TIME, "{written:?}");
        }
    };
    wait_for_write().await;
    group.master.freeze();
    wait_for_write().await;
    assert!(group.replicas.iter().any(|one| one.is_master()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_node_that_is_killed_is_replaced() {
    let mut cluster = Cluster::start();
    let keys = keys(4);
    // The node in the URL has one of the sessions.
    let killed = cluster.master_of(&format!("session:{}", keys[0]));
    let url = cluster.url_of(killed);
    let (store, plain) = (store(&url, 1).await, store(&url, 0).await);
    let load = Load::start(&store, &plain, &keys, CHANGE_TIME).await;
    run_load_for_a_moment().await;
    cluster.0.remove(killed).kill();
    crate::support::redis_servers::wait_until("a replica is promoted", ELECTION_TIME, || {
        cluster.0.iter().filter(|node| node.is_master()).count() == 3
    });
    load.wait_for_recovery(ELECTION_TIME).await;
    run_load_for_a_moment().await;
    let sum = load.verify().await;
    assert!(sum.kept > 50 && sum.hindered > 0, "{sum:?}");
}
