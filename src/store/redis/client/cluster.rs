//! The nodes of a cluster, and the slots of each.
//!
//! `fred` could do this, but it serves no node while it reconnects to one of them. So each master has
//! a client of its own, and this file keeps the map of the slots:
//!
//! - The map comes from `CLUSTER SLOTS`, asked of any node that answers, else of the nodes in the URL.
//!   It is read again if a node is not connected, and from time to time.
//! - `MOVED` changes one slot at once. Other nodes may learn of the move later.
//! - A command that is answered with `ASK` is retried until the slot has moved.
//! - A slot that no node has is an outage of its own, see [`ClusterMap::unserved`].
//! - The nodes learn of a move one after the other. For some seconds, the map is read from the same node if
//!   possible, or from the node that has redirected a command: what one node knows does not become older.
//! - A node that loses slots no longer reports changes to their values, so copies of values that were read
//!   from it are dropped.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use fred::types::config::Config;
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{sleep, timeout, timeout_at},
};

use super::{
    command::{BatchSlots, RedisCommand},
    config,
    connection::AbortOnDropHandle,
    fault::Target,
    invalidation::InvalidationListener,
    node::{Node, OperationTime},
    reply::Reply,
};
use crate::{
    store::redis::{
        key_names::KeyNames,
        outage::{Access, OutageCause, OutageReporter, OutageTracker},
        settings::Settings,
    },
    sync::lock,
};

/// The number of slots of a cluster.
const SLOTS: usize = 16_384;

/// The longest time between two reads of the map.
const MAX_MAP_AGE: Duration = Duration::from_secs(10);

/// The longest time between two reads of the map while a command waits for a slot that no node has. Also the
/// shortest, once a node has been away, or a slot has had no node, for the time [`SOURCE_AGE`].
const UNSERVED_MAP_AGE: Duration = Duration::from_millis(500);

/// The shortest time between two reads of the map.
const MIN_MAP_AGE: Duration = Duration::from_millis(50);

/// The time for which the map is read from the same node.
const SOURCE_AGE: Duration = Duration::from_secs(2);

/// The number of keys with which a node is tested. If some of their slots move, the others remain.
const TEST_KEYS: usize = 4;

