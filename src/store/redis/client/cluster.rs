//! The nodes of a cluster, and the slots of each.
//!
//! `fred` could do this, but it serves no node while it reconnects to one of them. So each master has
//! a client of its own, and this file keeps the map of the slots:
//!
//! - The map comes from `CLUSTER SLOTS`, asked of any node that answers, else of the nodes in the URL.
//!   It is read again if a node is not connected, and from time to time.
//! - `MOVED` changes one slot at once. Other nodes may learn of the move later.
//! - A command that is answered with `ASK` is retried until the slot has moved.
//! - A node that loses slots no longer reports changes to their values, so copies of values that were read
//!   from it are dropped.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fred::types::config::Config;
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    command::{BatchSlots, RedisCommand},
    config,
    connection::AbortOnDropHandle,
    invalidation::InvalidationListener,
    node::Node,
    reply::Reply,
};
use crate::store::redis::{key_names::KeyNames, outage::OutageReporter, settings::Settings};

/// The number of slots of a cluster.
const SLOTS: usize = 16_384;

/// The longest time between two reads of the map.
const MAX_MAP_AGE: Duration = Duration::from_secs(10);

/// The shortest time between two reads of the map.
const MIN_MAP_AGE: Duration = Duration::from_millis(50);

/// Maximum number of keys that are tried to find one in a slot of a node.
const MAX_TEST_KEYS: u32 = 4_096;

/// Returns the slot of a key.
fn slot_of(key: &[u8]) -> usize {
    usize::from(fred::util::redis_keyslot(key))
}

/// Host and port.
type Address = (String, u16);

/// The nodes of a cluster. Keeps the map of the slots up to date.
pub(super) struct Cluster {
    map: Arc<ClusterMap>,
    maintenance: OnceLock<AbortOnDropHandle>,
}

/// The state that all parts of a cluster's client share.
struct ClusterMap {
    config: Config,
    settings: Settings,
    names: KeyNames,
    reporter: Arc<OutageReporter>,
    listener: Option<Arc<dyn InvalidationListener>>,
    seeds: Vec<Address>,
    /// Set by the first command, since only then is a runtime certain.
    runtime: OnceLock<Handle>,
    current: RwLock<Arc<SlotMap>>,
    /// Notified to read the map again.
    outdated: Notify,
}

/// The node of each slot.
#[derive(Clone)]
struct SlotMap {
    nodes: HashMap<Address, Arc<Node>>,
    slots: Box<[Option<Arc<Node>>]>,
}

impl Cluster {
    pub(super) fn new(
        (config, seeds): (Config, Vec<Address>),
        settings: Settings,
        names: KeyNames,
        reporter: Arc<OutageReporter>,
        listener: Option<Arc<dyn InvalidationListener>>,
    ) -> Self {
        let map = ClusterMap {
            config,
            settings,
            names,
            reporter,
            listener,
            seeds,
            runtime: OnceLock::new(),
            current: RwLock::new(Arc::new(SlotMap::new(HashMap::new()))),
            outdated: Notify::new(),
        };
        // Until the map is known, any node redirects to the node of a slot.
        let mut nodes = HashMap::new();
        for address in &map.seeds {
            nodes.insert(address.clone(), map.make_node(address));
        }
        let mut first = SlotMap::new(nodes);
        let seed = map.seeds.first().and_then(|seed| first.nodes.get(seed));
        let seed = seed.cloned();
        first
            .slots
            .iter_mut()
            .for_each(|slot| slot.clone_from(&seed));
        map.update(|_| first);
        Self {
            map: Arc::new(map),
            maintenance: OnceLock::new(),
        }
    }

    /// Starts the background tasks, unless they run already.
    pub(super) fn start(&self, runtime: &Handle) {
        self.maintenance.get_or_init(|| {
            let _first = self.map.runtime.set(runtime.clone());
            for node in self.map.current().nodes.values() {
                node.start(runtime);
            }
            AbortOnDropHandle(runtime.spawn(maintain(Arc::clone(&self.map))))
        });
    }

