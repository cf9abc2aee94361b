//! The Redis store in a cluster of three masters and three replicas.

use std::{future::ready, time::Duration};

use hyper_session::{
    Sessions,
    store::{
        ReadOutcome, Store, TagStore,
        conformance::{self, RealTime},
        redis::RedisStore,
    },
};

use crate::{
    support::{
        Browser, config, increment,
        redis_servers::{
            groups::Cluster,
            sessions::{HOUR, append, create_session, create_tagged, tag, words},
        },
    },
    tags,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_in_a_cluster_and_while_slots_move() {
    let cluster = Cluster::start();
    let (short, tombstone) = (Duration::from_millis(250), Duration::from_secs(2));
    let store = RedisStore::builder(&cluster.url())
        .tombstone_ttl(tombstone)
        .connect()
        .await
        .unwrap();
    let report = conformance::run(&RealTime::new(|| ready(store.clone()), short, tombstone)).await;
    report.assert_passed();
    assert!(report.skipped().is_empty(), "{:?}", report.skipped());
    sessions_of_one_tag_on_all_nodes(&cluster, &store).await;
    tags::check_all(&cluster.0, &store).await;
    a_slot_moves(&cluster, &store).await;
    a_thousand_requests_of_one_session(&store).await;
}

/// All requests that change one session at once are stored.
async fn a_thousand_requests_of_one_session(store: &RedisStore) {
    let sessions = Sessions::new(config(), store.clone()).unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 0).unwrap()).await;
    let requests: Vec<_> = (0..1000)
        .map(|_| tokio::spawn(increment(sessions.clone(), browser.jar.clone())))
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    let sum = browser.visit(async |s| s.get::<u64>("n").unwrap()).await;
    assert_eq!(sum, Some(1000));
}

/// Sessions of one tag are on all nodes, and are still listed and destroyed together.
async fn sessions_of_one_tag_on_all_nodes(cluster: &Cluster, store: &RedisStore) {
    let tag = tag("user:1");
    let mut keys = Vec::new();
    for _ in 0..60 {
        keys.push(create_tagged(store, HOUR, &["user:1"]).await);
    }
    let owners: std::collections::HashSet<usize> = keys
        .iter()
        .map(|key| cluster.master_of(&format!("session:{key}")))
        .collect();
    assert_eq!(owners.len(), 3, "sixty sessions are on three nodes");
    keys.sort_unstable();
    let mut tagged = store.tagged(&tag).await.unwrap();
    tagged.sort_unstable();
    assert_eq!(tagged, keys);
    assert_eq!(store.destroy_tagged(&tag).await.unwrap(), 60);
    for key in &keys {
        assert_eq!(store.read(key, None).await.unwrap(), ReadOutcome::Gone);
    }
}

/// Moves a slot in the steps of an operator, and changes one of its sessions at each step.
async fn a_slot_moves(cluster: &Cluster, store: &RedisStore) {
    let moved = create_session(store, HOUR).await;
    append(store, &moved, " before").await.unwrap();
    let name = format!("session:{moved}");
    let from = &cluster.0[cluster.master_of(&name)];
    let to = cluster
        .0
        .iter()
        .find(|node| node.is_master() && node.port != from.port)
        .unwrap();
    let slot = from.send(&["CLUSTER", "KEYSLOT", &name]);
    let slot = slot.trim_matches([':', '\r', '\n']);

    cluster.start_move(slot, from, to);
    append(store, &moved, "migrating").await.unwrap();
    let port = to.port.to_string();
    let migrated = from.send(&["MIGRATE", "127.0.0.1", &port, &name, "0", "5000"]);
    assert_eq!(migrated, "+OK\r\n");
    // The old node now replies ASK: the append waits until the slot has moved.
    let appending = append(store, &moved, "asked");
    let finish_move = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.assign_slot(slot, to);
    };
    let (appended, ()) = tokio::join!(appending, finish_move);
    appended.unwrap();
    append(store, &moved, "moved").await.unwrap();
    let all = ["data", "before", "migrating", "asked", "moved"];
    assert_eq!(words(store, &moved).await, all);
}
