//! A cluster node hangs or has a bad network while sessions on all nodes change.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper_session::store::{
    Expected, ReadOutcome, ScanStore, Store, WriteRequest,
    redis::{Outage, RedisStore},
};
use tokio::{runtime::Handle, time::sleep};

use crate::support::redis_servers::{
    Server,
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

/// All keys of the store are in one slot, so that the client cannot test the others by a write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outage_of_a_node_without_keys_of_the_store_ends() {
    let cluster = Cluster::start_with_replicas(0);
    for node in &cluster.0 {
        node.send(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let outages = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&outages);
    let store = RedisStore::builder(&cluster.url())
        .prefix("{shop}:")
        .command_timeout(Duration::from_millis(300))
        .operation_timeout(Duration::from_secs(1))
        .on_outage(move |outage| log.lock().unwrap().push(outage.clone()))
        .connect()
        .await
        .unwrap();
    let key = create_session(&store, HOUR).await;
    let owner = cluster.master_of(&format!("{{shop}}:{key}"));
    let hung = &cluster.0[(owner + 1) % 3];
    hung.freeze();
    let wait_for = async |count| {
        let start = Instant::now();
        while outages.lock().unwrap().len() < count {
            assert!(start.elapsed() < ELECTION_TIME, "no report {count}");
            // Each page is from one node.
            let mut next = None;
            while let Ok(page) = store.scan_page(next.as_ref()).await {
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
        }
    };
    wait_for(1).await;
    hung.thaw();
    wait_for(2).await;
    let outages = outages.lock().unwrap();
    let is_one = matches!(&outages[..], [Outage::Started { .. }, Outage::Ended { .. }]);
    assert!(is_one, "{outages:?}");
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
    let (mut failed, mut slow, mut quick) = (0, 0, 0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        for (key, owner) in keys.iter().zip(&owners) {
            if *owner != away {
                let began = Instant::now();
                assert_eq!(&*record(&store, key).await.data, b"data");
                assert!(store.touch(key, HOUR).await.unwrap());
                match began.elapsed() < Duration::from_millis(600) {
                    true => quick += 1,
                    false => slow += 1,
                }
            }
        }
        failed += usize::from(store.read(&keys[0], None).await.is_err());
    }
    // A loaded machine may delay some.
    assert!(quick > 10 * slow, "{slow} operations of {quick} are slow");
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
    // The report may come after the first read.
    while outages.lock().unwrap().len() < 2 {
        assert!(start.elapsed() < ELECTION_TIME, "the end is not reported");
        sleep(Duration::from_millis(1)).await;
    }
    let outages = outages.lock().unwrap();
    let [Outage::Started { server, .. }, Outage::Ended { .. }] = &outages[..] else {
        panic!("not one outage: {outages:?}");
    };
    assert_eq!(**server, *format!("127.0.0.1:{port}"));
}

/// Returns the number of `CLUSTER SLOTS` that these nodes have run.
fn count_maps<'n>(nodes: impl IntoIterator<Item = &'n Server>) -> u64 {
    // Before Redis 7, all commands `CLUSTER` are counted together.
    let count = |node: &Server| node.calls("cluster|slots") + node.calls("cluster");
    nodes.into_iter().map(count).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_one_node_does_not_burden_the_others() {
    let mut cluster = Cluster::start_with_replicas(0);
    for node in &cluster.0 {
        node.send(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let store = store(&cluster.url(), 0).await;
    let key = create_session(&store, HOUR).await;
    let owner = cluster.master_of(&format!("session:{key}"));
    let away = cluster.0.remove(owner);
    let all = || cluster.0.iter().chain([&away]);
    let touch = async |time| {
        let start = Instant::now();
        while start.elapsed() < time {
            let _result = store.touch(&key, HOUR).await;
            sleep(Duration::from_millis(1)).await;
        }
    };
    away.send(&["CONFIG", "SET", "maxmemory", "1"]);
    let write = WriteRequest::new(&key, "more", HOUR, Expected::Any);
    store.write(write).await.unwrap_err();
    assert_eq!(store.stats().unavailable_servers, 1);
    let before = count_maps(all());
    touch(Duration::from_secs(2)).await;
    let maps = count_maps(all()) - before;
    assert!(maps <= 3, "{maps} while a node is full");
    assert_eq!(store.stats().unavailable_servers, 1);
    away.freeze();
    while store.is_available(&key) {
        touch(Duration::from_millis(10)).await;
    }
    // From the third second on.
    touch(Duration::from_secs(3)).await;
    let before = count_maps(&cluster.0);
    touch(Duration::from_secs(2)).await;
    let maps = count_maps(&cluster.0) - before;
    assert!(maps <= 6, "{maps} while a node is away");
}

/// Returns the slot of a key.
fn slot_of(node: &Server, key: &str) -> String {
    let slot = node.send(&["CLUSTER", "KEYSLOT", key]);
    slot.trim_matches([':', '\r', '\n']).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_without_a_node_does_not_burden_the_nodes() {
    let cluster = Cluster::start_with_replicas(0);
    for node in &cluster.0 {
        node.send(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let store = store(&cluster.url(), 0).await;
    let key = create_session(&store, HOUR).await;
    let slot = slot_of(&cluster.0[0], &format!("session:{key}"));
    let is_unserved = |node: &Server| {
        // A node that still knows the owner may report it to the others.
        node.send(&["CLUSTER", "DELSLOTS", &slot]);
        let read = node.send(&["EXISTS", &format!("session:{key}")]);
        read.starts_with("-CLUSTERDOWN")
    };
    wait_until("no node has the slot", ELECTION_TIME, || {
        cluster.0.iter().filter(|node| is_unserved(node)).count() == 3
    });
    let touch = async |time| {
        let start = Instant::now();
        while start.elapsed() < time {
            let _result = store.touch(&key, HOUR).await;
            sleep(Duration::from_millis(1)).await;
        }
    };
    while store.is_available(&key) {
        touch(Duration::from_millis(10)).await;
    }
    // From the third second on.
    touch(Duration::from_secs(3)).await;
    let before = count_maps(&cluster.0);
    touch(Duration::from_secs(2)).await;
    let maps = count_maps(&cluster.0) - before;
    assert!(maps <= 6, "{maps} while a slot has no node");
}

/// The node rejects writes first, and then no longer has the slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_node_that_is_replaced_is_noticed_by_the_next_operation() {
    let cluster = Cluster::start_with_replicas(0);
    for node in &cluster.0 {
        node.send(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let store = store(&cluster.url(), 0).await;
    let key = create_session(&store, HOUR).await;
    let name = format!("session:{key}");
    let owner = cluster.master_of(&name);
    let full = &cluster.0[owner];
    full.send(&["CONFIG", "SET", "maxmemory", "1"]);
    let write = WriteRequest::new(&key, "more", HOUR, Expected::Any);
    store.write(write).await.unwrap_err();
    assert_eq!(store.stats().unavailable_servers, 1);
    for command in [&["FLUSHALL"][..], &["CLUSTER", "RESET", "HARD"]] {
        assert_eq!(full.send(command), "+OK\r\n");
    }
    let others = || [1, 2].map(|next| &cluster.0[(owner + next) % 3]);
    let (slot, id) = (slot_of(full, &name), others()[0].cluster_id());
    for node in others() {
        node.set_slot(&slot, "NODE", &id);
    }
    assert_eq!(others()[0].send(&["EXISTS", &name]), ":0\r\n");
    let read = full.send(&["EXISTS", &name]);
    assert!(read.starts_with("-CLUSTERDOWN"), "{read}");
    let found = store.read(&key, None).await;
    assert_eq!(found.unwrap(), ReadOutcome::Absent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_as_the_first_operation_visits_all_nodes() {
    let cluster = Cluster::start_with_replicas(0);
    let filler = store(&cluster.url(), 0).await;
    let mut created = Vec::new();
    for _ in 0..60 {
        created.push(create_session(&filler, HOUR).await);
    }
    let store = RedisStore::builder(&cluster.url()).build().unwrap();
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let page = store.scan_page(next.as_ref()).await.unwrap();
        found.extend(page.keys);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    created.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, created);
}

/// The tasks of this test's runtime, and the connections to the nodes.
#[derive(Debug, PartialEq)]
struct Resources {
    tasks: usize,
    to_masters: usize,
    to_replicas: usize,
}

impl Resources {
    fn of(cluster: &Cluster) -> Self {
        let (mut to_masters, mut to_replicas) = (0, 0);
        for node in &cluster.0 {
            let clients = node.send(&["CLIENT", "LIST", "TYPE", "normal"]);
            // One of them is the client that lists them.
            let others = clients.matches(" addr=").count() - 1;
            match node.is_master() {
                true => to_masters += others,
                false => to_replicas += others,
            }
        }
        Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            to_masters,
            to_replicas,
        }
    }

    /// Reads until the store uses as much as this again.
    async fn wait_for_return(&self, cluster: &Cluster, store: &RedisStore) {
        let start = Instant::now();
        loop {
            let now = Self::of(cluster);
            if now == *self {
                return;
            }
            assert!(start.elapsed() < ELECTION_TIME, "{now:?}, not {self:?}");
            for key in keys(20) {
                // It fails if the node is just replaced.
                let _result = store.read(&key, None).await;
            }
        }
    }
}

/// A leak of the client would be multiplied by each failover and each lost connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_masters_and_lost_connections_leave_no_task_and_no_connection() {
    let cluster = Cluster::start();
    let before = Resources::of(&cluster);
    let store = store(&cluster.url(), 1).await;
    // Two connections for reads and two for writes to each master.
    let connections = 3 * (2 + 2);
    wait_until("the nodes are connected", ELECTION_TIME, || {
        store.stats().connections == connections
    });
    let settled = Resources::of(&cluster);
    let of_each = (settled.to_masters, settled.to_replicas);
    assert_eq!(of_each, (connections, 0), "{settled:?}");
    for turn in 0..6 {
        let masters: Vec<_> = (0..6).filter(|node| cluster.0[*node].is_master()).collect();
        let replica = &cluster.0[cluster.replica_of(masters[turn % 3])];
        let promoted = replica.send(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
        assert_eq!(promoted, "+OK\r\n");
        cluster.wait_until_whole(ELECTION_TIME);
        settled.wait_for_return(&cluster, &store).await;
        for node in &cluster.0 {
            node.send(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        settled.wait_for_return(&cluster, &store).await;
    }
    drop(store);
    wait_until("nothing is left", ELECTION_TIME, || {
        Resources::of(&cluster) == before
    });
}
