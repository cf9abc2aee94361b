//! The client: connections, and one attempt at one command. No other file names the crate `fred`.
//!
//! How `fred` is kept on a short lead, and why:
//!
//! - Every command fails at once while its connection is down (`fail_fast`), and none is sent again
//!   by `fred` itself: a write whose answer was lost may be repeated only with our own check. Hence
//!   nothing queues up in `fred` while the server is away.
//! - Commands go through `custom_raw` on a [`WithOptions`], since `evalsha` of `WithOptions` would
//!   silently use the plain client, without the options.
//! - It follows no redirection of a cluster. Where it follows `ASK` it takes another command's answer
//!   for that of its `ASKING`, and from then on hands out each answer to the wrong command. After
//!   `MOVED` it has learned where the slot is, so that our repetition finds it; what is answered
//!   `ASK` waits until the slot has moved.
//! - Timeouts are set for connecting, for its inner commands and for every command; the caller puts
//!   a last one around all of it.
//! - A connection that gave no answer at all while a command ran into its timeout is dropped with
//!   its router task, and made anew. `fred` would not notice: its own check starts anew with every
//!   write, and a router that waits for a full socket makes no checks.
//! - A router task that has ended is started again; `fred` ends it on some errors for good.
//! - The longest pause between attempts to connect is different for each link, since `fred` leaves
//!   out the jitter when it has reached the longest.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fred::{
    clients::{Client as Fred, WithOptions},
    error::{Error as FredError, ErrorKind},
    interfaces::{ClientLike, EventInterface, TrackingInterface},
    rustls,
    types::{
        ClusterHash, CustomCommand, Resp3Frame, RespVersion, Value,
        client::Invalidation,
        config::{
            ClusterDiscoveryPolicy, Config, ConnectionConfig, Options, PerformanceConfig,
            ReconnectError, ReconnectPolicy, Server, ServerConfig, TcpConfig, TlsConnector,
            UnresponsiveConfig,
        },
    },
};
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast::Receiver},
    task::JoinHandle,
};

use super::{Fault, RedisError, Refusal, builder::Settings};
use crate::id::SessionId;

/// A script and the digest under which servers know it.
pub(super) struct Script {
    source: Bytes,
    digest: Bytes,
}

impl Script {
    pub(super) fn new(source: &'static str) -> Self {
        Self {
            digest: fred::util::sha1_hash(source).into(),
            source: Bytes::from_static(source.as_bytes()),
        }
    }
}

/// A command: its name, its arguments, and the key that says where in a cluster it goes.
#[derive(Clone)]
pub(super) struct Call {
    name: &'static str,
    key: Bytes,
    args: Vec<Bytes>,
}

impl Call {
    /// A command whose first argument is its key.
    pub(super) fn new(name: &'static str, args: Vec<Bytes>) -> Self {
        let key = args.first().cloned().unwrap_or_default();
        Self { name, key, args }
    }

    /// Waits until `replicas` replicas have all that its connection wrote to the node of `key`.
    pub(super) fn wait(replicas: u32, millis: u128, key: Bytes) -> Self {
        Self {
            name: "WAIT",
            key,
            args: vec![replicas.to_string().into(), millis.to_string().into()],
        }
    }

    /// A script on one key.
    pub(super) fn script(
        script: &Script,
        key: Bytes,
        args: impl IntoIterator<Item = Bytes>,
    ) -> Self {
        let head = [script.digest.clone(), Bytes::from_static(b"1"), key.clone()];
        Self {
            name: "EVALSHA",
            key,
            args: head.into_iter().chain(args).collect(),
        }
    }

    /// The same with the script's source, for a server that does not know it.
    pub(super) fn with_source(mut self, script: &Script) -> Self {
        self.name = "EVAL";
        if let Some(digest) = self.args.first_mut() {
            *digest = script.source.clone();
        }
        self
    }
}

/// What the server answered.
#[derive(Debug)]
pub(super) enum Reply {
    Nothing,
    Number(i64),
    Bytes(Bytes),
    List(Vec<Reply>),
}

