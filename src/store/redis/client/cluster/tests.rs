use std::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};

use super::*;
use crate::store::redis::{TransientError, outage::Outage};

const NODES: [&str; 3] = ["host:1", "host:2", "host:3"];

/// Returns a cluster that is not connected, and what it reports with.
fn cluster(report: impl Fn(&Outage) + Send + Sync + 'static) -> Cluster {
    let config = config::parse_url("redis-cluster://host:1").unwrap();
    let cluster = Cluster::new(
        (config, NODES.map(address).to_vec()),
        Settings::default(),
        KeyNames::new("session:"),
        Arc::new(OutageReporter::new(report)),
        None,
    );
    assign(&cluster, &NODES);
    cluster
}

fn address(server: &str) -> Address {
    parse_address(server, "").unwrap()
}

/// Applies a map in which these nodes share the slots.
fn assign(cluster: &Cluster, nodes: &[&str]) {
    let part = SLOTS.div_ceil(nodes.len());
    let ranges = nodes.iter().enumerate().map(|(index, server)| {
        let start = index * part;
        (start, SLOTS.min(start + part) - 1, address(server))
    });
    cluster.map.apply(ranges.collect());
}

fn node_at(cluster: &Cluster, server: &str) -> Arc<Node> {
    Arc::clone(&cluster.map.current().nodes[&address(server)])
}

fn begin_outage(node: &Node) {
    let cause = OutageCause::Unanswered(TransientError::Timeout, None);
    node.outage().suspect(Instant::now(), cause);
    let failed = node.outage().record_failure(Access::Write, Instant::now());
    assert!(failed.is_some());
}

/// Such as a receiver that reads the store's statistics.
#[test]
fn the_receiver_of_the_end_of_an_outage_may_use_the_map() {
    let map: Arc<OnceLock<Arc<ClusterMap>>> = Arc::default();
    let ended = Arc::new(AtomicU32::new(0));
    let (used, count) = (Arc::clone(&map), Arc::clone(&ended));
    let cluster = cluster(move |outage| {
        if let Outage::Ended { .. } = outage {
            assert!(used.get().unwrap().current.try_read().is_ok());
            count.fetch_add(1, SeqCst);
        }
    });
    assert!(map.set(Arc::clone(&cluster.map)).is_ok());
    let node = node_at(&cluster, "host:3");
    begin_outage(&node);
    assign(&cluster, &["host:1", "host:2"]);
    assert_eq!(ended.load(SeqCst), 1);
    assert!(!node.outage().is_out());
}

#[test]
fn only_the_first_redirection_of_a_slot_changes_the_map() {
    let cluster = cluster(|_| ());
    let key = cluster.map.names.test(0);
    let from = cluster.node(&key).ok().unwrap();
    cluster.redirect(&key, &from, "host:4");
    assert_eq!(**cluster.node(&key).ok().unwrap().server(), *"host:4");
    let map = cluster.map.current();
    for _ in 0..3 {
        cluster.redirect(&key, &from, "host:4");
    }
    assert!(Arc::ptr_eq(&map, &cluster.map.current()));
}

#[test]
fn the_node_that_has_redirected_a_command_is_asked_first() {
    let cluster = cluster(|_| ());
    for server in NODES {
        cluster.map.record_source(server);
        let first = |cluster: &Cluster| Arc::clone(cluster.map.sources()[0].server());
        assert_eq!(*first(&cluster), *server);
        let from = node_at(&cluster, NODES[0]);
        let key = cluster.map.names.test(0);
        cluster.redirect(&key, &from, server);
        cluster.redirect(&key, &from, "host:4");
        assert_eq!(*first(&cluster), *NODES[0]);
        begin_outage(&from);
        assert_ne!(*first(&cluster), *NODES[0], "it may know of no changes");
        from.outage().record_test(None);
    }
}

#[test]
fn a_prefix_with_a_hash_tag_ends_the_search_for_test_keys() {
    let tried = AtomicU32::new(0);
    let is_in_node = |_: &Bytes| {
        tried.fetch_add(1, Relaxed);
        false
    };
    let found = find_test_keys(&KeyNames::new("{shop}:"), is_in_node);
    assert!(found.is_empty());
    assert!(tried.load(Relaxed) <= 4);
    for (prefix, has_hash_tag) in [
        ("{shop}:", true),
        ("my{a}{b}:", true),
        ("session:", false),
        ("{}{shop}:", false),
        ("}{:", false),
    ] {
        let names = KeyNames::new(prefix);
        let share = |number| slot_of(&names.test(number)) == slot_of(&names.test(0));
        assert_eq!((1..8).all(share), has_hash_tag, "{prefix}");
        assert_eq!(names.has_hash_tag(), has_hash_tag, "{prefix}");
    }
    let all = find_test_keys(&KeyNames::new("shop:"), |key| slot_of(key) < 100);
    assert_eq!(all.len(), TEST_KEYS);
}