    /// Returns the nodes of the current map.
    pub(super) fn known_nodes(&self) -> Vec<Arc<Node>> {
        self.map.current().nodes.values().cloned().collect()
    }

    /// Returns the node of a key.
    pub(super) fn node(&self, key: &[u8]) -> Option<Arc<Node>> {
        let slot = slot_of(key);
        let node = self.map.current().slots.get(slot).cloned().flatten();
        let is_fine = |node: &Arc<Node>| node.is_connected() && !node.outage().is_suspected();
        if !node.as_ref().is_some_and(is_fine) {
            // A replica may have been promoted.
            self.map.outdated.notify_one();
        }
        node
    }

    /// Records that `from` has redirected a key to the node at `address`.
    pub(super) fn redirect(&self, key: &[u8], from: &Node, address: &str) {
        let Some(address) = parse_address(address, from.server()) else {
            return;
        };
        let slot = slot_of(key);
        self.map.update(|before| {
            let mut next = before.clone();
            let node = next.nodes.entry(address);
            let node = node.or_insert_with_key(|address| self.map.start_node(address));
            let node = Arc::clone(node);
            if let Some(slot) = next.slots.get_mut(slot) {
                *slot = Some(node);
            }
            next
        });
        self.map.outdated.notify_one();
    }

    /// Reads the map and returns the masters that have slots.
    pub(super) async fn masters(&self) -> Vec<Arc<Node>> {
        self.map.read().await;
        let map = self.map.current();
        let mut masters: Vec<Arc<Node>> = Vec::new();
        for node in map.slots.iter().flatten() {
            if !masters.iter().any(|one| Arc::ptr_eq(one, node)) {
                masters.push(Arc::clone(node));
            }
        }
        masters
    }
}

impl ClusterMap {
    fn current(&self) -> Arc<SlotMap> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Replaces the map by what `change` makes of it. Changes at the same time follow each other, so each
    /// finds the nodes that another has added.
    fn update(&self, change: impl FnOnce(&SlotMap) -> SlotMap) {
        let current = self.current.write();
        let mut current = current.unwrap_or_else(|poisoned| poisoned.into_inner());
        let next = Arc::new(change(&current));
        let before = std::mem::replace(&mut *current, next);
        let losers = before.losers(&current);
        drop(current);
        // A reply that is on its way belongs to a reservation, which is dropped too.
        losers.iter().for_each(|node| node.drop_copies());
    }

    fn make_node(&self, (host, port): &Address) -> Arc<Node> {
        let config = config::node_config(&self.config, host, *port);
        let test_key = self.names.test(0);
        Arc::new(Node::new(
            &config,
            &self.settings,
            &self.reporter,
            self.listener.clone(),
            (BatchSlots::Many, test_key),
        ))
    }

    fn start_node(&self, address: &Address) -> Arc<Node> {
        let node = self.make_node(address);
        if let Some(runtime) = self.runtime.get() {
            node.start(runtime);
        }
        node
    }