/// Why an attempt has no answer.
#[derive(Debug)]
pub(super) enum Miss {
    /// Another attempt may fare better. `sent`: this one may have been carried out all the same.
    Fault { fault: Fault, sent: bool },
    /// The server does not know the script.
    NoScript,
    /// Another attempt would end the same way.
    Final(RedisError),
}

/// Who is told of what other clients change.
pub(super) trait Hear: Send + Sync {
    /// The value under this name has changed.
    fn changed(&self, name: &[u8]);

    /// Changes may have been missed.
    fn missed(&self);
}

/// A pool of connections to one server, cluster or Sentinel group.
pub(super) struct Client {
    links: Box<[Link]>,
    next: AtomicUsize,
    listener: Option<Arc<dyn Hear>>,
    /// The tasks that keep the links up. Started by the first command, since it is the first to be
    /// surely inside a runtime; they end with the client.
    tasks: OnceLock<Vec<Task>>,
}

/// Slots of a cluster whose answers are counted together.
const SLOTS: u16 = 256;

struct Link {
    fred: WithOptions<Fred>,
    /// How many answers came, by slots, so that one node's silence is not hidden by another's
    /// answers. Outside a cluster there is one count.
    answers: Box<[AtomicU64]>,
    /// Told to drop the connections and make them anew.
    renew: Arc<Notify>,
    /// Whether the server tells the listener of changes to what is read over this link now.
    tracked: Arc<AtomicBool>,
    /// What the server last said about our user and password while connecting.
    denial: Arc<Mutex<Option<Refusal>>>,
}

/// Aborts its task when it is dropped.
struct Task<T = ()>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    pub(super) fn new(url: &str, settings: &Settings) -> Result<Self, RedisError> {
        let config = config(url)?;
        let links = 0..settings.pool_size.max(1);
        Ok(Self {
            links: links.map(|_| Link::new(config.clone(), settings)).collect(),
            next: AtomicUsize::new(0),
            listener: None,
            tasks: OnceLock::new(),
        })
    }

    /// Has `listener` told of changes to what is read from now on. Not in a cluster.
    pub(super) fn listen(&mut self, listener: Arc<dyn Hear>) -> Result<(), RedisError> {
        if self.links.iter().any(|link| link.answers.len() > 1) {
            return Err(RedisError::CacheInCluster);
        }
        self.listener = Some(listener);
        Ok(())
    }

    /// Whether the listener is told of changes to whatever is read now. It is told that it may have
    /// missed some after this has turned false, and before it turns true again.
    pub(super) fn is_tracked(&self) -> bool {
        self.links
            .iter()
            .all(|link| link.tracked.load(Ordering::SeqCst))
    }

    /// The place of the next link to use, in turn. Links that are down are passed over.
    pub(super) fn turn(&self) -> usize {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        (start..start.saturating_add(self.links.len()))
            .find(|turn| {
                self.link(*turn)
                    .is_some_and(|link| link.fred.is_connected())
            })
            .unwrap_or(start)
    }

    fn link(&self, turn: usize) -> Option<&Link> {
        self.links.get(turn.checked_rem(self.links.len())?)
    }

    /// One attempt on the link of this turn.
    pub(super) async fn attempt(&self, turn: usize, call: Call) -> Result<Reply, Miss> {
        let Some(link) = self.link(turn) else {
            return Err(miss_before_sending());
        };
        link.attempt(call).await
    }

    /// Starts what keeps the links up, unless it runs already. To be called before any attempt.
    pub(super) fn start(&self) -> Result<(), RedisError> {
        if self.tasks.get().is_some() {
            return Ok(());
        }
        let runtime = Handle::try_current().map_err(|_| RedisError::NoRuntime)?;
        self.tasks.get_or_init(|| {
            let mut tasks: Vec<Task> = self.links.iter().map(|l| l.keep_up(&runtime)).collect();
            if let Some(listener) = &self.listener {
                let track = |link: &Link| link.track(&runtime, Arc::clone(listener));
                tasks.extend(self.links.iter().map(track));
            }
            tasks
        });
        Ok(())
    }
}

