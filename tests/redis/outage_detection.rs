//! What starts an outage, and what ends it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper_session::{
    id::StoreKey,
    store::{
        Expected, ScanStore, Store, WriteRequest,
        redis::{Outage, OutageScope, RedisError, RedisStore, TransientError},
    },
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::support::redis_servers::{
    Server,
    groups::Cluster,
    proxy::{Network, Proxy},
    sessions::{HOUR, cause, create_session, key, keys, record, tags},
    wait_until,
};

const OPERATION_TIMEOUT: Duration = Duration::from_millis(1_500);

type OutageLog = Arc<Mutex<Vec<Outage>>>;

/// Returns a store with one connection, and the log of its outages.
async fn connect(url: &str) -> (RedisStore, OutageLog) {
    let outages = OutageLog::default();
    let log = Arc::clone(&outages);
    let store = RedisStore::builder(url)
        .pool_size(1)
        .command_timeout(Duration::from_millis(500))
        .operation_timeout(OPERATION_TIMEOUT)
        .on_outage(move |outage| log.lock().unwrap().push(outage.clone()))
        .connect();
    (store.await.unwrap(), outages)
}

/// The server dies between its replies to two commands. The first reply arrives while the second
/// command waits for its own.
#[tokio::test]
async fn an_operation_that_overlapped_the_last_reply_is_part_of_the_outage() {
    const DELAY: Duration = Duration::from_millis(200);
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let (store, outages) = connect(&proxy.url()).await;
    let key = create_session(&store, HOUR).await;
    for _ in 0..5 {
        proxy.set(Network::Slow(DELAY));
        let gets = server.calls("get");
        let read = tokio::spawn(store.read(&key, None));
        while server.calls("get") == gets {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(DELAY / 4).await;
        let touch = tokio::spawn(store.touch(&key, HOUR));
        read.await.unwrap().unwrap();
        proxy.set(Network::Closed);
        // If this machine is slow, both replies get through.
        if let Err(error) = touch.await.unwrap() {
            let is_outage = matches!(cause(&error), RedisError::Outage { .. });
            assert!(is_outage && error.is_outage(), "{error}");
            assert_eq!(outages.lock().unwrap().len(), 1);
            return;
        }
    }
    panic!("no reply was lost");
}

/// Waits until there are so many reports.
async fn wait_for_reports(outages: &OutageLog, count: usize) {
    let start = Instant::now();
    while outages.lock().unwrap().len() < count {
        assert!(start.elapsed() < Duration::from_secs(30), "{outages:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A node that rejects writes redirects the key with which it is tested, because its slot has moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirected_test_ends_no_outage_of_writes() {
    let cluster = Cluster::start_with_replicas(0);
    let (store, outages) = connect(&cluster.url()).await;
    let key = create_session(&store, HOUR).await;
    let owner = cluster.master_of(&format!("session:{key}"));
    let node = &cluster.0[owner];
    let mut tests = (0..).map(|number| format!("session:test:{number}"));
    let test = tests.find(|test| cluster.master_of(test) == owner).unwrap();
    node.send(&["CONFIG", "SET", "maxmemory", "1"]);
    let write = WriteRequest::new(&key, "more", HOUR, Expected::Any);
    store.write(write).await.unwrap_err();
    cluster.move_slot_of(&test);
    let before = store.stats().test_writes;
    while outages.lock().unwrap().len() == 1 && store.stats().test_writes < before + 5 {
        sleep(Duration::from_millis(10)).await;
    }
    let reported = outages.lock().unwrap().clone();
    let [Outage::Started { scope, .. }] = &reported[..] else {
        panic!("the node still rejects writes: {reported:?}");
    };
    assert_eq!(*scope, OutageScope::Writes);
    node.send(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_for_reports(&outages, 2).await;
}

/// A cluster of one node.
struct OneNode(Server);

impl OneNode {
    fn start() -> Self {
        let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        Self(Server::start_with(&args))
    }

    fn slot_of(&self, key: &str) -> String {
        let slot = self.0.send(&["CLUSTER", "KEYSLOT", key]);
        slot.trim_matches([':', '\r', '\n']).to_owned()
    }

    /// Assigns all slots to the node, or takes them away from it.
    fn slots<'s>(&self, action: &'s str, slots: impl IntoIterator<Item = &'s str>) {
        let mut words = vec!["CLUSTER", action];
        words.extend(slots);
        assert_eq!(self.0.send(&words), "+OK\r\n");
    }

    /// Assigns all slots except that of a key.
    fn assign_all_except(&self, slot: &str) {
        let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
        self.slots(
            "ADDSLOTS",
            slots.iter().map(String::as_str).filter(|one| *one != slot),
        );
    }

    fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.0.port)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_a_cluster_that_is_being_created() {
    let node = OneNode::start();
    let slot = node.slot_of("session:test:0");
    node.assign_all_except(&slot);
    let short = RedisStore::builder(&node.url()).startup_timeout(Duration::from_secs(3));
    let text = format!("{:?}", short.connect().await.unwrap_err());
    let expected = format!(
        "127.0.0.1:{} within 3s (last attempt: cluster cannot serve the key)",
        node.0.port
    );
    assert!(text.contains(&expected), "{text}");
    let store = RedisStore::builder(&node.url()).startup_timeout(Duration::from_secs(30));
    let connecting = tokio::spawn(store.connect());
    sleep(Duration::from_millis(700)).await;
    assert!(!connecting.is_finished());
    node.slots("ADDSLOTS", [&*slot]);
    connecting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_waits_for_a_cluster_that_is_being_created() {
    let node = OneNode::start();
    let short = RedisStore::builder(&node.url()).operation_timeout(Duration::from_millis(500));
    let error = short.build().unwrap().scan_page(None).await.unwrap_err();
    let last = TransientError::ClusterDown;
    let is_down = matches!(cause(&error), RedisError::TimedOut { last: one, .. } if *one == last);
    assert!(is_down, "{error}");
    let store = RedisStore::builder(&node.url()).operation_timeout(Duration::from_secs(30));
    let scanning = tokio::spawn(store.build().unwrap().scan_page(None));
    sleep(Duration::from_millis(200)).await;
    assert!(!scanning.is_finished());
    node.assign_all_except("");
    let page = scanning.await.unwrap().unwrap();
    assert!(page.keys.is_empty() && page.next.is_none(), "{page:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_without_a_node_is_an_outage_of_its_keys_alone() {
    let node = OneNode::start();
    node.0
        .send(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    node.assign_all_except("");
    wait_until("the cluster is whole", Duration::from_secs(20), || {
        node.0
            .send(&["CLUSTER", "INFO"])
            .contains("cluster_state:ok")
    });
    let (store, outages) = connect(&node.url()).await;
    let (key, other) = (key(), create_session(&store, HOUR).await);
    let slot = node.slot_of(&format!("session:{key}"));
    assert_ne!(
        slot,
        node.slot_of(&format!("session:{other}")),
        "1 in 16,384"
    );
    node.slots("DELSLOTS", [&*slot]);
    // Every caller cancels.
    while outages.lock().unwrap().is_empty() {
        let read = timeout(OPERATION_TIMEOUT / 10, store.read(&key, None)).await;
        assert!(read.is_err(), "{read:?}");
        assert_eq!(&*record(&store, &other).await.data, b"data");
    }
    let available = [&key, &other].map(|key| store.is_available(key));
    assert_eq!(available, [false, true], "{outages:?} {:?}", store.stats());
    assert_eq!(store.stats().unavailable_servers, 1);
    assert!(store.touch(&other, HOUR).await.unwrap());
    for error in [
        store.touch(&key, HOUR).await.unwrap_err(),
        store.read(&key, None).await.unwrap_err(),
        store.destroy(&key).await.unwrap_err(),
    ] {
        let is_outage = matches!(cause(&error), RedisError::Outage { .. });
        assert!(is_outage && error.retry_after().is_some(), "{error}");
    }
    node.slots("ADDSLOTS", [&*slot]);
    wait_for_reports(&outages, 2).await;
    store.destroy(&key).await.unwrap();
    let outages = outages.lock().unwrap();
    let [Outage::Started { server, .. }, Outage::Ended { failed, .. }] = &outages[..] else {
        panic!("not one outage: {outages:?}");
    };
    assert_eq!(**server, *format!("127.0.0.1:{}", node.0.port));
    assert!(*failed >= 3, "{failed}");
}

/// Before its first attempt to reconnect, the client still takes commands.
#[tokio::test]
async fn a_destroy_that_was_cancelled_as_the_server_died_does_not_run_when_it_is_back() {
    let mut server = Server::start();
    let store = RedisStore::builder(&server.url())
        .pool_size(1)
        .operation_timeout(OPERATION_TIMEOUT)
        .connect()
        .await
        .unwrap();
    let mut destroyed = Vec::new();
    for _ in 0..3 {
        create_session(&store, HOUR).await;
        server.kill();
        for key in keys(20) {
            let destroying = timeout(Duration::from_millis(2), store.destroy(&key));
            assert!(!matches!(destroying.await, Ok(Ok(_))));
            destroyed.push(key);
        }
        // Several attempts to reconnect fail meanwhile.
        store.read(&key(), None).await.unwrap_err();
        server.restart();
        while store.read(&key(), None).await.is_err() {}
        assert_absent(&server, &destroyed);
    }
}

fn assert_absent(server: &Server, keys: &[StoreKey]) {
    for key in keys {
        let exists = server.send(&["EXISTS", &format!("session:{key}")]);
        assert_eq!(exists, ":0\r\n");
    }
}

/// No command ends with the command timeout. The read waits for its connection, so that the writes are in a batch.
#[tokio::test]
async fn a_batch_that_was_cancelled_as_the_server_died_does_not_run_when_it_is_back() {
    let mut server = Server::start();
    let minute = Duration::from_secs(60);
    let store = RedisStore::builder(&server.url())
        .pool_size(1)
        .command_timeout(minute)
        .operation_timeout(2 * minute)
        .connect()
        .await
        .unwrap();
    let mut written = Vec::new();
    for _ in 0..3 {
        create_session(&store, HOUR).await;
        server.kill();
        let waiting = tokio::spawn(store.read(&key(), None));
        tokio::task::yield_now().await;
        let mut writes = JoinSet::new();
        for key in keys(20) {
            let write = WriteRequest::new(&key, "data", HOUR, Expected::Any);
            writes.spawn(timeout(Duration::from_millis(2), store.write(write)));
            written.push(key);
        }
        while let Some(outcome) = writes.join_next().await {
            assert!(!matches!(outcome.unwrap(), Ok(Ok(_))));
        }
        while store.stats().connections > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        // Several attempts to reconnect fail meanwhile.
        sleep(Duration::from_millis(500)).await;
        server.restart();
        waiting.await.unwrap().unwrap();
        assert_absent(&server, &written);
    }
}

/// The network has lost one of two connections, and every caller cancels before the command timeout. A test write
/// uses the first connection, so it finds only one of the two.
#[tokio::test]
async fn a_silent_connection_beside_another_is_reopened_even_if_every_caller_cancels() {
    let server = Server::start();
    for silenced in 0..2 {
        let proxy = Proxy::to(server.port).await;
        let command_timeout = Duration::from_millis(500);
        let store = RedisStore::builder(&proxy.url())
            .pool_size(2)
            .command_timeout(command_timeout)
            .connect()
            .await
            .unwrap();
        while store.stats().connections < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        let (start, key) = (Instant::now(), key());
        proxy.silence(silenced);
        while proxy.connections() == 2 {
            let _read = timeout(command_timeout / 5, store.read(&key, None)).await;
            assert!(start.elapsed() < Duration::from_secs(60), "{silenced}");
        }
    }
}

/// The waits of the cancelled reads are counted, too. They end shortly before that of the whole read, and begin a
/// test that waits for the command timeout.
#[tokio::test]
async fn a_wait_for_the_command_timeout_reopens_a_connection_at_once() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let command_timeout = Duration::from_secs(2);
    let store = RedisStore::builder(&proxy.url())
        .pool_size(1)
        .command_timeout(command_timeout)
        .operation_timeout(2 * command_timeout)
        .connect()
        .await
        .unwrap();
    let key = key();
    proxy.silence(0);
    let cancel = || timeout(command_timeout / 10, store.read(&key, None));
    assert!(cancel().await.is_err());
    let whole = tokio::spawn(store.read(&key, None));
    while proxy.connections() == 1 {
        let _read = cancel().await;
    }
    // It has had one command timeout. After a second one on the silent connection, it would have failed.
    whole.await.unwrap().unwrap();
}

/// Every caller cancels before the reply, so the store sees no reply of the second connection. A test write uses the
/// first one.
#[tokio::test]
async fn a_slow_connection_is_not_reopened_if_every_caller_cancels() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let command_timeout = Duration::from_secs(1);
    let store = RedisStore::builder(&proxy.url())
        .pool_size(2)
        .command_timeout(command_timeout)
        .connect()
        .await
        .unwrap();
    while store.stats().connections < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    let (start, key) = (Instant::now(), key());
    proxy.set(Network::Slow(command_timeout / 10));
    while start.elapsed() < 6 * command_timeout {
        let read = timeout(command_timeout / 30, store.read(&key, None)).await;
        assert!(read.is_err(), "{read:?}");
    }
    assert_eq!(proxy.connections(), 2);
}

/// The first command of the operation leaves too little time for the second one.
#[tokio::test]
async fn an_operation_that_runs_out_of_time_at_a_slow_server_is_no_outage() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let store = RedisStore::builder(&proxy.url())
        .pool_size(1)
        .command_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(3))
        .connect()
        .await
        .unwrap();
    proxy.set(Network::Slow(Duration::from_millis(1_600)));
    let key = key();
    let write = WriteRequest::new(&key, "data", HOUR, Expected::Absent);
    let error = store.write(write.tags(tags(&["a"]))).await.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::TimedOut { .. }),
        "{error}"
    );
    assert_eq!(store.stats().outages, 0);
}