    /// Reads the map from any node. Returns `false` if none answers.
    async fn read(&self) -> bool {
        let mut nodes: Vec<_> = self.current().nodes.values().cloned().collect();
        // A node that was away may not know of changes yet.
        nodes.sort_by_key(|node| node.outage().is_suspected());
        for node in nodes.iter().filter(|node| node.is_connected()) {
            if self.read_from(node).await {
                return true;
            }
        }
        for seed in &self.seeds {
            if nodes.iter().any(|node| is_at(node, seed)) {
                continue;
            }
            let node = self.start_node(seed);
            let connecting = async {
                while !node.is_connected() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            let connected = timeout(self.settings.connect_timeout, connecting).await;
            if connected.is_ok() && self.read_from(&node).await {
                return true;
            }
        }
        false
    }

    async fn read_from(&self, node: &Node) -> bool {
        let command = RedisCommand::keyless("CLUSTER", [Bytes::from_static(b"SLOTS")]);
        let deadline = Instant::now() + self.settings.attempt_timeout();
        let connection = node.next_connection(None);
        let Ok(answer) = node.attempt(connection, command, deadline, 0).await else {
            return false;
        };
        let Some(ranges) = parse_slots(answer.reply, node.server()) else {
            return false;
        };
        self.apply(ranges);
        true
    }

    /// Replaces the map. Keeps the nodes that remain, with their connections.
    fn apply(&self, ranges: Vec<(usize, usize, Address)>) {
        self.update(|before| {
            let mut next = SlotMap::new(HashMap::new());
            for (start, end, address) in ranges {
                let known = before.nodes.get(&address).cloned();
                let node = next.nodes.entry(address);
                let node = node.or_insert_with_key(|address| {
                    known.unwrap_or_else(|| self.start_node(address))
                });
                let node = Arc::clone(node);
                for slot in next.slots.get_mut(start..=end).unwrap_or_default() {
                    *slot = Some(Arc::clone(&node));
                }
            }
            for node in next.nodes.values() {
                let is_in_node = |key: &Bytes| {
                    let owner = next.slots.get(slot_of(key)).and_then(Option::as_ref);
                    owner.is_some_and(|owner| Arc::ptr_eq(owner, node))
                };
                let mut keys = (0..MAX_TEST_KEYS).map(|number| self.names.test(number));
                if let Some(key) = keys.find(is_in_node) {
                    node.set_test_key(key);
                }
            }
            for (address, node) in &before.nodes {
                if !next.nodes.contains_key(address) {
                    node.outage().retire();
                }
            }
            next
        });
    }
}

impl SlotMap {
    fn new(nodes: HashMap<Address, Arc<Node>>) -> Self {
        Self {
            nodes,
            slots: vec![None; SLOTS].into(),
        }
    }
}

impl SlotMap {
    /// Returns the nodes that have a slot here and not in `next`.
    fn losers(&self, next: &Self) -> Vec<Arc<Node>> {
        let mut losers: Vec<Arc<Node>> = Vec::new();
        for (before, after) in self.slots.iter().zip(&next.slots) {
            let Some(before) = before else { continue };
            let is_kept = after
                .as_ref()
                .is_some_and(|after| Arc::ptr_eq(before, after));
            if !is_kept && !losers.iter().any(|one| Arc::ptr_eq(one, before)) {
                losers.push(Arc::clone(before));
            }
        }
        losers
    }
}

fn is_at(node: &Node, (host, port): &Address) -> bool {
    parse_address(node.server(), "").is_some_and(|(one, at)| one == *host && at == *port)
}

/// Keeps the map up to date.
async fn maintain(map: Arc<ClusterMap>) {
    loop {
        map.read().await;
        sleep(MIN_MAP_AGE).await;
        // If the time is over, the map is read again.
        let _elapsed = timeout(MAX_MAP_AGE, map.outdated.notified()).await;
    }
}

/// Parses `host:port`. A missing host is that of `server`, the node that sent the address.
fn parse_address(address: &str, server: &str) -> Option<Address> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host {
        "" | "?" => server.rsplit_once(':')?.0,
        host => host,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), port.parse().ok()?))
}

/// Parses the reply to `CLUSTER SLOTS`: first and last slot of a range, and the address of its master.
fn parse_slots(reply: Reply, server: &str) -> Option<Vec<(usize, usize, Address)>> {
    let Reply::Array(ranges) = reply else {
        return None;
    };
    let mut parsed = Vec::new();
    for range in ranges {
        let Reply::Array(parts) = range else {
            return None;
        };
        let mut parts = parts.into_iter();
        let (Some(Reply::Integer(start)), Some(Reply::Integer(end)), Some(Reply::Array(master))) =
            (parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let mut master = master.into_iter();
        let host = match master.next()? {
            Reply::Bytes(host) => String::from_utf8(host.to_vec()).ok()?,
            _ => String::new(),
        };
        let Some(Reply::Integer(port)) = master.next() else {
            return None;
        };
        let address = parse_address(&format!("{host}:{port}"), server)?;
        parsed.push((
            usize::try_from(start).ok()?,
            usize::try_from(end).ok()?,
            address,
        ));
    }
    (!parsed.is_empty()).then_some(parsed)
}