impl Link {
    fn new(config: Config, settings: &Settings) -> Self {
        let counts = match &config.server {
            ServerConfig::Clustered { .. } => 16_384 / SLOTS,
            _ => 1,
        };
        let fred = fred(config, settings).with_options(&Options {
            fail_fast: true,
            ..Options::default()
        });
        Self {
            fred,
            answers: (0..counts).map(|_| AtomicU64::new(0)).collect(),
            renew: Arc::default(),
            tracked: Arc::default(),
            denial: Arc::default(),
        }
    }

    async fn attempt(&self, call: Call) -> Result<Reply, Miss> {
        let (route, answers) = self.route(&call.key);
        let before = answers.map(|count| count.load(Ordering::Relaxed));
        let command = CustomCommand::new_static(call.name, route, false);
        let args = call.args.into_iter().map(Value::Bytes).collect();
        let answer = self.fred.custom_raw(command, args).await;
        let now = answers.map(|count| count.load(Ordering::Relaxed));
        match answer {
            Ok(frame) => {
                answers.map(|count| count.fetch_add(1, Ordering::Relaxed));
                reply(frame)
            }
            Err(error) => {
                if *error.kind() == ErrorKind::Timeout && now == before {
                    self.renew.notify_one();
                }
                Err(self.miss(&error))
            }
        }
    }

    /// Where a command on `key` goes, and the count of what is answered from there.
    fn route(&self, key: &[u8]) -> (ClusterHash, Option<&AtomicU64>) {
        if let [all] = &*self.answers {
            return (ClusterHash::FirstKey, Some(all));
        }
        let slot = fred::util::redis_keyslot(key);
        let answers = self.answers.get(usize::from(slot / SLOTS));
        (ClusterHash::Custom(slot), answers)
    }

    /// Starts the task that keeps this link up.
    fn keep_up(&self, runtime: &Handle) -> Task {
        /// Between the end of a router task and its next start.
        const PAUSE: Duration = Duration::from_millis(200);
        let (fred, denial) = (self.fred.clone(), Arc::clone(&self.denial));
        let renew = Arc::clone(&self.renew);
        Task(runtime.spawn(async move {
            let _hears = Task(tokio::spawn(hear(fred.clone(), denial)));
            loop {
                let mut router = Task(fred.connect());
                tokio::select! {
                    _ = &mut router.0 => tokio::time::sleep(PAUSE).await,
                    () = renew.notified() => {}
                }
            }
        }))
    }

    /// Starts the task that has the listener told of changes.
    fn track(&self, runtime: &Handle, listener: Arc<dyn Hear>) -> Task {
        let (fred, tracked) = (self.fred.clone(), Arc::clone(&self.tracked));
        let renew = Arc::clone(&self.renew);
        Task(runtime.spawn(async move {
            let mut events = Events::new(&fred);
            loop {
                if say(&fred, "CLIENT", &["TRACKING", "ON"]).await {
                    tracked.store(true, Ordering::SeqCst);
                    let silent = events.pass_on(&fred, &*listener).await;
                    tracked.store(false, Ordering::SeqCst);
                    listener.missed();
                    if silent {
                        renew.notify_one();
                    }
                }
                tokio::time::sleep(Events::PAUSE).await;
                events = Events::new(&fred);
            }
        }))
    }

    /// What an error of `fred` means for the command that met it.
    fn miss(&self, error: &FredError) -> Miss {
        if error.details() == "Too many redirections." {
            let (fault, sent) = (Fault::Redirected, false);
            return Miss::Fault { fault, sent };
        }
        let unsent = error.is_canceled() || error.details() == "Failed to route command.";
        if let Some(refusal) = unsent.then(|| lock(&self.denial).clone()).flatten() {
            return Miss::Final(RedisError::Refused(refusal));
        }
        if unsent {
            return miss_before_sending();
        }
        let fault = match error.kind() {
            ErrorKind::Timeout => Fault::Silent,
            _ => fault_named(code(error.details())).unwrap_or(Fault::Broken),
        };
        Miss::Fault { fault, sent: true }
    }
}

/// What `fred` tells of one link.
struct Events {
    changes: Receiver<Invalidation>,
    errors: Receiver<(FredError, Option<Server>)>,
    connects: Receiver<Server>,
}

impl Events {
    /// Between two attempts to have the listener told.
    const PAUSE: Duration = Duration::from_millis(50);

