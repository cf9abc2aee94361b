//! The client: connections, and one attempt at one command. Only this folder uses the crate `fred`.
//!
//! Restrictions on `fred`, with their reasons:
//!
//! - Every command fails at once while its connection is down (`fail_fast`), and `fred` never resends
//!   one: only this store's own check makes it safe to repeat a write whose reply was lost. Before its first
//!   attempt to reconnect, `fred` still takes commands. The router that has them is dropped when a command runs
//!   into its timeout, or at the next error if the caller has stopped waiting. Hence nothing queues up in `fred`
//!   while the server is unreachable, unless its first attempt to reconnect succeeds.
//! - Commands are sent with `custom_raw` on a [`WithOptions`](fred::clients::WithOptions), since
//!   `evalsha` of `WithOptions` would silently use the plain client, without the options.
//! - `fred` writes each of these commands to the socket separately, so commands of many tasks are
//!   merged into one command before `fred` gets them: see [`batch`]. A pipeline of `fred` writes each
//!   script separately too. A typed `GET` of `fred` would be
//!   written together with others, but after a failover it waited for the server that hung.
//! - `fred` gets one server each, also in a cluster: see [`cluster`]. Its own client for clusters serves no
//!   node while it reconnects to one. When it follows `ASK`, it takes the reply to its `ASKING` for
//!   another command's reply, and from then on gives every reply to the wrong command.
//! - Every command has a timeout of ours, and so have connecting and its setup commands. The command
//!   timeout of `fred` is off. It would be a second timer for each command.
//! - If a connection gave no reply at all while a command ran into its timeout, it is dropped with
//!   its router task, and opened again. So it is if callers stop waiting earlier, once they have waited for that
//!   time in total. `fred` would not notice: its own check restarts with every
//!   write, and a router that waits for a full socket runs no checks.
//! - A router task that has ended is started again; some errors make `fred` end it permanently.
//! - The longest pause between attempts to connect is different for each connection, since `fred`
//!   applies no jitter once it has reached the longest pause.

mod batch;
mod cluster;
mod command;
mod config;
mod connection;
mod fault;
mod invalidation;
mod node;
mod queue;
mod replicas;
mod reply;

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use tokio::runtime::Handle;

pub(crate) use self::config::SCHEMES;
use self::{cluster::Cluster, command::BatchSlots};
pub(super) use self::{
    command::{RedisCommand, Script},
    invalidation::InvalidationListener,
    node::{Node, OperationTime},
    reply::{Answer, AttemptError, NO_CLUSTER, Reply, TrackingId, UNKNOWN_COMMAND},
};
use super::{
    ConnectProblem, RedisError,
    key_names::KeyNames,
    outage::{OutageReporter, OutageTracker},
    settings::Settings,
};

/// The connections to one server, cluster or Sentinel group.
pub(super) struct Client {
    topology: Topology,
    /// Commands without a key that the client sends besides those of the operations.
    own_commands: Vec<KeylessCommand>,
    /// Set by the first command, since only then is a runtime certain.
    is_started: OnceLock<()>,
}

