//! Groups of servers: a cluster, and a master with replicas and sentinels.

use std::{process::Command, time::Duration};

use super::{Server, free_port, wait_until};

/// Three masters, followed by their replicas.
pub(crate) struct Cluster(pub(crate) Vec<Server>);

impl Cluster {
    /// Starts three masters, each with a replica.
    pub(crate) fn start() -> Self {
        Self::start_with_replicas(1)
    }

    /// Starts three masters, each with this number of replicas.
    pub(crate) fn start_with_replicas(replicas: usize) -> Self {
        let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let quick = [
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1",
        ];
        let nodes: Vec<Server> = (0..3 + 3 * replicas)
            .map(|_| Server::start_with(&[&args[..], &quick[..]].concat()))
            .collect();
        let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"])
            .output()
            .expect("these tests need redis-cli: apt-get install redis-tools");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stdout)
        );
        let cluster = Self(nodes);
        wait_until("the cluster is whole", Duration::from_secs(20), || {
            cluster.0.iter().all(|node| {
                let nodes = node.send(&["CLUSTER", "NODES"]);
                let linked = node.is_master() || node.is_linked_replica();
                nodes.matches("slave").count() == 3 * replicas
                    && linked
                    && node.send(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
            })
        });
        cluster
    }

    /// Waits until three masters have replicas that follow them, and all nodes agree that the slots are served.
    pub(crate) fn wait_until_whole(&self, limit: Duration) {
        wait_until("the cluster is whole", limit, || {
            let is_whole = |node: &Server| {
                (node.is_master() || node.is_linked_replica())
                    && node.send(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
            };
            self.masters().count() == 3 && self.0.iter().all(is_whole)
        });
    }

    pub(crate) fn url(&self) -> String {
        self.url_of(0)
    }

    /// Returns the URL of the cluster that names this node.
    pub(crate) fn url_of(&self, node: usize) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.0[node].port)
    }

    /// Returns the index of the master that has the slot of a key.
    pub(crate) fn master_of(&self, key: &str) -> usize {
        let masters = self.0.iter().position(|node| {
            node.is_master() && !node.send(&["EXISTS", key]).starts_with("-MOVED")
        });
        masters.expect("some master has the slot")
    }

    /// Returns the masters.
    pub(crate) fn masters(&self) -> impl Iterator<Item = &Server> {
        self.0.iter().filter(|node| node.is_master())
    }

    /// Moves the slot of a key, which exists, to another master in the steps of an operator.
    pub(crate) fn move_slot_of(&self, key: &str) {
        let from = &self.0[self.master_of(key)];
        let slot = from.send(&["CLUSTER", "KEYSLOT", key]);
        self.move_slot(slot.trim_matches([':', '\r', '\n']), from);
    }

    /// Moves a slot that has keys, chosen by a server, to another master.
    pub(crate) fn move_a_used_slot(&self) {
        let from = self.masters().next().unwrap();
        let key = from.send(&["RANDOMKEY"]);
        if let Some(key) = key.split("\r\n").nth(1) {
            let slot = from.send(&["CLUSTER", "KEYSLOT", key]);
            self.move_slot(slot.trim_matches([':', '\r', '\n']), from);
        }
    }

    fn move_slot(&self, slot: &str, from: &Server) {
        let to = self.masters().find(|node| node.port != from.port).unwrap();
        self.start_move(slot, from, to);
        let port = to.port.to_string();
        // Meanwhile, new keys of the slot are created at the new master.
        loop {
            let keys = from.send(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]);
            let keys: Vec<&str> = keys.split("\r\n").skip(2).step_by(2).collect();
            if keys.is_empty() {
                break;
            }
            let command = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let migrated = from.send(&[&command[..], &keys].concat());
            assert!(
                migrated == "+OK\r\n" || migrated == "+NOKEY\r\n",
                "{migrated}"
            );
        }
        self.assign_slot(slot, to);
    }

    /// Starts the move of a slot.
    pub(crate) fn start_move(&self, slot: &str, from: &Server, to: &Server) {
        let [from_id, to_id] = [from, to].map(Server::cluster_id);
        to.set_slot(slot, "IMPORTING", &from_id);
        from.set_slot(slot, "MIGRATING", &to_id);
    }

    /// Ends the move of a slot, and waits until all nodes know of it.
    ///
    /// The new node chooses a higher epoch than those that it knows. If it did not know the latest, older
    /// news of another node could take the slot back.
    pub(crate) fn assign_slot(&self, slot: &str, to: &Server) {
        let id = to.cluster_id();
        let others = self.masters().filter(|node| node.port != to.port);
        for node in std::iter::once(to).chain(others) {
            node.set_slot(slot, "NODE", &id);
        }
        wait_until("the nodes agree", Duration::from_secs(20), || {
            let mut views = self.masters().map(Server::masters_with_slots);
            let first = views.next();
            views.all(|view| Some(view) == first)
        });
    }

    /// Returns the index of the replica of a master.
    pub(crate) fn replica_of(&self, master: usize) -> usize {
        let port = format!("master_port:{}\r", self.0[master].port);
        let replica = self
            .0
            .iter()
            .position(|node| node.send(&["INFO", "replication"]).contains(&port));
        replica.expect("each master has a replica")
    }
}

