//! The operations of the store contract, as commands and scripts.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    RedisError, ServerRejection,
    client::{RedisCommand, Reply},
    command_runner::{CommandOutcome, CommandRunner, Idempotency},
    record, scripts,
    tag_block::TagBlock,
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, Tag, Version, WriteOutcome},
};

/// Maximum length of a write's `expected` argument.
const MAX_EXPECTED_LEN: usize = 10;

impl CommandRunner {
    pub(super) async fn read(&self, key: &StoreKey) -> Result<ReadOutcome, RedisError> {
        match self
            .query(|| RedisCommand::get(self.names.session(key)))
            .await?
        {
            Reply::Nil => Ok(ReadOutcome::Absent),
            Reply::Bytes(value) => record::decode(key, &value),
            _ => Err(RedisError::UnexpectedReply),
        }
    }

    /// Reads a record together with its remaining lifetime.
    pub(super) async fn read_with_ttl(
        &self,
        key: &StoreKey,
    ) -> Result<(ReadOutcome, Duration), RedisError> {
        let command = || RedisCommand::script(&scripts::READ_WITH_TTL, self.names.session(key), []);
        let Reply::Array(parts) = self.query(command).await? else {
            return Err(RedisError::UnexpectedReply);
        };
        match <[Reply; 2]>::try_from(parts) {
            Ok([Reply::Nil, _]) => Ok((ReadOutcome::Absent, Duration::ZERO)),
            Ok([Reply::Bytes(value), Reply::Integer(ttl)]) => {
                let ttl = Duration::from_millis(u64::try_from(ttl).unwrap_or(0));
                Ok((record::decode(key, &value)?, ttl))
            }
            _ => Err(RedisError::UnexpectedReply),
        }
    }

    pub(super) async fn read_and_touch(
        &self,
        key: &StoreKey,
        ttl: Duration,
    ) -> Result<ReadOutcome, RedisError> {
        let (script, ttl) = (&scripts::READ_AND_TOUCH, millis(ttl));
        let command = || RedisCommand::script(script, self.names.session(key), [ttl.clone()]);
        let value = match self.query(command).await? {
            Reply::Nil => return Ok(ReadOutcome::Absent),
            Reply::Bytes(value) => value,
            Reply::Array(mut indexes_due) => {
                self.extend_indexes(key).await;
                let Some(Reply::Bytes(value)) = indexes_due.pop() else {
                    return Err(RedisError::UnexpectedReply);
                };
                value
            }
            Reply::Integer(_) => return Err(RedisError::UnexpectedReply),
        };
        record::decode(key, &value)
    }

    pub(super) async fn write(
        &self,
        key: &StoreKey,
        data: &[u8],
        ttl: Duration,
        expected: Expected,
    ) -> Result<WriteOutcome, RedisError> {
        let version = self.versions.next_version();
        let idempotency = match expected {
            Expected::Any => Idempotency::NotIdempotent,
            Expected::Absent | Expected::Version(_) => Idempotency::Idempotent,
        };
        let ttl = millis(ttl);
        let command = || self.write_command(key, version, data, ttl.clone(), expected);
        let outcome = self.run(idempotency, command).await?;
        match &outcome.reply {
            Reply::Integer(0) => Ok(WriteOutcome::Gone),
            Reply::Integer(status) => {
                self.wait_for_replicas(&outcome, key).await?;
                if *status == 2 {
                    self.extend_indexes(key).await;
                }
                Ok(WriteOutcome::Done(version))
            }
            Reply::Bytes(value) => conflict(key, value, &outcome),
            _ => Err(RedisError::UnexpectedReply),
        }
    }

    /// Returns the command of a write.
    fn write_command(
        &self,
        key: &StoreKey,
        version: Version,
        data: &[u8],
        ttl: Bytes,
        expected: Expected,
    ) -> RedisCommand {
        // One allocation holds all arguments. Writes are frequent, and each allocation costs.
        let max_len = self.names.session_len() + MAX_EXPECTED_LEN + record::HEADER_LEN + data.len();
        let mut buffer = BytesMut::with_capacity(max_len);
        self.names.put_session(key, &mut buffer);
        let name = buffer.split().freeze();
        match expected {
            Expected::Absent => {}
            Expected::Any => buffer.put_u8(b'*'),
            // The bytes of a record without tags from its version up to its data.
            Expected::Version(version) => {
                buffer.put_u64(version.get());
                buffer.put_u16(0);
            }
        }
        let expected = buffer.split().freeze();
        record::encode(key, version, data, &mut buffer);
        let args = [expected, buffer.freeze(), ttl];
        RedisCommand::script(&scripts::WRITE, name, args)
    }

    pub(super) async fn destroy(&self, key: &StoreKey) -> Result<(), RedisError> {
        let ttl = millis(self.settings.tombstone_ttl);
        let tombstone = || Bytes::from_static(record::TOMBSTONE);
        let [px, get] = [&b"PX"[..], b"GET"].map(Bytes::from_static);
        let command = || match (self.names.session(key), &*ttl) {
            (name, b"0") => RedisCommand::new("GETDEL", name, []),
            (name, _) => {
                let args = [tombstone(), px.clone(), ttl.clone(), get.clone()];
                RedisCommand::new("SET", name, args)
            }
        };
        let outcome = match self.run(Idempotency::Idempotent, command).await {
            Err(RedisError::Rejected(ServerRejection::OutOfMemory)) => {
                let args = || [tombstone(), ttl.clone()];
                let command =
                    || RedisCommand::script(&scripts::DESTROY, self.names.session(key), args());
                Box::pin(self.run(Idempotency::Idempotent, command)).await?
            }
            // Commands that return the old value reject a value of another type.
            Err(RedisError::ForeignValue) => {
                let command = || match (self.names.session(key), &*ttl) {
                    (name, b"0") => RedisCommand::new("DEL", name, []),
                    (name, _) => {
                        RedisCommand::new("SET", name, [tombstone(), px.clone(), ttl.clone()])
                    }
                };
                Box::pin(self.run(Idempotency::Idempotent, command)).await?
            }
            outcome => outcome?,
        };
        self.wait_for_replicas(&outcome, key).await?;
        let Reply::Bytes(value) = outcome.reply else {
            return Ok(());
        };
        let block = TagBlock::parse(&record::tag_block(&value));
        Box::pin(self.remove_from_indexes(key, &block)).await
    }

    pub(super) async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<bool, RedisError> {
        let ttl = millis(ttl);
        let command =
            || RedisCommand::script(&scripts::TOUCH, self.names.session(key), [ttl.clone()]);
        let reply = self.query(command).await?;
        if matches!(reply, Reply::Integer(2)) {
            self.extend_indexes(key).await;
        }
        Ok(matches!(reply, Reply::Integer(1 | 2)))
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

    /// Extends the lifetime of the session's entries in its tag indexes.
    async fn extend_indexes(&self, key: &StoreKey) {
        // The operation that found them due is done already. If this fails, the next touch repeats
        // it, long before an entry expires. Boxed, since it is rare. The futures of frequent
        // operations stay small.
        let _repeated_by_next_touch = Box::pin(self.add_to_indexes(key)).await;
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

/// Formats a lifetime in whole milliseconds, at most about three thousand years: Redis can still add
/// that to the current time.
fn millis(time: Duration) -> Bytes {
    const MAX: u128 = 100_000_000_000_000;
    time.as_millis().min(MAX).to_string().into()
}
