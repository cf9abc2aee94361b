//! The operations of the store contract, as commands and scripts.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    RedisError, ServerRejection,
    client::{RedisCommand, Reply, TrackingId},
    command_runner::{CommandOutcome, CommandRunner, Idempotency},
    record,
    scripts::{self, millis},
    tags::{IndexDue, Indexed},
};
use crate::{
    id::StoreKey,
    store::{Expected, Expiry, ReadOutcome, Tag, Version, WriteOutcome, WriteRequest},
};

/// Maximum length of a write's `expected` argument.
const MAX_EXPECTED_LEN: usize = 10;

/// The result of a read for the near cache.
pub(super) struct CacheableRead {
    pub(super) read: ReadOutcome,
    /// The remaining lifetime of the record.
    pub(super) ttl: Duration,
    /// The connection that reports changes of the record. `None` if none does.
    pub(super) source: Option<TrackingId>,
}

impl CommandRunner {
    pub(super) async fn read(&self, key: &StoreKey) -> Result<ReadOutcome, RedisError> {
        self.read_until(key, self.deadline()).await
    }

    async fn read_until(
        &self,
        key: &StoreKey,
        deadline: Instant,
    ) -> Result<ReadOutcome, RedisError> {
        let command = || RedisCommand::get(self.names.session(key));
        match self.query_until(deadline, command).await? {
            Reply::Nil => Ok(ReadOutcome::Absent),
            Reply::Bytes(value) => record::decode(key, &value),
            _ => Err(RedisError::UnexpectedReply),
        }
    }

    /// Reads a record for the near cache.
    pub(super) async fn read_for_cache(&self, key: &StoreKey) -> Result<CacheableRead, RedisError> {
        let command = || RedisCommand::script(&scripts::READ_WITH_TTL, self.names.session(key), []);
        let outcome = self
            .run(self.deadline(), Idempotency::Idempotent, command)
            .await?;
        let source = outcome.source;
        let (read, ttl) = match outcome.reply {
            Reply::Nil => (ReadOutcome::Absent, 0),
            Reply::Array(parts) => match <[Reply; 2]>::try_from(parts) {
                Ok([Reply::Bytes(value), Reply::Integer(ttl)]) => (
                    record::decode(key, &value)?,
                    u64::try_from(ttl).unwrap_or(0),
                ),
                _ => return Err(RedisError::UnexpectedReply),
            },
            _ => return Err(RedisError::UnexpectedReply),
        };
        let ttl = Duration::from_millis(ttl);
        Ok(CacheableRead { read, ttl, source })
    }

    pub(super) async fn read_and_touch(
        &self,
        key: &StoreKey,
        ttl: Duration,
    ) -> Result<ReadOutcome, RedisError> {
        let (script, deadline, ttl) = (&scripts::READ_AND_TOUCH, self.deadline(), millis(ttl));
        let command = || RedisCommand::script(script, self.names.session(key), [ttl.clone()]);
        let reply = match self.query_until(deadline, command).await {
            // Without the touch, the record is as good.
            Err(error) if error.rejects_writes() => return self.read_until(key, deadline).await,
            reply => reply?,
        };
        let value = match reply {
            Reply::Nil => return Ok(ReadOutcome::Absent),
            Reply::Bytes(value) => value,
            Reply::Array(parts) => {
                let due = IndexDue::parse(parts)?;
                let value = due.stored.clone();
                if !Box::pin(self.touch_indexed(key, ttl, due, deadline)).await? {
                    return self.read_until(key, deadline).await;
                }
                value
            }
            Reply::Integer(_) => return Err(RedisError::UnexpectedReply),
        };
        record::decode(key, &value)
    }

    pub(super) async fn write(&self, request: WriteRequest) -> Result<WriteOutcome, RedisError> {
        let version = self.versions.next_version();
        let ttl = match request.expiry {
            Expiry::After(ttl) if request.tags.is_empty() => millis(ttl),
            _ => return Box::pin(self.write_indexed(&request, version)).await,
        };
        let command = || self.write_command(&request, version, ttl.clone(), None);
        let (deadline, idempotency) = (self.deadline(), Idempotency::for_write(request.expected));
        let outcome = self.run(deadline, idempotency, command).await?;
        self.write_outcome(&request.key, version, outcome).await
    }

