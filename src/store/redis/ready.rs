//! The check at the start of a service that the server does what the store needs.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;

use super::{
    RedisError, ServerRejection,
    client::{Node, RedisCommand, Reply},
    command_runner::CommandRunner,
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
/// 16,384 slots of a cluster, all fail with a probability of 0.002.
const MAX_KEYS: u32 = 100_000;

impl CommandRunner {
    /// Waits until the server answers. Then checks on each master that the commands of the store work,
    /// and that no other application uses the prefix.
    pub(super) async fn ready(&self) -> Result<(), RedisError> {
        let command = || RedisCommand::get(self.names.test(0));
        self.run_at_startup(self.settings.startup_timeout, command)
            .await?;
        for node in self.client.masters().await {
            if let Some(key) = self.key_of(&node) {
                self.check_commands(&key).await?;
                self.check_operations(&key).await?;
            }
        }
        self.mark_application().await
    }

    /// Returns a new key of the node. `None` if it has almost no slots.
    fn key_of(&self, node: &Arc<Node>) -> Option<StoreKey> {
        let mut keys = (0..MAX_KEYS).filter_map(|_| SessionId::generate().ok());
        keys.find_map(|id| {
            let key = id.store_key();
            let owner = self.client.node(&self.names.session(&key));
            owner
                .is_some_and(|owner| Arc::ptr_eq(&owner, node))
                .then_some(key)
        })
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

    /// Writes, reads, lists and destroys a session with a tag, and removes all of it.
    async fn check_operations(&self, key: &StoreKey) -> Result<(), RedisError> {
        // No session has this tag, since the id is new.
        let tag = Tag::new(format!("test:{key}")).map_err(|_| RedisError::UnexpectedReply)?;
        let mut tags = Tags::new();
        tags.insert(&tag).map_err(|_| RedisError::UnexpectedReply)?;
        let request = WriteRequest::new(key, "test", LIFETIME, Expected::Absent);
        let WriteOutcome::Done(version) = self.write(request).await? else {
            return Err(RedisError::UnexpectedReply);
        };
        let expected = Expected::Version(version);
        let request = WriteRequest::new(key, "test", LIFETIME, expected).tags(tags);
        self.write(request).await?;
        let found = self.read_and_touch(key, LIFETIME).await?;
        let tagged = self.tagged(&tag).await?;
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

    /// Replaces the marker, and reports another application that has written it. Does nothing at the
    /// second call.
    async fn mark_application(&self) -> Result<(), RedisError> {
        let Some(application) = &self.settings.application else {
            return Ok(());
        };
        if application.is_marked.load(Relaxed) {
            return Ok(());
        }
        let marker = application.marker(Clock::system().now());
        let command = || {
            let args = [marker.clone(), Bytes::from_static(b"GET")];
            RedisCommand::new("SET", self.names.application(), args)
        };
        let before = self.query(command).await?;
        application.is_marked.store(true, Relaxed);
        if let Reply::Bytes(before) = before
            && let Some(start) = application.other_start(&before)
        {
            log::shared_prefix(&self.settings.prefix, start);
            (application.on_shared_prefix)(&self.settings.prefix, start);
        }
        Ok(())
    }
}
