//! A connection: one `fred` client, the task that keeps it connected, and the queue of its batches.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fred::{
    clients::{Client as Fred, WithOptions},
    error::{Error as FredError, ErrorKind},
    interfaces::{ClientLike, EventInterface},
    types::{
        ClusterHash, CustomCommand, Resp3Frame, Value,
        config::{Config, Options},
    },
};
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast::error::RecvError},
    task::JoinHandle,
    time::timeout,
};

use super::{
    command::{BatchSlots, RedisCommand, ScriptRef, encode},
    config,
    fault::{self, Target},
    queue::Queue,
    reply::{
        AttemptError, Reply, TrackingId, error_code, is_no_script, split_batch, transient_error,
    },
};
use crate::{
    store::redis::{ConnectProblem, RedisError, TransientError, settings::Settings},
    sync::lock,
};

/// The pause between the end of a router task and its next start.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// One `fred` client: a connection to one server.
pub(super) struct Connection {
    fred: WithOptions<Fred>,
    target: Arc<Target>,
    /// The number of replies.
    replies: AtomicU64,
    /// The time of the last reply.
    replied_at: Mutex<Option<Instant>>,
    command_timeout: Duration,
    slots: BatchSlots,
    queue: Mutex<Queue>,
    /// Notified to drop the connection and open it again.
    reconnect: Arc<Notify>,
    /// Notified to drop the connection if it does not reply to a test.
    suspected: Arc<Notify>,
    /// Set if a request has ended without a reply. `fred` may still have its command in its channel.
    has_abandoned: Arc<AtomicBool>,
    silence: Mutex<Silence>,
    /// The number of the [`TrackingId`] under which the server reports changes to the values that are read over
    /// this connection. Zero if it does not.
    tracking: Arc<AtomicU64>,
    /// The reason why there is no connection.
    problem: Arc<Mutex<Option<ConnectProblem>>>,
    openings: Arc<Openings>,
}

/// The time that requests without a reply have waited since the last reply.
struct Silence {
    waited: Duration,
    /// The end of the request that was counted last.
    until: Instant,
    /// The number of replies so far.
    replies: u64,
}

/// The openings of the connections of a node.
#[derive(Default)]
pub(super) struct Openings {
    /// Notified when a connection was opened.
    pub(super) notify: Notify,
    /// Set once the server has accepted a connection.
    was_opened: AtomicBool,
}

/// A handle that aborts its task when it is dropped.
pub(super) struct AbortOnDropHandle<T = ()>(pub(super) JoinHandle<T>);

