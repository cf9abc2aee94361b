//! Reports of the server about values that other clients change (`CLIENT TRACKING`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::{Client as Fred, WithOptions},
    error::Error as FredError,
    interfaces::{ClientLike, EventInterface, TrackingInterface},
    types::{ClusterHash, CustomCommand, Value, client::Invalidation, config::Server},
};
use tokio::{runtime::Handle, sync::broadcast::Receiver, time::timeout};

use super::{
    connection::{AbortOnDropHandle, Connection},
    reply::{AttemptError, Reply, TrackingId, parse_reply},
};
use crate::store::redis::{RedisError, ServerRejection};

/// A receiver of changes that other clients make.
pub(in crate::store::redis) trait InvalidationListener:
    Send + Sync
{
    /// Handles a change of the value under `name`.
    fn on_change(&self, name: &[u8]);

    /// Handles the end of the reports about the values that were read over this connection. Some may have
    /// been missed.
    fn on_tracking_lost(&self, source: TrackingId);
}

impl Connection {
    /// Starts the task that reports changes to `listener`.
    pub(super) fn track_changes(
        &self,
        runtime: &Handle,
        listener: Arc<dyn InvalidationListener>,
    ) -> AbortOnDropHandle {
        let (fred, tracking) = (self.fred().clone(), Arc::clone(self.tracking_number()));
        let (reconnect, time_limit) = (Arc::clone(self.reconnect()), self.command_timeout());
        AbortOnDropHandle(runtime.spawn(async move {
            let mut events = ConnectionEvents::new(&fred);
            loop {
                match run_command(&fred, time_limit, "CLIENT", &["TRACKING", "ON"]).await {
                    Some(Ok(_)) => {
                        let guard = TrackingGuard::new(&tracking, &*listener);
                        let is_silent = events.forward(&fred, time_limit, &*listener).await;
                        drop(guard);
                        if is_silent {
                            reconnect.notify_one();
                        }
                    }
                    // The user may not run it. Each attempt would be in the server's log.
                    Some(Err(AttemptError::Final(RedisError::Rejected(
                        ServerRejection::Denied { .. },
                    )))) => events.wait_for_opening().await,
                    Some(Err(AttemptError::Final(_))) => {
                        tokio::time::sleep(ConnectionEvents::REJECTION_PAUSE).await;
                    }
                    Some(Err(_)) | None => {}
                }
                tokio::time::sleep(ConnectionEvents::RETRY_PAUSE).await;
                events = ConnectionEvents::new(&fred);
            }
        }))
    }
}

/// A guard that shows a connection as tracked. It also ends if its task is aborted.
struct TrackingGuard<'t> {
    source: TrackingId,
    number: &'t AtomicU64,
    listener: &'t dyn InvalidationListener,
}

impl<'t> TrackingGuard<'t> {
    fn new(number: &'t AtomicU64, listener: &'t dyn InvalidationListener) -> Self {
        let source = TrackingId::next();
        number.store(TrackingId::to_number(Some(source)), Ordering::SeqCst);
        Self {
            source,
            number,
            listener,
        }
    }
}

impl Drop for TrackingGuard<'_> {
    fn drop(&mut self) {
        self.number
            .store(TrackingId::to_number(None), Ordering::SeqCst);
        self.listener.on_tracking_lost(self.source);
    }
}

/// The events of one connection.
struct ConnectionEvents {
    changes: Receiver<Invalidation>,
    errors: Receiver<(FredError, Option<Server>)>,
    connects: Receiver<Server>,
}

impl ConnectionEvents {
    /// The pause between two attempts to switch tracking on.
    const RETRY_PAUSE: Duration = Duration::from_millis(50);

    /// The pause after a rejection that is no missing permission.
    const REJECTION_PAUSE: Duration = Duration::from_secs(1);

    /// The time between two checks of a connection without traffic. A copy of a value is stale by at
    /// most this and the command timeout.
    const HEARTBEAT: Duration = Duration::from_secs(1);

    fn new(fred: &WithOptions<Fred>) -> Self {
        Self {
            changes: fred.invalidation_rx(),
            errors: fred.error_rx(),
            connects: fred.reconnect_rx(),
        }
    }

    /// Waits until the connection is opened again.
    async fn wait_for_opening(&mut self) {
        // If events were missed, there was an opening among them.
        let _opened = self.connects.recv().await;
    }

    /// Reports changes to `listener` until some may be missed. Returns `true` if the server no longer
    /// answers.
    async fn forward(
        &mut self,
        fred: &WithOptions<Fred>,
        time_limit: Duration,
        listener: &dyn InvalidationListener,
    ) -> bool {
        let mut heartbeat = tokio::time::interval(Self::HEARTBEAT);
        loop {
            tokio::select! {
                // Changes come before the errors that end them.
                biased;
                change = self.changes.recv() => match change {
                    Ok(change) => {
                        let keys = change.keys.iter();
                        keys.for_each(|key| listener.on_change(key.as_bytes()));
                    }
                    Err(_) => return false,
                },
                _ = self.errors.recv() => return false,
                _ = self.connects.recv() => return false,
                // A rejection is an answer too.
                _ = heartbeat.tick() => if run_command(fred, time_limit, "PING", &[]).await.is_none() {
                    return true;
                },
            }
        }
    }
}

/// Runs a command without a key. Returns `None` if no reply arrives in time.
async fn run_command(
    fred: &WithOptions<Fred>,
    time_limit: Duration,
    name: &'static str,
    args: &[&'static str],
) -> Option<Result<Reply, AttemptError>> {
    let command = CustomCommand::new_static(name, ClusterHash::Random, false);
    let args = args.iter().map(|arg| Value::from_static_str(arg)).collect();
    let replied = timeout(time_limit, fred.custom_raw::<Value>(command, args)).await;
    replied.ok()?.ok().map(parse_reply)
}
