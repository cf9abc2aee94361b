//! The check at the start of a service that the server does what the store needs.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    ConnectProblem, RedisError, ServerRejection,
    application::Application,
    client::{NO_CLUSTER, Node, RedisCommand, Reply, UNKNOWN_COMMAND},
    command_runner::CommandRunner,
    key_names::KeyNames,
    log,
    scripts::CHECK_COMMANDS,
};
use crate::{
    clock::Clock,
    id::{SessionId, StoreKey},
    store::{Expected, ReadOutcome, Tag, Tags, WriteOutcome, WriteRequest},
};

/// The lifetime of what the check stores. It removes that itself, unless it fails.
const LIFETIME: Duration = Duration::from_secs(10);

/// Maximum number of random keys that are tried to find one of a node. If the node has one of the
/// 16,384 slots of a cluster, all fail with a probability of 0.002. With a hash tag in the prefix, one is enough.
const MAX_KEYS: u32 = 100_000;

/// The number of keys with which the check looks for a redirection. A node with a third of the slots has all of
/// them with a probability of 0.0002.
const CHECKED_SLOTS: u32 = 8;

impl CommandRunner {
    /// Waits until the server answers. Then checks on each master that the commands of the store work,
    /// and that no other application uses the prefix.
    pub(super) async fn ready(&self) -> Result<(), RedisError> {
        let (timeout, started) = (self.settings.startup_timeout, Instant::now());
        let command = || RedisCommand::get(self.names.test(0));
        let answered = self.run_at_startup(timeout, command).await;
        answered.map_err(|error| self.explain_first_error(error))?;
        if self.client.unserved().is_none() {
            self.check_slots().await?;
        }
        let masters = self.client.masters(started + timeout).await;
        let is_cluster = masters.len() > 1;
        for node in masters {
            let Some(key) = self.key_of(&node) else {
                continue;
            };
            if is_cluster {
                // The nodes of a new cluster learn one after the other that it is complete.
                let command = || RedisCommand::get(self.names.session(&key));
                let timeout = timeout.saturating_sub(started.elapsed());
                self.run_at_startup(timeout, command).await?;
            }
            let checked = self.check_node(&node, &key).await;
            checked.map_err(|error| match error {
                RedisError::Rejected(rejection) => RedisError::RejectedByNode {
                    server: Arc::clone(node.server()),
                    rejection,
                },
                error => error,
            })?;
        }
        self.mark_application().await
    }

    /// Names the server that rejected the first command.
    fn explain_first_error(&self, error: RedisError) -> RedisError {
        let (RedisError::Rejected(rejection), Ok(node)) =
            (&error, self.client.node(&self.names.test(0)))
        else {
            return error;
        };
        let server = Arc::clone(node.server());
        match rejection {
            ServerRejection::Other(text) if **text == *UNKNOWN_COMMAND => RedisError::Connect {
                server,
                problem: ConnectProblem::NoGet,
            },
            rejection => RedisError::RejectedByNode {
                server,
                rejection: rejection.clone(),
            },
        }
    }

    /// Checks that the commands of the store work on the node of `key`.
    async fn check_node(&self, node: &Arc<Node>, key: &StoreKey) -> Result<(), RedisError> {
        self.check_commands(key).await?;
        self.check_own_commands(node, key).await?;
        // No session has such a tag, since the id is new.
        let tags = (0..MAX_KEYS).filter_map(|number| Tag::new(format!("test:{key}:{number}")).ok());
        let mut tags = tags.filter(|tag| self.is_in(node, &self.names.tag_index(tag.as_str())));
        match tags.next() {
            Some(tag) => self.check_operations(key, &tag).await,
            None => Ok(()),
        }
    }

    fn is_in(&self, node: &Arc<Node>, name: &[u8]) -> bool {
        let owner = self.client.node(name);
        owner.is_ok_and(|owner| Arc::ptr_eq(&owner, node))
    }

    /// Returns a new key of the node. `None` if it has almost no slots, or not that of the prefix's hash tag.
    fn key_of(&self, node: &Arc<Node>) -> Option<StoreKey> {
        find_key(&self.names, |name| self.is_in(node, name))
    }

    /// Reads some keys. A node of a cluster, under the URL of one server, redirects some of them.
    async fn check_slots(&self) -> Result<(), RedisError> {
        for number in 1..=CHECKED_SLOTS {
            self.query(|| RedisCommand::get(self.names.test(number)))
                .await?;
        }
        Ok(())
    }