/// Maximum number of keys that are tried to find those of a node. A node that has one slot has all of them with
/// a probability of almost 1.
const MAX_TEST_KEYS: u32 = 1_000_000;

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
    /// The outage of all slots that no node has. It ends when each slot has a node.
    unserved: OutageTracker,
    /// Set by the first command, since only then is a runtime certain.
    runtime: OnceLock<Handle>,
    current: RwLock<Arc<SlotMap>>,
    /// Set once a node has reported the map.
    is_reported: AtomicBool,
    /// The node that the map is read from, and since when.
    source: Mutex<Option<(Address, Instant)>>,
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
        let name = Arc::clone(Target::new(&config).name());
        let unserved = OutageTracker::new(name, Arc::clone(&reporter), settings.operation_timeout);
        let map = ClusterMap {
            unserved,
            config,
            settings,
            names,
            reporter,
            listener,
            seeds,
            runtime: OnceLock::new(),
            current: RwLock::new(Arc::new(SlotMap::new(HashMap::new()))),
            is_reported: AtomicBool::new(false),
            source: Mutex::default(),
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

    /// Returns the node of a key, or the outage of the slots without a node.
    pub(super) fn node(&self, key: &[u8]) -> Result<Arc<Node>, &OutageTracker> {
        let slot = slot_of(key);
        let node = self.map.current().slots.get(slot).cloned().flatten();
        let is_fine = |node: &Arc<Node>| node.is_connected() && !node.outage().may_be_replaced();
        if !node.as_ref().is_some_and(is_fine) {
            // A replica may have been promoted.
            self.map.outdated.notify_one();
        }
        node.ok_or(&self.map.unserved)
    }

    /// Returns `true` once a node has reported which node has which slots.
    pub(super) fn is_map_reported(&self) -> bool {
        self.map.is_reported.load(Relaxed)
    }

    /// Reads the map again.
    pub(super) fn refresh_map(&self) {
        self.map.outdated.notify_one();
    }

    /// Returns the outage of the slots that no node has.
    pub(super) fn unserved(&self) -> &OutageTracker {
        &self.map.unserved
    }

    /// Records that `from` has redirected a key to the node at `address`.
    pub(super) fn redirect(&self, key: &[u8], from: &Node, address: &str) {
        let Some(address) = parse_address(address, from.server()) else {
            return;
        };
        let slot = slot_of(key);
        let current = self.map.current();
        let known = current.slots.get(slot).and_then(Option::as_ref);
        if known.is_some_and(|node| is_at(node, &address)) {
            // Many commands of a slot that has moved are in flight.
            return;
        }
        self.map.record_source(from.server());
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

    /// Reads the map until `deadline` and returns the masters that have slots.
    pub(super) async fn masters(&self, deadline: Instant) -> Vec<Arc<Node>> {
        // If no node answers in time, the last map counts.
        let _elapsed = timeout_at(deadline.into(), self.map.read()).await;
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
        let mut removed = before.nodes.clone();
        removed.retain(|address, _| !current.nodes.contains_key(address));
        drop(current);
        // A reply that is on its way belongs to a reservation, which is dropped too.
        losers.iter().for_each(|node| node.drop_copies());
        // The receiver of outages may use the map.
        removed.values().for_each(|node| node.outage().retire());
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
        let nodes = self.sources();
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

    /// Returns the nodes in the order in which they are asked for the map.
    fn sources(&self) -> Vec<Arc<Node>> {
        let source = lock(&self.source).clone();
        let source = source.filter(|(_, since)| since.elapsed() < SOURCE_AGE);
        let is_source = |node: &Node| {
            let source = source.as_ref();
            source.is_some_and(|(address, _)| is_at(node, address))
        };
        let mut nodes: Vec<_> = self.current().nodes.values().cloned().collect();
        // A node that was away may not know of changes yet.
        nodes.sort_by_key(|node| (node.outage().is_suspected(), !is_source(node)));
        nodes
    }

    /// Records that the map is read from this server.
    fn record_source(&self, server: &str) {
        let address = parse_address(server, "");
        *lock(&self.source) = address.map(|address| (address, Instant::now()));
    }

    async fn read_from(&self, node: &Node) -> bool {
        let command = RedisCommand::keyless("CLUSTER", [Bytes::from_static(b"SLOTS")]);
        // The command timeout ends earlier, so that a silent connection is opened again.
        let start = Instant::now();
        let time = OperationTime {
            start,
            deadline: start + 2 * self.settings.attempt_timeout(),
        };
        let connection = node.next_connection(Access::Read, None);
        let Ok(answer) = node.attempt(connection, command, time, 0).await else {
            return false;
        };
        let Some(ranges) = parse_slots(answer.reply, node.server()) else {
            return false;
        };
        self.apply(ranges);
        let is_source = |(address, since): &(Address, Instant)| {
            is_at(node, address) && since.elapsed() < SOURCE_AGE
        };
        let is_recorded = lock(&self.source).as_ref().is_some_and(is_source);
        if !is_recorded {
            self.record_source(node.server());
        }
        true
    }

    /// Ends the outage of the slots without a node if each slot has one now. Begins it if it has been suspected
    /// for the operation timeout.
    fn record_unserved(&self) {
        if self.unserved.is_suspected() {
            let is_complete = self.current().slots.iter().all(Option::is_some);
            self.unserved
                .record_test((!is_complete).then_some(OutageCause::NO_NODE));
        }
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
            next
        });
        self.is_reported.store(true, Relaxed);
        let map = self.current();
        for node in map.nodes.values() {
            let is_in_node = |key: &Bytes| {
                let owner = map.slots.get(slot_of(key)).and_then(Option::as_ref);
                owner.is_some_and(|owner| Arc::ptr_eq(owner, node))
            };
            node.update_test_keys(|current| {
                if current.len() != TEST_KEYS || !current.iter().all(is_in_node) {
                    *current = find_test_keys(&self.names, is_in_node);
                }
            });
        }
    }
}

impl SlotMap {
    fn new(nodes: HashMap<Address, Arc<Node>>) -> Self {
        Self {
            nodes,
            slots: vec![None; SLOTS].into(),
        }
    }

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

/// Returns keys for tests of a node.
fn find_test_keys(names: &KeyNames, is_in_node: impl Fn(&Bytes) -> bool) -> Vec<Bytes> {
    let max = match names.has_hash_tag() {
        true => TEST_KEYS as u32,
        false => MAX_TEST_KEYS,
    };
    let keys = (0..max).map(|number| names.test(number));
    keys.filter(is_in_node).take(TEST_KEYS).collect()
}

fn is_at(node: &Node, (host, port): &Address) -> bool {
    parse_address(node.server(), "").is_some_and(|(one, at)| one == *host && at == *port)
}

/// Keeps the map up to date.
async fn maintain(map: Arc<ClusterMap>) {
    let mut away_since = None;
    loop {
        map.read().await;
        map.record_unserved();
        let nodes = map.current();
        let mut outages = nodes.nodes.values().map(|node| node.outage());
        let is_away = map.unserved.is_suspected() || outages.any(|outage| outage.may_be_replaced());
        away_since = away_since
            .filter(|_| is_away)
            .or_else(|| is_away.then(Instant::now));
        // Meanwhile each command for that node or slot asks for the map.
        sleep(match away_since {
            Some(since) if since.elapsed() > SOURCE_AGE => UNSERVED_MAP_AGE,
            _ => MIN_MAP_AGE,
        })
        .await;
        let max_age = match map.unserved.is_suspected() {
            true => UNSERVED_MAP_AGE,
            false => MAX_MAP_AGE,
        };
        // If the time is over, the map is read again.
        let _elapsed = timeout(max_age, map.outdated.notified()).await;
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

#[cfg(test)]
mod tests;
