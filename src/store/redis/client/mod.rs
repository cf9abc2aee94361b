//! The client: connections, and one attempt at one command. No other folder names the crate `fred`.
//!
//! How `fred` is kept on a short lead, and why:
//!
//! - Every command fails at once while its connection is down (`fail_fast`), and none is sent again
//!   by `fred` itself: a write whose answer was lost may be repeated only with our own check. Hence
//!   nothing queues up in `fred` while the server is away.
//! - Commands go through `custom_raw` on a [`WithOptions`], since `evalsha` of `WithOptions` would
//!   silently use the plain client, without the options.
//! - It writes each of these commands to the socket by itself, so calls of many tasks are made one
//!   command before they come to it: see [`convoy`].
//! - It follows no redirection of a cluster. Where it follows `ASK` it takes another command's answer
//!   for that of its `ASKING`, and from then on hands out each answer to the wrong command. After
//!   `MOVED` it has learned where the slot is, so that our repetition finds it; what is answered
//!   `ASK` waits until the slot has moved.
//! - Every command has a timeout of ours, and so have connecting and the commands that go with it.
//!   The timeout that `fred` has for commands is off: it would be a second timer for each of them.
//! - A connection that gave no answer at all while a command ran into its timeout is dropped with
//!   its router task, and made anew. `fred` would not notice: its own check starts anew with every
//!   write, and a router that waits for a full socket makes no checks.
//! - A router task that has ended is started again; `fred` ends it on some errors for good.
//! - The longest pause between attempts to connect is different for each link, since `fred` leaves
//!   out the jitter when it has reached the longest.

mod call;
mod config;
mod convoy;
mod tracking;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fred::{
    clients::{Client as Fred, WithOptions},
    error::{Error as FredError, ErrorKind},
    interfaces::ClientLike,
    types::{
        ClusterHash, CustomCommand, Resp3Frame,
        config::{Config, Options, ServerConfig},
    },
};
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::JoinHandle,
    time::{timeout, timeout_at},
};

use self::{
    call::{By, code, command, fault_named, is_no_script, replies},
    convoy::Queue,
};
pub(super) use self::{
    call::{Call, Miss, Reply, Script},
    tracking::Hear,
};
use super::{RedisError, ServerRejection, TransientError, builder::Settings};

/// A pool of connections to one server, cluster or Sentinel group.
pub(super) struct Client {
    links: Box<[Arc<Link>]>,
    next: AtomicUsize,
    listener: Option<Arc<dyn Hear>>,
    /// Set by the first command, since it is the first to be surely inside a runtime.
    running: OnceLock<Running>,
}

/// What works in the background for a client, and ends with it.
struct Running {
    runtime: Handle,
    /// They keep the links up.
    _tasks: Vec<Task>,
}

/// Slots of a cluster whose answers are counted together.
const SLOTS: u16 = 256;

struct Link {
    fred: WithOptions<Fred>,
    /// How many answers came, by slots, so that one node's silence is not hidden by another's
    /// answers. Outside a cluster there is one count.
    answers: Box<[AtomicU64]>,
    /// How long a command may take.
    patience: Duration,
    queue: Mutex<Queue>,
    /// Told to drop the connections and make them anew.
    renew: Arc<Notify>,
    /// Whether the server tells the listener of changes to what is read over this link now.
    tracked: Arc<AtomicBool>,
    /// What the server last said about our user and password while connecting.
    denial: Arc<Mutex<Option<ServerRejection>>>,
}

/// Aborts its task when it is dropped.
struct Task<T = ()>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    /// Whether this is polled by the runtime that does the work. Then the work's own timeouts will
    /// do: where that runtime stands still, there is nobody to wait for them either. Where only one
    /// of its threads does, another sees to it ([`Link::mind_departures`]).
    fn is_here(&self) -> bool {
        Handle::try_current().is_ok_and(|here| here.id() == self.runtime.id())
    }
}

impl Client {
    pub(super) fn new(url: &str, settings: &Settings) -> Result<Self, RedisError> {
        let config = config::config(url)?;
        let links = 0..settings.pool_size.max(1);
        Ok(Self {
            links: links
                .map(|_| Arc::new(Link::new(config.clone(), settings)))
                .collect(),
            next: AtomicUsize::new(0),
            listener: None,
            running: OnceLock::new(),
        })
    }