    /// Between two looks whether a silent link is alive. What was read before such a look is
    /// answered is not stale by more than this and the command timeout.
    const HEARTBEAT: Duration = Duration::from_secs(1);

    fn new(fred: &WithOptions<Fred>) -> Self {
        Self {
            changes: fred.invalidation_rx(),
            errors: fred.error_rx(),
            connects: fred.reconnect_rx(),
        }
    }

    /// Tells `listener` of changes until some may be missed; `true` where the server has fallen
    /// silent.
    async fn pass_on(&mut self, fred: &WithOptions<Fred>, listener: &dyn Hear) -> bool {
        let mut beat = tokio::time::interval(Self::HEARTBEAT);
        loop {
            tokio::select! {
                // A change before the news that there will be no more.
                biased;
                change = self.changes.recv() => match change {
                    Ok(change) => change.keys.iter().for_each(|key| listener.changed(key.as_bytes())),
                    Err(_) => return false,
                },
                _ = self.errors.recv() => return false,
                _ = self.connects.recv() => return false,
                _ = beat.tick() => if !say(fred, "PING", &[]).await {
                    return true;
                },
            }
        }
    }
}

/// Whether the server takes this command.
async fn say(fred: &WithOptions<Fred>, name: &'static str, args: &[&'static str]) -> bool {
    let command = CustomCommand::new_static(name, ClusterHash::Random, false);
    let args = args.iter().map(|arg| Value::from_static_str(arg)).collect();
    let answer = fred.custom_raw::<Value>(command, args).await;
    answer.is_ok_and(|frame| reply(frame).is_ok())
}

/// Remembers what the server says about user and password, until a connection succeeds.
async fn hear(fred: WithOptions<Fred>, denial: Arc<Mutex<Option<Refusal>>>) {
    let (mut errors, mut connects) = (fred.error_rx(), fred.reconnect_rx());
    loop {
        tokio::select! {
            Ok((error, _)) = errors.recv() => {
                let said = denied(code(error.details()));
                if said.is_some() {
                    *lock(&denial) = said;
                }
            }
            Ok(_) = connects.recv() => *lock(&denial) = None,
            else => return,
        }
    }
}

/// No task panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn miss_before_sending() -> Miss {
    let (fault, sent) = (Fault::Disconnected, false);
    Miss::Fault { fault, sent }
}

fn reply(frame: Resp3Frame) -> Result<Reply, Miss> {
    Ok(match frame {
        Resp3Frame::Null => Reply::Nothing,
        // What a script's `false` is in RESP3.
        Resp3Frame::Boolean { data: false, .. } => Reply::Nothing,
        Resp3Frame::Number { data, .. } => Reply::Number(data),
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => {
            Reply::Bytes(data)
        }
        Resp3Frame::Array { data, .. } => {
            Reply::List(data.into_iter().map(reply).collect::<Result<_, _>>()?)
        }
        Resp3Frame::SimpleError { data, .. } => return Err(said(&data)),
        Resp3Frame::BlobError { data, .. } => return Err(said(&String::from_utf8_lossy(&data))),
        _ => return Err(Miss::Final(RedisError::Unexpected)),
    })
}

/// What an error that the server answered means. The command was not carried out.
fn said(message: &str) -> Miss {
    let code = code(message);
    if let Some(fault) = fault_named(code) {
        return Miss::Fault { fault, sent: false };
    }
    let refusal = match code {
        "NOSCRIPT" => return Miss::NoScript,
        "WRONGTYPE" | "HSFOREIGN" => return Miss::Final(RedisError::Foreign),
        "OOM" => Refusal::OutOfMemory,
        "MISCONF" => Refusal::Misconfigured,
        "NOREPLICAS" => Refusal::NoReplicas,
        code => denied(code).unwrap_or_else(|| Refusal::Other(code.into())),
    };
    Miss::Final(RedisError::Refused(refusal))
}

/// The code at the head of an error message; what follows may hold arguments, so data.
fn code(message: &str) -> &str {
    let word = message.split([' ', '\r', '\n']).next().unwrap_or_default();
    let is_code = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    if word.bytes().all(is_code) {
        word
    } else {
        "ERR"
    }
}

