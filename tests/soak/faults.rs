//! The servers and stores of a soak, and what is done to them.

use std::{
    process::Command,
    sync::{Arc, RwLock},
    time::Duration,
};

use crate::{
    server::SETTING,
    support::{
        ServerProcess,
        redis_servers::{Server, groups::Cluster, wait_until},
        scratch::Scratch,
    },
    visitor::Addresses,
};

/// Maximum time of an election or of a full synchronization on a loaded machine.
const REPAIR_LIMIT: Duration = Duration::from_secs(60);

/// The time for which a process is suspended.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StoreKind {
    Memory,
    File,
    Cookie,
    Redis,
    Cluster,
}

/// What happens to a server or to a store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A server is killed and starts again.
    KillServer,
    /// A server is suspended.
    PauseServer,
    /// Redis is killed and starts again with its data.
    KillRedis,
    /// Redis, or a master of the cluster, is suspended.
    PauseRedis,
    /// Redis closes all connections of clients.
    CloseConnections,
    /// A master of the cluster is killed. It returns as a replica once its own replica is a master.
    KillMaster,
    /// A replica becomes master while its master lives.
    Failover,
    /// A slot moves to another master.
    MoveSlot,
}

impl StoreKind {
    pub(crate) const fn faults(self) -> &'static [Fault] {
        use Fault::*;
        match self {
            // Its sessions end with the process.
            Self::Memory => &[PauseServer],
            Self::File | Self::Cookie => &[KillServer, PauseServer],
            Self::Redis => &[KillRedis, KillServer, PauseRedis, CloseConnections],
            Self::Cluster => &[
                KillMaster,
                CloseConnections,
                KillServer,
                Failover,
                MoveSlot,
                PauseRedis,
            ],
        }
    }

    /// Returns the number of server processes.
    const fn servers(self) -> usize {
        match self {
            // One process has the sessions, or the lock of the directory.
            Self::Memory | Self::File => 1,
            Self::Cookie | Self::Redis | Self::Cluster => 2,
        }
    }
}

/// What the servers keep their sessions in.
enum Backend {
    Process,
    Directory(Scratch),
    Redis(Server),
    Cluster(Cluster),
}

/// All processes of a soak. Ended when dropped.
pub(crate) struct Environment {
    store: StoreKind,
    test: String,
    setting: String,
    servers: Vec<ServerProcess>,
    addresses: Addresses,
    backend: Backend,
    turn: usize,
}

impl Environment {
    pub(crate) fn start(store: StoreKind, test: &str) -> Self {
        let (backend, setting) = match store {
            StoreKind::Memory => (Backend::Process, "memory".to_owned()),
            StoreKind::Cookie => (Backend::Process, "cookie".to_owned()),
            StoreKind::File => {
                let directory = Scratch::new();
                let setting = format!("file {}/sessions", directory.path().display());
                (Backend::Directory(directory), setting)
            }
            StoreKind::Redis => {
                let server =
                    Server::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
                let setting = format!("redis {} 0", server.url());
                (Backend::Redis(server), setting)
            }
            StoreKind::Cluster => {
                let cluster = Cluster::start();
                // The servers must find the cluster while any node is away.
                let nodes = cluster
                    .0
                    .iter()
                    .map(|node| format!("node=127.0.0.1:{}", node.port));
                let nodes: Vec<String> = nodes.skip(1).collect();
                let setting = format!("redis {}?{} 1", cluster.url(), nodes.join("&"));
                (Backend::Cluster(cluster), setting)
            }
        };
        let mut environment = Self {
            store,
            test: test.to_owned(),
            setting,
            servers: Vec::new(),
            addresses: Arc::new(RwLock::default()),
            backend,
            turn: 0,
        };
        for _ in 0..store.servers() {
            let server = environment.start_server();
            environment.addresses.write().unwrap().push(server.address);
            environment.servers.push(server);
        }
        environment
    }

    fn start_server(&self) -> ServerProcess {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", &self.test, "--nocapture"])
            .env(SETTING, &self.setting);
        ServerProcess::start(&mut command)
    }

    pub(crate) const fn store(&self) -> StoreKind {
        self.store
    }

    pub(crate) fn addresses(&self) -> Addresses {
        Arc::clone(&self.addresses)
    }