impl<T> Drop for AbortOnDropHandle<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Makes a connection that is not open yet. `events` is the capacity of the client's event channels.
    pub(super) fn new(
        (config, events): (Config, usize),
        settings: &Settings,
        slots: BatchSlots,
        openings: Arc<Openings>,
    ) -> Self {
        let target = Arc::new(Target::new(&config));
        let fred = config::new_fred(config, settings, events).with_options(&Options {
            fail_fast: true,
            ..Options::default()
        });
        Self {
            fred,
            target,
            replies: AtomicU64::new(0),
            replied_at: Mutex::default(),
            command_timeout: settings.attempt_timeout(),
            slots,
            queue: Mutex::default(),
            reconnect: Arc::default(),
            suspected: Arc::default(),
            has_abandoned: Arc::default(),
            silence: Mutex::new(Silence {
                waited: Duration::ZERO,
                until: Instant::now(),
                replies: 0,
            }),
            tracking: Arc::default(),
            problem: Arc::default(),
            openings,
        }
    }

    /// Returns the number of replies so far.
    pub(super) fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    /// Returns `true` if a reply has arrived at this time or later.
    pub(super) fn has_replied_since(&self, time: Instant) -> bool {
        lock(&self.replied_at).is_some_and(|replied_at| replied_at >= time)
    }

    /// Returns the reason why there is no connection, if it is known.
    pub(super) fn problem(&self) -> Option<ConnectProblem> {
        lock(&self.problem).clone()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.fred.is_connected()
    }

    /// Returns the number under which the server reports changes now.
    pub(super) fn tracking(&self) -> Option<TrackingId> {
        TrackingId::from_number(self.tracking.load(Ordering::SeqCst))
    }

    pub(super) const fn command_timeout(&self) -> Duration {
        self.command_timeout
    }

    pub(super) const fn slots(&self) -> BatchSlots {
        self.slots
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    pub(super) const fn fred(&self) -> &WithOptions<Fred> {
        &self.fred
    }

    pub(super) const fn reconnect(&self) -> &Arc<Notify> {
        &self.reconnect
    }

    pub(super) const fn tracking_number(&self) -> &Arc<AtomicU64> {
        &self.tracking
    }

    pub(super) async fn attempt_alone(
        &self,
        command: RedisCommand,
        deadline: Instant,
    ) -> Result<Reply, AttemptError> {
        let commands = [command];
        let time_limit = remaining(deadline).min(self.command_timeout);
        let frame = self.request(&commands, time_limit).await?;
        let unexpected = || Err(AttemptError::Final(RedisError::UnexpectedReply));
        let reply = split_batch(&commands, frame).into_iter().next();
        reply.unwrap_or_else(unexpected)
    }

    /// Sends commands that batch with each other as one command, and returns its reply.
    pub(super) async fn request(
        &self,
        commands: &[RedisCommand],
        time_limit: Duration,
    ) -> Result<Resp3Frame, AttemptError> {
        let mut guard = RequestGuard {
            connection: self,
            started: Instant::now(),
            replies: self.replies(),
            is_done: false,
        };
        let Ok(sent) = timeout(time_limit, self.send(commands)).await else {
            return Err(AttemptError::TIMEOUT);
        };
        guard.is_done = true;
        let frame = sent.map_err(|error| self.classify_error(&error))?;
        self.replies.fetch_add(1, Ordering::Relaxed);
        *lock(&self.replied_at) = Some(Instant::now());
        Ok(frame)
    }

    /// Records that a request without a reply has ended. Opens the connection again if the request has waited for
    /// the command timeout, and no other one got a reply meanwhile. Tests the connection if such requests have
    /// waited for that time in total.
    ///
    /// If every caller stops waiting before the command timeout, no single request finds a silent connection, and
    /// none gets the late reply of a slow one.
    fn record_unanswered(&self, request: &RequestGuard<'_>) {
        self.has_abandoned.store(true, Ordering::Relaxed);
        let (now, replies) = (Instant::now(), self.replies());
        let mut silence = lock(&self.silence);
        if silence.replies != replies {
            (silence.waited, silence.replies) = (Duration::ZERO, replies);
        }
        if request.replies != replies {
            return;
        }
        // Waits at the same time count once.
        let start = request.started.max(silence.until);
        silence.waited += now.saturating_duration_since(start);
        silence.until = now;
        if now.saturating_duration_since(request.started) >= self.command_timeout {
            silence.waited = Duration::ZERO;
            self.reconnect.notify_one();
        } else if silence.waited >= self.command_timeout {
            silence.waited = Duration::ZERO;
            self.suspected.notify_one();
        }
    }

    async fn send(&self, commands: &[RedisCommand]) -> Result<Resp3Frame, FredError> {
        let send = |script_ref| {
            let (name, args) = encode(commands, script_ref, self.slots);
            let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
            // This future has several kilobytes. The futures around it are moved often.
            Box::pin(self.fred.custom_raw(command, args))
        };
        let frame = send(ScriptRef::Digest).await?;
        match is_no_script(&frame) {
            true => send(ScriptRef::Source).await,
            false => Ok(frame),
        }
    }

    /// Starts the task that keeps this connection open.
    pub(super) fn supervise(&self, runtime: &Handle) -> AbortOnDropHandle {
        let (fred, reconnect) = (self.fred.clone(), Arc::clone(&self.reconnect));
        let (suspected, time_limit) = (Arc::clone(&self.suspected), self.command_timeout);
        let (target, problem) = (Arc::clone(&self.target), Arc::clone(&self.problem));
        let (openings, has_abandoned) =
            (Arc::clone(&self.openings), Arc::clone(&self.has_abandoned));
        AbortOnDropHandle(runtime.spawn(async move {
            let on_error = {
                let reconnect = Arc::clone(&reconnect);
                // A new router does not have the commands of the former one.
                move || {
                    if has_abandoned.swap(false, Ordering::Relaxed) {
                        reconnect.notify_one();
                    }
                }
            };
            let watching = watch_problems(fred.clone(), target, (problem, on_error), openings);
            let _watcher = AbortOnDropHandle(tokio::spawn(watching));
            loop {
                let mut router = AbortOnDropHandle(fred.connect());
                tokio::select! {
                    _ = &mut router.0 => tokio::time::sleep(RESTART_PAUSE).await,
                    () = reconnect.notified() => {}
                    () = wait_for_silence(&fred, &suspected, time_limit) => {}
                }
            }
        }))
    }

    /// Converts an error of `fred` into the failure of an attempt.
    fn classify_error(&self, error: &FredError) -> AttemptError {
        let permanent = self.problem().filter(fault::is_permanent);
        if let Some(problem) = permanent
            && !self.openings.was_opened.load(Ordering::Relaxed)
        {
            let server = Arc::clone(self.target.name());
            return AttemptError::Final(RedisError::Connect { server, problem });
        }
        if error.is_canceled() || error.details() == "Failed to route command." {
            return AttemptError::NOT_SENT;
        }
        let error = match error.kind() {
            ErrorKind::Timeout => TransientError::Timeout,
            _ => transient_error(error_code(error.details()))
                .unwrap_or(TransientError::ConnectionLost),
        };
        AttemptError::Transient { error, sent: true }
    }
}

