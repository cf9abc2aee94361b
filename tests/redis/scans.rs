//! Scans whose servers change between two pages.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use hyper_session::{
    id::StoreKey,
    store::{RedisStore, ScanPage, ScanStore},
};

use crate::support::redis_servers::{
    Server,
    groups::Cluster,
    proxy::{Network, Proxy},
    sessions::{HOUR, connect, create_session},
    wait_until,
};

async fn create_sessions(store: &RedisStore, count: usize) -> BTreeSet<StoreKey> {
    let created = (0..count).map(|_| create_session(store, HOUR));
    join_all(created).await.into_iter().collect()
}

/// Returns the keys on `page` and on all pages after it.
async fn keys_from(store: &RedisStore, mut page: ScanPage) -> BTreeSet<StoreKey> {
    let mut found = BTreeSet::new();
    loop {
        found.extend(page.keys);
        let Some(next) = page.next else { return found };
        page = store.scan_page(Some(&next)).await.unwrap();
    }
}

/// The address of the promoted replica comes after those of the other masters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_skips_no_session_after_a_failover() {
    let cluster = Cluster::start();
    let store = RedisStore::connect(&cluster.url()).await.unwrap();
    let created = create_sessions(&store, 60).await;
    let first = store.scan_page(None).await.unwrap();
    let master = cluster.master_of(&format!("session:{}", first.keys[0]));
    let (master, replica) = (&cluster.0[master], &cluster.0[cluster.replica_of(master)]);
    wait_until("the replica has all keys", Duration::from_secs(20), || {
        replica.send(&["DBSIZE"]) == master.send(&["DBSIZE"])
    });
    assert_eq!(replica.send(&["CLUSTER", "FAILOVER"]), "+OK\r\n");
    wait_until("the replica is a master", Duration::from_secs(20), || {
        replica.is_master()
    });
    cluster.wait_until_whole(Duration::from_secs(20));
    let found = keys_from(&store, first).await;
    assert_eq!(
        created.difference(&found).count(),
        0,
        "sessions are missing"
    );
}

/// Each process of a server has an order of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_skips_no_session_after_a_restart() {
    let mut server = Server::start();
    let store = connect(&server).await;
    let created = create_sessions(&store, 3_000).await;
    let first = store.scan_page(None).await.unwrap();
    assert!(first.next.is_some(), "there are several pages");
    assert_eq!(server.send(&["SAVE"]), "+OK\r\n");
    server.restart_with(&[]);
    let found = keys_from(&store, first).await;
    assert_eq!(
        created.difference(&found).count(),
        0,
        "sessions are missing"
    );
}

/// As a proxy may do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_needs_no_scripts_without_keys() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    proxy.set(Network::ScriptsNeedKeys);
    let store = RedisStore::connect(&proxy.url()).await.unwrap();
    let created = create_sessions(&store, 3_000).await;
    let first = store.scan_page(None).await.unwrap();
    assert!(first.next.is_some(), "there are several pages");
    assert_eq!(keys_from(&store, first).await, created);
    assert!(
        server
            .send(&["INFO", "errorstats"])
            .contains("errorstat_ERR")
    );
}

/// The pages of a cursor in a web page may come from different processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_goes_on_under_another_url_of_the_server() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let direct = connect(&server).await;
    let other = RedisStore::connect(&proxy.url()).await.unwrap();
    let created = create_sessions(&direct, 3_000).await;
    let (mut found, mut next) = (Vec::new(), None);
    for store in [&direct, &other].into_iter().cycle() {
        let page = store.scan_page(next.as_ref()).await.unwrap();
        found.extend(page.keys);
        assert!(found.len() <= created.len(), "the scan begins again");
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(BTreeSet::from_iter(found), created);
}