    /// Injects a fault, and returns when all processes work again.
    pub(crate) fn inject(&mut self, fault: Fault) {
        self.turn += 1;
        match fault {
            Fault::KillServer => self.kill_server(),
            Fault::PauseServer => {
                self.servers[0].signal("STOP");
                std::thread::sleep(PAUSE);
                self.servers[0].signal("CONT");
            }
            Fault::CloseConnections => {
                for node in self.nodes() {
                    node.send(&["CLIENT", "KILL", "TYPE", "normal"]);
                }
            }
            Fault::KillRedis | Fault::PauseRedis | Fault::KillMaster | Fault::Failover => {
                match &mut self.backend {
                    Backend::Redis(server) => disturb_redis(server, fault),
                    Backend::Cluster(cluster) => disturb_cluster(cluster, fault, self.turn),
                    Backend::Process | Backend::Directory(_) => unreachable!("it has no Redis"),
                }
            }
            Fault::MoveSlot => {
                if let Backend::Cluster(cluster) = &self.backend {
                    cluster.move_a_used_slot();
                }
            }
        }
    }

    /// Returns `true` if no server survives the fault, so that none shows a growth of its memory.
    pub(crate) fn restarts_all_servers(&self, fault: Fault) -> bool {
        matches!(fault, Fault::KillServer) && self.servers.len() == 1
    }

    /// Kills the last server and starts it again.
    fn kill_server(&mut self) {
        let killed = self.servers.pop().expect("there is a server");
        // It ends at once, as in a crash.
        drop(killed);
        let server = self.start_server();
        *self.addresses.write().unwrap().last_mut().unwrap() = server.address;
        self.servers.push(server);
    }

    /// Returns the servers of Redis.
    pub(crate) fn nodes(&self) -> &[Server] {
        match &self.backend {
            Backend::Redis(server) => std::slice::from_ref(server),
            Backend::Cluster(cluster) => &cluster.0,
            Backend::Process | Backend::Directory(_) => &[],
        }
    }

    /// Returns the process id of the first server and its resident memory in bytes.
    pub(crate) fn server_memory(&self) -> (u32, u64) {
        let id = self.servers[0].id();
        let path = format!("/proc/{id}/status");
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let bytes = kilobytes.map_or(0, |text| text.parse::<u64>().unwrap() * 1024);
        (id, bytes)
    }

    /// Returns the bytes that the store takes outside the servers: its files, or the memory of Redis.
    pub(crate) fn store_bytes(&self) -> u64 {
        if let Backend::Directory(directory) = &self.backend {
            let files = std::fs::read_dir(directory.path().join("sessions")).unwrap();
            // A compaction may delete a file meanwhile.
            return files
                .map(|file| file.unwrap().metadata().map_or(0, |it| it.len()))
                .sum();
        }
        let nodes = self.nodes().iter();
        nodes.map(|node| node.info("memory", "used_memory")).sum()
    }
}

fn disturb_redis(server: &mut Server, fault: Fault) {
    if matches!(fault, Fault::KillRedis) {
        return server.restart();
    }
    server.freeze();
    std::thread::sleep(PAUSE);
    server.thaw();
}

fn disturb_cluster(cluster: &mut Cluster, fault: Fault, turn: usize) {
    let masters: Vec<usize> = (0..cluster.0.len())
        .filter(|node| cluster.0[*node].is_master())
        .collect();
    let master = masters[turn % masters.len()];
    let replica = cluster.replica_of(master);
    match fault {
        Fault::KillMaster => {
            cluster.0[master].kill();
            wait_until("a replica is promoted", REPAIR_LIMIT, || {
                cluster.0[replica].is_master()
            });
            cluster.0[master].restart();
        }
        Fault::Failover => {
            cluster.0[replica].send(&["CLUSTER", "FAILOVER"]);
            wait_until("the replica is promoted", REPAIR_LIMIT, || {
                cluster.0[replica].is_master()
            });
        }
        _ => {
            cluster.0[master].freeze();
            wait_until("a replica is promoted", REPAIR_LIMIT, || {
                cluster.0[replica].is_master()
            });
            cluster.0[master].thaw();
        }
    }
    cluster.wait_until_whole(REPAIR_LIMIT);
}