/// A guard that records a request without a reply: its time is over, or its caller has stopped waiting.
struct RequestGuard<'c> {
    connection: &'c Connection,
    started: Instant,
    /// The number of replies at the start.
    replies: u64,
    is_done: bool,
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.connection.record_unanswered(self);
        }
    }
}

/// Tests a connection whenever it is suspected to be silent, until it does not reply to a test in time.
async fn wait_for_silence(fred: &WithOptions<Fred>, suspected: &Notify, time_limit: Duration) {
    loop {
        suspected.notified().await;
        // Without a connection, this fails at once.
        let command = CustomCommand::new_static("TIME", ClusterHash::Random, false);
        let test = Box::pin(fred.custom_raw::<Value>(command, Vec::new()));
        if timeout(time_limit, test).await.is_err() {
            return;
        }
    }
}

/// Stores the reason why there is no connection, until a connection succeeds. Calls `on_error` for each error.
async fn watch_problems(
    fred: WithOptions<Fred>,
    target: Arc<Target>,
    (problem, on_error): (Arc<Mutex<Option<ConnectProblem>>>, impl Fn()),
    openings: Arc<Openings>,
) {
    let (mut errors, mut connects) = (fred.error_rx(), fred.reconnect_rx());
    loop {
        let received = tokio::select! {
            received = errors.recv() => received.map(|(error, _)| Some(error)),
            received = connects.recv() => received.map(|_| None),
        };
        let new = match received {
            Ok(Some(error)) => {
                on_error();
                let problem = target.diagnose(&error).await;
                // The connection may have succeeded meanwhile.
                (!fred.is_connected()).then_some(problem)
            }
            Ok(None) => {
                openings.was_opened.store(true, Ordering::Relaxed);
                openings.notify.notify_one();
                None
            }
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        *lock(&problem) = new;
    }
}

/// Returns the time until `deadline`.
pub(super) fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
