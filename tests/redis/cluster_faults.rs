//! A cluster node hangs or has a bad network while sessions on all nodes change.

use std::time::Duration;

use hyper_session::store::redis::RedisStore;
use tokio::time::sleep;

use crate::support::redis_servers::{
    groups::Cluster,
    load::Load,
    proxy::{Network, Proxy},
    wait_until,
};

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
        .operation_timeout(Duration::from_secs(2))
        .wait_for_replicas(replicas)
        .connect()
        .await
        .unwrap()
}

/// Its replica takes over. When the old master resumes, it still acts as a master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_for_ten_seconds_is_replaced_and_comes_back_as_a_replica() {
    let cluster = Cluster::start();
    let (store, plain) = (
        store(&cluster.url(), 1).await,
        store(&cluster.url(), 0).await,
    );
    let load = Load::start(&store, &plain, 6, CHANGE_TIME).await;
    sleep(Duration::from_millis(400)).await;
    let hung = &cluster.0[1];
    hung.freeze();
    sleep(Duration::from_secs(10)).await;
    load.wait_for_recovery(ELECTION_TIME).await;
    hung.thaw();
    wait_until("the old master is a replica", ELECTION_TIME, || {
        !hung.is_master()
    });
    load.wait_for_recovery(ELECTION_TIME).await;
    let sum = load.verify().await;
    assert!(sum.kept > 50 && sum.failed > 0, "{sum:?}");
}

/// Only clients use the proxy. The other nodes reach this node directly, so it is not replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_network_to_one_node_loses_and_doubles_no_change() {
    let cluster = Cluster::start();
    let node = &cluster.0[1];
    let proxy = Proxy::to(node.port).await;
    let port = proxy.port().to_string();
    assert_eq!(
        node.send(&["CONFIG", "SET", "cluster-announce-port", &port]),
        "+OK\r\n"
    );
    wait_until("the cluster announces the proxy", ELECTION_TIME, || {
        cluster.0[0].send(&["CLUSTER", "SLOTS"]).contains(&port)
    });
    let store = store(&cluster.url(), 0).await;
    let load = Load::start(&store, &store, 8, CHANGE_TIME).await;
    for turn in 0..24 {
        proxy.set(match turn % 6 {
            0 => Network::CutAfter(3),
            1 => Network::Slow(Duration::from_millis(20)),
            2 => Network::CutAfter(300),
            3 => Network::DropReplies,
            4 => Network::Closed,
            _ => Network::Normal,
        });
        sleep(Duration::from_millis(250)).await;
    }
    proxy.set(Network::Normal);
    load.wait_for_recovery(ELECTION_TIME).await;
    assert!(node.is_master(), "the node was not replaced");
    let sum = load.verify().await;
    let stats = store.stats();
    assert!(sum.kept > 100 && stats.retries > 0, "{sum:?} {stats:?}");
}