/// The name and the arguments of a command without a key.
pub(super) type KeylessCommand = (&'static str, &'static [&'static str]);

enum Topology {
    Single(Arc<Node>),
    Cluster(Cluster),
}

impl Client {
    /// Makes a client. `listener` receives changes to the values that are read from now on.
    pub(super) fn new(
        url: &str,
        settings: &Settings,
        names: &KeyNames,
        reporter: &Arc<OutageReporter>,
        listener: Option<Arc<dyn InvalidationListener>>,
    ) -> Result<Self, RedisError> {
        let config = config::parse_url(url)?;
        let mut own_commands: Vec<KeylessCommand> = Vec::new();
        if listener.is_some() {
            own_commands.extend([("CLIENT", &["TRACKING", "ON"][..]), ("PING", &[])]);
        }
        if config::cluster_seeds(&config).is_some() {
            own_commands.push(("CLUSTER", &["SLOTS"]));
        }
        if settings.replicas > 0 {
            own_commands.push(("WAIT", &["0", "1"]));
        }
        let topology = match config::cluster_seeds(&config) {
            Some(seeds) => Topology::Cluster(Cluster::new(
                (config, seeds),
                settings.clone(),
                names.clone(),
                Arc::clone(reporter),
                listener,
            )),
            None => {
                let test = (BatchSlots::One, names.test(0));
                let node = Node::new(&config, settings, reporter, listener, test);
                Topology::Single(Arc::new(node))
            }
        };
        Ok(Self {
            topology,
            own_commands,
            is_started: OnceLock::new(),
        })
    }

    /// Returns the commands without a key that the user must be able to run.
    pub(super) fn own_commands(&self) -> &[KeylessCommand] {
        &self.own_commands
    }

    /// Returns `true` if the listener is informed of changes to the value under `key` if it is read now.
    pub(super) fn is_tracked(&self, key: &[u8]) -> bool {
        self.node(key).is_ok_and(|node| node.is_tracked())
    }

    /// Returns the node that has a key.
    ///
    /// # Errors
    /// In a cluster, if no node has its slot. Returns the outage of these slots.
    pub(super) fn node(&self, key: &[u8]) -> Result<Arc<Node>, &OutageTracker> {
        match &self.topology {
            Topology::Single(node) => Ok(Arc::clone(node)),
            Topology::Cluster(cluster) => cluster.node(key),
        }
    }

    /// Returns the outage of the slots that no node has, if the servers are a cluster.
    pub(super) fn unserved(&self) -> Option<&OutageTracker> {
        match &self.topology {
            Topology::Single(_) => None,
            Topology::Cluster(cluster) => Some(cluster.unserved()),
        }
    }

    /// Returns all nodes that have keys, as the servers report them now. If no server reports them until
    /// `deadline`, returns those that are known.
    pub(super) async fn masters(&self, deadline: Instant) -> Vec<Arc<Node>> {
        match &self.topology {
            Topology::Single(node) => vec![Arc::clone(node)],
            Topology::Cluster(cluster) => cluster.masters(deadline).await,
        }
    }

    /// Returns `true` if the servers have reported which of them have keys.
    pub(super) fn knows_masters(&self) -> bool {
        match &self.topology {
            Topology::Single(_) => true,
            Topology::Cluster(cluster) => cluster.is_map_reported(),
        }
    }

    /// Finds out again which node has which keys, in the background.
    pub(super) fn refresh_nodes(&self) {
        if let Topology::Cluster(cluster) = &self.topology {
            cluster.refresh_map();
        }
    }

    /// Returns all nodes, as far as they are known without asking a server.
    pub(super) fn known_nodes(&self) -> Vec<Arc<Node>> {
        match &self.topology {
            Topology::Single(node) => vec![Arc::clone(node)],
            Topology::Cluster(cluster) => cluster.known_nodes(),
        }
    }

    /// Records that `from` has redirected a key to the node at `address`.
    ///
    /// # Errors
    /// If the URL is that of one server.
    pub(super) fn redirect(
        &self,
        key: &[u8],
        from: &Node,
        address: &str,
    ) -> Result<(), RedisError> {
        match &self.topology {
            Topology::Single(node) => Err(RedisError::Connect {
                server: Arc::clone(node.server()),
                problem: ConnectProblem::ClusterNode,
            }),
            Topology::Cluster(cluster) => {
                cluster.redirect(key, from, address);
                Ok(())
            }
        }
    }

    /// Starts the background tasks, unless they run already. Must be called before any attempt.
    pub(super) fn start(&self) -> Result<(), RedisError> {
        if self.is_started.get().is_some() {
            return Ok(());
        }
        let runtime = Handle::try_current().map_err(|_| RedisError::NoRuntime)?;
        self.is_started.get_or_init(|| match &self.topology {
            Topology::Single(node) => node.start(&runtime),
            Topology::Cluster(cluster) => cluster.start(&runtime),
        });
        Ok(())
    }
}
