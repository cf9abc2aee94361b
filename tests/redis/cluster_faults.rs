//! A cluster node hangs or has a bad network while sessions on all nodes change.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper_session::store::{
    Store,
    redis::{Outage, RedisStore},
};
use tokio::time::sleep;

use crate::support::redis_servers::{
    groups::Cluster,
    is_before_7,
    load::Load,
    proxy::{Network, Proxy},
    sessions::{HOUR, create_session, keys, record},
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
    let keys = keys(6);
    let load = Load::start(&store, &plain, &keys, CHANGE_TIME).await;
    sleep(Duration::from_millis(400)).await;
    let hung = &cluster.0[cluster.master_of(&format!("session:{}", keys[0]))];
    hung.freeze();
    sleep(Duration::from_secs(10)).await;
    load.wait_for_recovery(ELECTION_TIME).await;
    hung.thaw();
    wait_until("the old master is a replica", ELECTION_TIME, || {
        !hung.is_master()
    });
    load.wait_for_recovery(ELECTION_TIME).await;
    let sum = load.verify().await;
    assert!(sum.kept > 50 && sum.hindered > 0, "{sum:?}");
}

/// Only clients use the proxy. The other nodes reach this node directly, so it is not replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_network_to_one_node_loses_and_doubles_no_change() {
    if is_before_7() {
        // Redis 6.2 changes the port that it announces only at its start.
        return;
    }
    let cluster = Cluster::start();
    let keys = keys(8);
    let node = &cluster.0[cluster.master_of(&format!("session:{}", keys[0]))];
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
    let load = Load::start(&store, &store, &keys, CHANGE_TIME).await;
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

/// One of three masters is away with its replica, so nothing replaces it. The outage is that of its
/// sessions alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_away_fails_no_key_of_another() {
    let mut cluster = Cluster::start();
    for node in &cluster.0 {
        let set = node.send(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
        assert_eq!(set, "+OK\r\n");
    }
    let outages = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&outages);
    let store = RedisStore::builder(&cluster.url())
        .command_timeout(Duration::from_millis(600))
        .operation_timeout(Duration::from_secs(2))
        .on_outage(move |outage| log.lock().unwrap().push(outage.clone()))
        .connect()
        .await
        .unwrap();
    let (mut keys, mut owners) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        keys.push(create_session(&store, HOUR).await);
        owners.push(cluster.master_of(&format!("session:{}", keys.last().unwrap())));
    }
    let away = owners[0];
    let port = cluster.0[away].port;
    let replica = cluster.replica_of(away);
    for index in [replica, away] {
        cluster.0[index].kill();
    }
    let (mut failed, start) = (0, Instant::now());
    while start.elapsed() < Duration::from_secs(5) {
        for (key, owner) in keys.iter().zip(&owners) {
            if *owner != away {
                let began = Instant::now();
                assert_eq!(&*record(&store, key).await.data, b"data");
                assert!(store.touch(key, HOUR).await.unwrap());
                let took = began.elapsed();
                assert!(took < Duration::from_millis(600), "{took:?}");
            }
        }
        failed += usize::from(store.read(&keys[0], None).await.is_err());
    }
    assert!(failed > 3, "known outages fail soon: {failed}");
    assert!(!store.is_available(&keys[0]));
    cluster.0[away].restart();
    wait_until("the node is back", ELECTION_TIME, || {
        cluster.0[away]
            .send(&["CLUSTER", "INFO"])
            .contains("cluster_state:ok")
    });
    let start = Instant::now();
    while store.read(&keys[0], None).await.is_err() {
        assert!(start.elapsed() < ELECTION_TIME, "it does not recover");
    }
    let outages = outages.lock().unwrap();
    let [Outage::Started { server, .. }, Outage::Ended { .. }] = &outages[..] else {
        panic!("not one outage: {outages:?}");
    };
    assert_eq!(**server, *format!("127.0.0.1:{port}"));
}