    async fn check_commands(&self, key: &StoreKey) -> Result<(), RedisError> {
        let command = || RedisCommand::script_source(&CHECK_COMMANDS, self.names.session(key));
        let timeout = self.settings.operation_timeout;
        match self.run_at_startup(timeout, command).await? {
            Reply::Bytes(denied) if denied.is_empty() => Ok(()),
            Reply::Bytes(denied) => Err(RedisError::Rejected(ServerRejection::Denied {
                code: "NOPERM".into(),
                command: Some(String::from_utf8_lossy(&denied).into()),
            })),
            _ => Err(RedisError::UnexpectedReply),
        }
    }

    /// Checks the commands of the client itself on the node of `key`.
    async fn check_own_commands(&self, node: &Arc<Node>, key: &StoreKey) -> Result<(), RedisError> {
        let timeout = self.settings.operation_timeout;
        for (name, args) in self.client.own_commands() {
            let command = || RedisCommand::keyless_at(self.names.session(key), name, args);
            let checked = self.run_at_startup(timeout, command).await;
            checked.map_err(|error| match error {
                RedisError::Rejected(ServerRejection::Other(text)) if *text == *NO_CLUSTER => {
                    RedisError::Connect {
                        server: Arc::clone(node.server()),
                        problem: ConnectProblem::NoCluster,
                    }
                }
                error => error,
            })?;
        }
        Ok(())
    }

    /// Writes, reads, lists and destroys a session with a tag, and removes all of it.
    async fn check_operations(&self, key: &StoreKey, tag: &Tag) -> Result<(), RedisError> {
        let mut tags = Tags::new();
        tags.insert(tag).map_err(|_| RedisError::UnexpectedReply)?;
        let request = WriteRequest::new(key, "test", LIFETIME, Expected::Absent);
        let WriteOutcome::Done(version) = self.write(request).await? else {
            return Err(RedisError::UnexpectedReply);
        };
        let expected = Expected::Version(version);
        let request = WriteRequest::new(key, "test", LIFETIME, expected).tags(tags);
        self.write(request).await?;
        let found = self.read_and_touch(key, LIFETIME).await?;
        let tagged = self.tagged(tag).await?;
        let is_found = matches!(&found, ReadOutcome::Found(record) if record.data == "test");
        if !is_found || tagged != [*key] {
            return Err(RedisError::UnexpectedReply);
        }
        self.destroy(key).await?;
        for name in [self.names.session(key), self.names.tag_index(tag.as_str())] {
            self.query(|| RedisCommand::new("DEL", name.clone(), []))
                .await?;
        }
        Ok(())
    }

    /// Replaces the marker, and reports another application that has written it. Does nothing once that has
    /// succeeded.
    async fn mark_application(&self) -> Result<(), RedisError> {
        let Some(application) = &self.settings.application else {
            return Ok(());
        };
        if application.is_marked.load(Relaxed) {
            return Ok(());
        }
        let name = || self.names.application();
        // If the reply to `SET` is lost, its next attempt returns the new marker. So read the former one before.
        let found = self.query(|| RedisCommand::get(name())).await?;
        self.report_other(application, &found);
        let marker = application.marker(Clock::system().now());
        let command = || {
            let args = [marker.clone(), Bytes::from_static(b"GET")];
            RedisCommand::new("SET", name(), args)
        };
        let replaced = self.query(command).await?;
        application.is_marked.store(true, Relaxed);
        // Another application may have started between the two commands.
        self.report_other(application, &replaced);
        Ok(())
    }

    /// Reports another application, if it wrote this marker and this start has reported none.
    fn report_other(&self, application: &Application, marker: &Reply) {
        let Reply::Bytes(marker) = marker else {
            return;
        };
        let Some(start) = application.other_start(marker) else {
            return;
        };
        if !application.is_reported.swap(true, Relaxed) {
            log::shared_prefix(&self.settings.prefix, start);
            (application.on_shared_prefix)(&self.settings.prefix, start);
        }
    }
}

/// Returns a new key whose name `is_in_node`.
fn find_key(names: &KeyNames, is_in_node: impl Fn(&[u8]) -> bool) -> Option<StoreKey> {
    let max = if names.has_hash_tag() { 1 } else { MAX_KEYS };
    let mut keys = (0..max).filter_map(|_| Some(SessionId::generate().ok()?.store_key()));
    keys.find(|key| is_in_node(&names.session(key)))
}

#[cfg(test)]
mod tests;