    /// Returns the command of a write. `indexed` selects the script for records with tags.
    pub(super) fn write_command(
        &self,
        request: &WriteRequest,
        version: Version,
        ttl: Bytes,
        indexed: Option<&Indexed>,
    ) -> RedisCommand {
        let (key, data, tags) = (&request.key, &request.data, &request.tags);
        // One allocation holds all arguments. Writes are frequent, and each allocation costs.
        let record_len = record::encoded_len(tags, data);
        let max_len = self.names.session_len() + MAX_EXPECTED_LEN + record_len;
        let mut buffer = BytesMut::with_capacity(max_len);
        self.names.put_session(key, &mut buffer);
        let name = buffer.split().freeze();
        match request.expected {
            Expected::Absent => {}
            Expected::Any => buffer.put_u8(b'*'),
            // The bytes of a record without tags from its version up to its data.
            Expected::Version(version) => {
                buffer.put_u64(version.get());
                buffer.put_u16(0);
            }
        }
        let expected = buffer.split().freeze();
        let until = indexed.map_or(0, |indexed| indexed.until);
        record::encode(key, version, (tags, until), data, &mut buffer);
        let args = [expected, buffer.freeze(), ttl];
        match indexed {
            None => RedisCommand::script(&scripts::WRITE, name, args),
            Some(indexed) => {
                let args = args.into_iter().chain([indexed.proof.clone()]);
                RedisCommand::script(&scripts::WRITE_INDEXED, name, args)
            }
        }
    }

    /// Returns the outcome of a write of `version`.
    pub(super) async fn write_outcome(
        &self,
        key: &StoreKey,
        version: Version,
        outcome: CommandOutcome,
    ) -> Result<WriteOutcome, RedisError> {
        match &outcome.reply {
            Reply::Integer(0) => Ok(WriteOutcome::Gone),
            Reply::Integer(_) => {
                self.wait_for_replicas(&outcome).await?;
                Ok(WriteOutcome::Done(version))
            }
            Reply::Bytes(value) => conflict(key, value, &outcome),
            _ => Err(RedisError::UnexpectedReply),
        }
    }

    pub(super) async fn destroy(&self, key: &StoreKey) -> Result<(), RedisError> {
        let mut ttl = millis(self.settings.tombstone_ttl);
        if self.settings.replicas > 0 && ttl == "0" {
            // A retried `DEL` writes nothing, and `WAIT` needs a write on its connection.
            ttl = Bytes::from_static(b"1");
        }
        let tombstone = || Bytes::from_static(record::TOMBSTONE);
        let command = || match (self.names.session(key), &*ttl) {
            (name, b"0") => RedisCommand::new("DEL", name, []),
            (name, _) => {
                let args = [tombstone(), Bytes::from_static(b"PX"), ttl.clone()];
                RedisCommand::new("SET", name, args)
            }
        };
        let (deadline, idempotency) = (self.deadline(), Idempotency::Idempotent);
        let outcome = match self.run(deadline, idempotency, command).await {
            Err(RedisError::Rejected(ServerRejection::OutOfMemory)) => {
                let args = || [tombstone(), ttl.clone()];
                let command =
                    || RedisCommand::script(&scripts::DESTROY, self.names.session(key), args());
                Box::pin(self.run(deadline, idempotency, command)).await?
            }
            outcome => outcome?,
        };
        self.wait_for_replicas(&outcome).await
    }

    pub(super) async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<bool, RedisError> {
        let (deadline, ttl) = (self.deadline(), millis(ttl));
        let command =
            || RedisCommand::script(&scripts::TOUCH, self.names.session(key), [ttl.clone()]);
        match self.query_until(deadline, command).await? {
            Reply::Array(parts) => {
                let due = IndexDue::parse(parts)?;
                Box::pin(self.touch_indexed(key, ttl, due, deadline)).await
            }
            reply => Ok(matches!(reply, Reply::Integer(1))),
        }
    }

    pub(super) async fn destroy_tagged(&self, tag: &Tag) -> Result<u64, RedisError> {
        let keys = self.tagged(tag).await?;
        for chunk in keys.chunks(100) {
            let destroys = chunk.iter().map(|key| self.destroy(key));
            for destroyed in futures_util::future::join_all(destroys).await {
                destroyed?;
            }
        }
        Ok(keys.len() as u64)
    }
}

fn conflict(
    key: &StoreKey,
    value: &Bytes,
    outcome: &CommandOutcome,
) -> Result<WriteOutcome, RedisError> {
    if let Some(last) = outcome.lost_reply {
        return Err(RedisError::UnknownOutcome { last });
    }
    match record::decode(key, value)? {
        ReadOutcome::Found(record) => Ok(WriteOutcome::Conflict(record)),
        ReadOutcome::Absent | ReadOutcome::Gone => Err(RedisError::UnexpectedReply),
    }
}