fn fault_named(code: &str) -> Option<Fault> {
    Some(match code {
        "LOADING" => Fault::Loading,
        "READONLY" => Fault::ReadOnly,
        "CLUSTERDOWN" => Fault::ClusterDown,
        "TRYAGAIN" | "MOVED" | "ASK" => Fault::Redirected,
        "MASTERDOWN" => Fault::MasterDown,
        "BUSY" => Fault::Busy,
        _ => return None,
    })
}

fn denied(code: &str) -> Option<Refusal> {
    matches!(code, "NOAUTH" | "WRONGPASS" | "NOPERM").then(|| Refusal::Denied(code.into()))
}

fn fred(config: Config, settings: &Settings) -> Fred {
    let command = settings.command_timeout;
    let performance = PerformanceConfig {
        default_command_timeout: command,
        // Invalidations come in bursts, and one that is missed drops the whole local cache.
        broadcast_channel_capacity: 4096,
        ..PerformanceConfig::default()
    };
    let connection = ConnectionConfig {
        connection_timeout: settings.connect_timeout,
        internal_command_timeout: settings.connect_timeout,
        max_redirections: 0,
        reconnect_on_auth_error: false,
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(command.saturating_mul(2)),
            interval: (command / 2).max(Duration::from_millis(10)),
        },
        reconnect_errors: vec![
            ReconnectError::ClusterDown,
            ReconnectError::Loading,
            ReconnectError::ReadOnly,
            ReconnectError::MasterDown,
        ],
        tcp: TcpConfig {
            nodelay: Some(true),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    };
    let spread = SessionId::generate().map_or(0, |id| 4 * u32::from(id.as_bytes()[0]));
    let policy = ReconnectPolicy::Exponential {
        attempts: 0,
        // For ever.
        max_attempts: 0,
        min_delay: 20,
        max_delay: 1_500 + spread,
        base: 2,
        jitter: 100,
    };
    Fred::new(config, Some(performance), Some(connection), Some(policy))
}

/// The configuration that a URL stands for.
fn config(url: &str) -> Result<Config, RedisError> {
    let invalid = |what: &str| RedisError::Url(what.to_owned());
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| invalid("it has no scheme, such as redis://"))?;
    const SCHEMES: [&str; 7] = [
        "redis",
        "rediss",
        "redis+unix",
        "redis-sentinel",
        "rediss-sentinel",
        "redis-cluster",
        "rediss-cluster",
    ];
    if !SCHEMES.contains(&scheme) {
        return Err(invalid(&format!(
            "its scheme is none of {}",
            SCHEMES.join(", ")
        )));
    }
    let tls = scheme.starts_with("rediss");
    // TLS is set up below, on the provider that is compiled in, not on whichever is the default.
    let plain = format!("{}://{rest}", scheme.replacen("rediss", "redis", 1));
    let mut config = Config::from_url(&plain).map_err(|error| invalid(error.details()))?;
    config.fail_fast = false;
    config.version = RespVersion::RESP3;
    if let ServerConfig::Unix { .. } = config.server {
        config.database = unix_database(rest)?;
    }
    if let ServerConfig::Clustered { policy, .. } = &mut config.server {
        // The nodes of the URL may be those that died.
        *policy = ClusterDiscoveryPolicy::UseCache;
    }
    if tls {
        config.tls = Some(tls_connector()?.into());
    }
    Ok(config)
}

/// The database number of a Unix socket's URL, whose path is the socket's.
fn unix_database(rest: &str) -> Result<Option<u8>, RedisError> {
    let Some((_, query)) = rest.split_once('?') else {
        return Ok(None);
    };
    let number = query.split('&').find_map(|pair| pair.strip_prefix("db="));
    number
        .map(str::parse)
        .transpose()
        .map_err(|_| RedisError::Url("db is not a number from 0 to 255".into()))
}

/// TLS with the roots that the system trusts, or those in `SSL_CERT_FILE`.
fn tls_connector() -> Result<TlsConnector, RedisError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(fred::rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let text = "TLS needs the certificates of authorities to trust, and the system has none";
        return Err(RedisError::Url(text.into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| RedisError::Url(format!("TLS cannot be used: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config.into())
}