impl Server {
    /// Returns the id of a node in its cluster.
    pub(crate) fn cluster_id(&self) -> String {
        let id = self.send(&["CLUSTER", "MYID"]);
        id.split("\r\n").nth(1).unwrap().to_owned()
    }

    /// Runs `CLUSTER SETSLOT`.
    ///
    /// Valkey answers once its replicas have executed it, and gives it up if the client closes its side of
    /// the connection, as [`Server::send`] does.
    pub(crate) fn set_slot(&self, slot: &str, state: &str, node: &str) {
        let set = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "CLUSTER", "SETSLOT", slot])
            .args([state, node])
            .output();
        set.expect("redis-cli can be run");
    }

    /// Returns the id, the epoch and the slots of each master, as this node knows them.
    fn masters_with_slots(&self) -> Vec<String> {
        let nodes = self.send(&["CLUSTER", "NODES"]);
        let masters = nodes.lines().filter(|line| line.contains("master"));
        let mut parts: Vec<String> = masters
            .map(|line| {
                let parts: Vec<_> = line.split(' ').collect();
                format!("{} {} {:?}", parts[0], parts[6], &parts[8..])
            })
            .collect();
        parts.sort_unstable();
        parts
    }

    pub(crate) fn is_master(&self) -> bool {
        self.send(&["ROLE"]).contains("master")
    }

    pub(crate) fn is_linked_replica(&self) -> bool {
        self.send(&["INFO", "replication"])
            .contains("master_link_status:up")
    }
}

/// A master with two replicas, monitored by three sentinels.
pub(crate) struct SentinelGroup {
    pub(crate) master: Server,
    pub(crate) replicas: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

impl SentinelGroup {
    pub(crate) fn start() -> Self {
        let quick = [
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1",
        ];
        let master = Server::start_with(&quick);
        let port = master.port.to_string();
        let replica = [&["--replicaof", "127.0.0.1", &port][..], &quick[..]].concat();
        let replicas = vec![Server::start_with(&replica), Server::start_with(&replica)];
        wait_until("the replicas follow", Duration::from_secs(15), || {
            replicas.iter().all(Server::is_linked_replica)
        });
        let config = format!(
            "sentinel monitor main 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds main 800\n\
             sentinel failover-timeout main 4000\n"
        );
        let sentinels = (0..3)
            .map(|_| Server::sentinel(free_port(), &config))
            .collect();
        let group = Self {
            master,
            replicas,
            sentinels,
        };
        wait_until(
            "the sentinels know each other",
            Duration::from_secs(20),
            || {
                group.sentinels.iter().all(|sentinel| {
                    let main = sentinel.send(&["SENTINEL", "MASTER", "main"]);
                    let words: Vec<&str> = main.split("\r\n").collect();
                    let number = |name| {
                        let at = words.iter().position(|word| *word == name)?;
                        words.get(at + 2)?.parse::<u32>().ok()
                    };
                    number("num-other-sentinels") == Some(2) && number("num-slaves") == Some(2)
                })
            },
        );
        group
    }

    /// Waits until a replica has become master.
    pub(crate) fn wait_for_promotion(&self, limit: Duration) {
        wait_until("a replica is promoted", limit, || {
            self.replicas.iter().any(Server::is_master)
        });
    }

    pub(crate) fn url(&self) -> String {
        let [first, second, third] = &self.sentinels[..] else {
            panic!("three sentinels")
        };
        format!(
            "redis-sentinel://127.0.0.1:{}?sentinelServiceName=main&node=127.0.0.1:{}&node=127.0.0.1:{}",
            first.port, second.port, third.port
        )
    }
}