    /// Has `listener` told of changes to what is read from now on. Not in a cluster.
    pub(super) fn listen(&mut self, listener: Arc<dyn Hear>) -> Result<(), RedisError> {
        if self.links.iter().any(|link| link.is_clustered()) {
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

    /// The place of the next link to use; `after` is that of an attempt that failed, whose link is
    /// the last to be tried again. Links that are down are passed over.
    ///
    /// Calls take turns by as many as may go together, since what is spread goes alone.
    pub(super) fn turn(&self, after: Option<usize>) -> usize {
        let in_turn = || self.next.fetch_add(1, Ordering::Relaxed) / convoy::MOST;
        let start = after.map_or_else(in_turn, |turn| turn.wrapping_add(1));
        (start..start.saturating_add(self.links.len()))
            .find(|turn| {
                self.link(*turn)
                    .is_some_and(|link| link.fred.is_connected())
            })
            .unwrap_or(start)
    }

    fn link(&self, turn: usize) -> Option<&Arc<Link>> {
        self.links.get(turn.checked_rem(self.links.len())?)
    }

    /// One attempt on the link of this turn, given up after the command timeout or at `end`; `busy`
    /// calls are under way on all links, this one among them.
    pub(super) async fn attempt(
        &self,
        turn: usize,
        call: Call,
        end: Instant,
        busy: usize,
    ) -> Result<Reply, Miss> {
        let (Some(link), Some(running)) = (self.link(turn), self.running.get()) else {
            return Err(miss_before_sending());
        };
        // With no more calls than links there is nobody to go together with.
        let crowded = busy > self.links.len() && left(end) >= link.patience;
        if !(crowded && call.joins() && !link.is_clustered()) {
            return Box::pin(link.attempt_alone(call, end)).await;
        }
        let attempt = link.attempt_with_others(call, end, &running.runtime);
        if running.is_here() {
            return attempt.await;
        }
        timeout_at(end.into(), attempt).await.unwrap_or_else(|_| {
            let (fault, sent) = (TransientError::Silent, true);
            Err(Miss::TransientError { fault, sent })
        })
    }

    /// Starts what keeps the links up, unless it runs already. To be called before any attempt.
    pub(super) fn start(&self) -> Result<(), RedisError> {
        if self.running.get().is_some() {
            return Ok(());
        }
        let runtime = Handle::try_current().map_err(|_| RedisError::NoRuntime)?;
        self.running.get_or_init(|| {
            let links = self.links.iter();
            let mut tasks: Vec<Task> = links.map(|link| link.keep_up(&runtime)).collect();
            let crowded = self.links.iter().filter(|link| !link.is_clustered());
            tasks.extend(crowded.map(|link| {
                let minding = Arc::clone(link).mind_departures();
                Task(runtime.spawn(minding))
            }));
            if let Some(listener) = &self.listener {
                let track = |link: &Arc<Link>| link.track(&runtime, Arc::clone(listener));
                tasks.extend(self.links.iter().map(track));
            }
            Running {
                runtime,
                _tasks: tasks,
            }
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
        let fred = config::fred(config, settings).with_options(&Options {
            fail_fast: true,
            ..Options::default()
        });
        Self {
            fred,
            answers: (0..counts).map(|_| AtomicU64::new(0)).collect(),
            patience: settings.patience(),
            queue: Mutex::default(),
            renew: Arc::default(),
            tracked: Arc::default(),
            denial: Arc::default(),
        }
    }

    fn is_clustered(&self) -> bool {
        self.answers.len() > 1
    }

    async fn attempt_alone(&self, call: Call, end: Instant) -> Result<Reply, Miss> {
        let calls = [call];
        let frame = self.exchange(&calls, left(end).min(self.patience)).await?;
        let unexpected = || Err(Miss::Final(RedisError::Unexpected));
        let reply = replies(&calls, frame).into_iter().next();
        reply.unwrap_or_else(unexpected)
    }

    /// Asks for all of `calls`, which join with each other, in one command.
    async fn exchange(&self, calls: &[Call], time: Duration) -> Result<Resp3Frame, Miss> {
        let (route, answers) = self.route(calls);
        let count = || answers.map(|count| count.load(Ordering::Relaxed));
        let before = count();
        match timeout(time, self.say(calls, route)).await {
            Ok(Ok(frame)) => {
                answers.map(|count| count.fetch_add(1, Ordering::Relaxed));
                Ok(frame)
            }
            Ok(Err(error)) => Err(self.miss(&error)),
            Err(_) => {
                if time >= self.patience && count() == before {
                    self.renew.notify_one();
                }
                let (fault, sent) = (TransientError::Silent, true);
                Err(Miss::TransientError { fault, sent })
            }
        }
    }

    async fn say(&self, calls: &[Call], route: ClusterHash) -> Result<Resp3Frame, FredError> {
        let say = |by| {
            let (name, args) = command(calls, by);
            let command = CustomCommand::new_static(name, route.clone(), false);
            self.fred.custom_raw(command, args)
        };
        let frame = say(By::Digest).await?;
        match is_no_script(&frame) {
            true => say(By::Source).await,
            false => Ok(frame),
        }
    }

    /// Where a command goes, and the count of what is answered from there.
    fn route(&self, calls: &[Call]) -> (ClusterHash, Option<&AtomicU64>) {
        if let [all] = &*self.answers {
            return (ClusterHash::FirstKey, Some(all));
        }
        let slot = calls
            .first()
            .map_or(0, |call| fred::util::redis_keyslot(&call.key));
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
            let _hears = Task(tokio::spawn(tracking::hear(fred.clone(), denial)));
            loop {
                let mut router = Task(fred.connect());
                tokio::select! {
                    _ = &mut router.0 => tokio::time::sleep(PAUSE).await,
                    () = renew.notified() => {}
                }
            }
        }))
    }

    /// What an error of `fred` means for the command that met it.
    fn miss(&self, error: &FredError) -> Miss {
        if error.details() == "Too many redirections." {
            let (fault, sent) = (TransientError::Redirected, false);
            return Miss::TransientError { fault, sent };
        }
        let unsent = error.is_canceled() || error.details() == "Failed to route command.";
        if let Some(refusal) = unsent.then(|| lock(&self.denial).clone()).flatten() {
            return Miss::Final(RedisError::Refused(refusal));
        }
        if unsent {
            return miss_before_sending();
        }
        let fault = match error.kind() {
            ErrorKind::Timeout => TransientError::Silent,
            _ => fault_named(code(error.details())).unwrap_or(TransientError::Broken),
        };
        Miss::TransientError { fault, sent: true }
    }
}

/// How long it is until `end`.
fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

/// No task panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn miss_before_sending() -> Miss {
    let (fault, sent) = (TransientError::Disconnected, false);
    Miss::TransientError { fault, sent }
}
