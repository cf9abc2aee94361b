//! News of what other clients change, and of what becomes of a link.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
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
    Link, Task,
    call::{code, denied, reply},
    lock,
};
use crate::store::redis::ServerRejection;

/// Who is told of what other clients change.
pub(in crate::store::redis) trait Hear: Send + Sync {
    /// The value under this name has changed.
    fn changed(&self, name: &[u8]);

    /// Changes may have been missed.
    fn missed(&self);
}

impl Link {
    /// Starts the task that has the listener told of changes.
    pub(super) fn track(&self, runtime: &Handle, listener: Arc<dyn Hear>) -> Task {
        let (fred, tracked) = (self.fred.clone(), Arc::clone(&self.tracked));
        let (renew, patience) = (Arc::clone(&self.renew), self.patience);
        Task(runtime.spawn(async move {
            let mut events = Events::new(&fred);
            loop {
                if say(&fred, patience, "CLIENT", &["TRACKING", "ON"]).await {
                    tracked.store(true, Ordering::SeqCst);
                    let silent = events.pass_on(&fred, patience, &*listener).await;
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
    async fn pass_on(
        &mut self,
        fred: &WithOptions<Fred>,
        patience: Duration,
        listener: &dyn Hear,
    ) -> bool {
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
                _ = beat.tick() => if !say(fred, patience, "PING", &[]).await {
                    return true;
                },
            }
        }
    }
}

/// Whether the server takes this command, in time.
async fn say(
    fred: &WithOptions<Fred>,
    patience: Duration,
    name: &'static str,
    args: &[&'static str],
) -> bool {
    let command = CustomCommand::new_static(name, ClusterHash::Random, false);
    let args = args.iter().map(|arg| Value::from_static_str(arg)).collect();
    let answer = timeout(patience, fred.custom_raw::<Value>(command, args)).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|frame| reply(frame).is_ok()))
}

/// Remembers what the server says about user and password, until a connection succeeds.
pub(super) async fn hear(fred: WithOptions<Fred>, denial: Arc<Mutex<Option<ServerRejection>>>) {
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
