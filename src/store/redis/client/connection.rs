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
        ClusterHash, CustomCommand, Resp3Frame,
        config::{Config, Options, ServerConfig},
    },
};
use tokio::{runtime::Handle, sync::Notify, task::JoinHandle, time::timeout};

use super::{
    command::{RedisCommand, ScriptRef, encode},
    config,
    queue::Queue,
    reply::{
        AttemptError, Reply, auth_error, error_code, is_no_script, split_batch, transient_error,
    },
};
use crate::{
    store::redis::{RedisError, ServerRejection, TransientError, settings::Settings},
    sync::lock,
};

/// The number of a cluster's slots that share one reply count.
const SLOTS_PER_COUNT: u16 = 256;

/// The pause between the end of a router task and its next start.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// One `fred` client: a connection to a server, or to each master of a cluster.
pub(super) struct Connection {
    fred: WithOptions<Fred>,
    /// The number of replies, by slots. The silence of one node must not be hidden by replies of
    /// another. Outside a cluster there is one count.
    reply_counts: Box<[AtomicU64]>,
    command_timeout: Duration,
    queue: Mutex<Queue>,
    /// Notified to drop the connection and open it again.
    reconnect: Arc<Notify>,
    /// Set while the server reports changes to the values that are read over this connection.
    is_tracked: Arc<AtomicBool>,
    /// The server's last rejection of the user or password while connecting.
    auth_error: Arc<Mutex<Option<ServerRejection>>>,
}

/// A handle that aborts its task when it is dropped.
pub(super) struct AbortOnDropHandle<T = ()>(pub(super) JoinHandle<T>);

impl<T> Drop for AbortOnDropHandle<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub(super) fn new(config: Config, settings: &Settings) -> Self {
        let counts = match &config.server {
            ServerConfig::Clustered { .. } => 16_384 / SLOTS_PER_COUNT,
            _ => 1,
        };
        let fred = config::new_fred(config, settings).with_options(&Options {
            fail_fast: true,
            ..Options::default()
        });
        Self {
            fred,
            reply_counts: (0..counts).map(|_| AtomicU64::new(0)).collect(),
            command_timeout: settings.attempt_timeout(),
            queue: Mutex::default(),
            reconnect: Arc::default(),
            is_tracked: Arc::default(),
            auth_error: Arc::default(),
        }
    }

    pub(super) fn is_clustered(&self) -> bool {
        self.reply_counts.len() > 1
    }

    pub(super) fn is_connected(&self) -> bool {
        self.fred.is_connected()
    }

    pub(super) fn is_tracked(&self) -> bool {
        self.is_tracked.load(Ordering::SeqCst)
    }

    pub(super) const fn command_timeout(&self) -> Duration {
        self.command_timeout
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

    pub(super) const fn tracking(&self) -> &Arc<AtomicBool> {
        &self.is_tracked
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
        let (route, replies) = self.route(commands);
        let count = || replies.map(|count| count.load(Ordering::Relaxed));
        let before = count();
        match timeout(time_limit, self.send(commands, route)).await {
            Ok(Ok(frame)) => {
                replies.map(|count| count.fetch_add(1, Ordering::Relaxed));
                Ok(frame)
            }
            Ok(Err(error)) => Err(self.classify_error(&error)),
            Err(_) => {
                if time_limit >= self.command_timeout && count() == before {
                    self.reconnect.notify_one();
                }
                Err(AttemptError::TIMEOUT)
            }
        }
    }

    async fn send(
        &self,
        commands: &[RedisCommand],
        route: ClusterHash,
    ) -> Result<Resp3Frame, FredError> {
        let send = |script_ref| {
            let (name, args) = encode(commands, script_ref);
            let command = CustomCommand::new_static(name, route.clone(), false);
            self.fred.custom_raw(command, args)
        };
        let frame = send(ScriptRef::Digest).await?;
        match is_no_script(&frame) {
            true => send(ScriptRef::Source).await,
            false => Ok(frame),
        }
    }

    /// Returns the destination of a command, and the count of replies from there.
    fn route(&self, commands: &[RedisCommand]) -> (ClusterHash, Option<&AtomicU64>) {
        if let [all] = &*self.reply_counts {
            return (ClusterHash::FirstKey, Some(all));
        }
        let slot = commands
            .first()
            .map_or(0, |command| fred::util::redis_keyslot(command.key()));
        let replies = self.reply_counts.get(usize::from(slot / SLOTS_PER_COUNT));
        (ClusterHash::Custom(slot), replies)
    }

    /// Starts the task that keeps this connection open.
    pub(super) fn supervise(&self, runtime: &Handle) -> AbortOnDropHandle {
        let (fred, auth_error) = (self.fred.clone(), Arc::clone(&self.auth_error));
        let reconnect = Arc::clone(&self.reconnect);
        AbortOnDropHandle(runtime.spawn(async move {
            let watching = watch_auth_errors(fred.clone(), auth_error);
            let _watcher = AbortOnDropHandle(tokio::spawn(watching));
            loop {
                let mut router = AbortOnDropHandle(fred.connect());
                tokio::select! {
                    _ = &mut router.0 => tokio::time::sleep(RESTART_PAUSE).await,
                    () = reconnect.notified() => {}
                }
            }
        }))
    }

    /// Converts an error of `fred` into the failure of an attempt.
    fn classify_error(&self, error: &FredError) -> AttemptError {
        if error.details() == "Too many redirections." {
            return AttemptError::Transient {
                error: TransientError::Redirected,
                sent: false,
            };
        }
        let unsent = error.is_canceled() || error.details() == "Failed to route command.";
        if let Some(rejection) = unsent.then(|| lock(&self.auth_error).clone()).flatten() {
            return AttemptError::Final(RedisError::Rejected(rejection));
        }
        if unsent {
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

/// Stores the server's rejection of the user or password, until a connection succeeds.
async fn watch_auth_errors(
    fred: WithOptions<Fred>,
    rejection: Arc<Mutex<Option<ServerRejection>>>,
) {
    let (mut errors, mut connects) = (fred.error_rx(), fred.reconnect_rx());
    loop {
        tokio::select! {
            Ok((error, _)) = errors.recv() => {
                let new = auth_error(error_code(error.details()));
                if new.is_some() {
                    *lock(&rejection) = new;
                }
            }
            Ok(_) = connects.recv() => *lock(&rejection) = None,
            else => return,
        }
    }
}

/// Returns the time until `deadline`.
pub(super) fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
