//! The contract's methods, as commands and scripts.

use std::time::Duration;

use bytes::Bytes;

use super::{
    RedisError, Refusal,
    client::{Call, Reply},
    engine::{Answer, Engine, Repeat},
    record, scripts,
    tags::TagBlock,
};
use crate::{
    id::Key,
    store::{Expected, Read, Tag, Version, Written},
};

impl Engine {
    pub(super) async fn read(&self, key: &Key) -> Result<Read, RedisError> {
        match self.ask(|| Call::get(self.names.session(key))).await? {
            Reply::Nothing => Ok(Read::Absent),
            Reply::Bytes(value) => record::decode(key, &value),
            _ => Err(RedisError::Unexpected),
        }
    }

    /// Reads, and says how long what was read lives yet.
    pub(super) async fn read_for_keeping(&self, key: &Key) -> Result<(Read, Duration), RedisError> {
        let call = || Call::script(&scripts::READ_FOR_KEEPING, self.names.session(key), []);
        let Reply::List(parts) = self.ask(call).await? else {
            return Err(RedisError::Unexpected);
        };
        match <[Reply; 2]>::try_from(parts) {
            Ok([Reply::Nothing, _]) => Ok((Read::Absent, Duration::ZERO)),
            Ok([Reply::Bytes(value), Reply::Number(life)]) => {
                let life = Duration::from_millis(u64::try_from(life).unwrap_or(0));
                Ok((record::decode(key, &value)?, life))
            }
            _ => Err(RedisError::Unexpected),
        }
    }

    pub(super) async fn read_and_touch(
        &self,
        key: &Key,
        ttl: Duration,
    ) -> Result<Read, RedisError> {
        let (script, ttl) = (&scripts::READ_AND_TOUCH, millis(ttl));
        let call = || Call::script(script, self.names.session(key), [ttl.clone()]);
        let value = match self.ask(call).await? {
            Reply::Nothing => return Ok(Read::Absent),
            Reply::Bytes(value) => value,
            Reply::List(mut due) => {
                self.list_again(key).await;
                let Some(Reply::Bytes(value)) = due.pop() else {
                    return Err(RedisError::Unexpected);
                };
                value
            }
            Reply::Number(_) => return Err(RedisError::Unexpected),
        };
        record::decode(key, &value)
    }

    pub(super) async fn write(
        &self,
        key: &Key,
        data: &[u8],
        ttl: Duration,
        expected: Expected,
    ) -> Result<Written, RedisError> {
        let version = self.versions.next();
        let (expects, repeat) = match expected {
            Expected::Absent => (Bytes::new(), Repeat::Freely),
            Expected::Version(version) => (expected_head(version), Repeat::Freely),
            Expected::Any => (Bytes::from_static(b"*"), Repeat::Never),
        };
        let call = || {
            let value = record::encode(key, version, data);
            let args = [expects.clone(), value, millis(ttl)];
            Call::script(&scripts::WRITE, self.names.session(key), args)
        };
        let answer = self.answer(repeat, call).await?;
        match &answer.reply {
            Reply::Number(0) => Ok(Written::Gone),
            Reply::Number(done) => {
                self.replicated(&answer, key).await?;
                if *done == 2 {
                    self.list_again(key).await;
                }
                Ok(Written::Done(version))
            }
            Reply::Bytes(value) => conflict(key, value, &answer),
            _ => Err(RedisError::Unexpected),
        }
    }

    pub(super) async fn destroy(&self, key: &Key) -> Result<(), RedisError> {
        let fence = millis(self.settings.tombstone);
        let tomb = || Bytes::from_static(record::TOMBSTONE);
        let [px, get] = [&b"PX"[..], b"GET"].map(Bytes::from_static);
        let call = || match (self.names.session(key), &*fence) {
            (name, b"0") => Call::new("GETDEL", name, []),
            (name, _) => {
                let args = [tomb(), px.clone(), fence.clone(), get.clone()];
                Call::new("SET", name, args)
            }
        };
        let answer = match self.answer(Repeat::Freely, call).await {
            Err(RedisError::Refused(Refusal::OutOfMemory)) => {
                let args = || [tomb(), fence.clone()];
                let call = || Call::script(&scripts::DESTROY, self.names.session(key), args());
                Box::pin(self.answer(Repeat::Freely, call)).await?
            }
            answer => answer?,
        };
        self.replicated(&answer, key).await?;
        let Reply::Bytes(value) = answer.reply else {
            return Ok(());
        };
        let block = TagBlock::parse(&record::tag_block(&value));
        Box::pin(self.unlist(key, &block)).await
    }

    pub(super) async fn touch(&self, key: &Key, ttl: Duration) -> Result<bool, RedisError> {
        let ttl = millis(ttl);
        let call = || Call::script(&scripts::TOUCH, self.names.session(key), [ttl.clone()]);
        let reply = self.ask(call).await?;
        if matches!(reply, Reply::Number(2)) {
            self.list_again(key).await;
        }
        Ok(matches!(reply, Reply::Number(1 | 2)))
    }

    pub(super) async fn destroy_tagged(&self, tag: &Tag) -> Result<u64, RedisError> {
        let keys = self.tagged(tag).await?;
        for batch in keys.chunks(100) {
            let ends = batch.iter().map(|key| self.destroy(key));
            for end in futures_util::future::join_all(ends).await {
                end?;
            }
        }
        Ok(keys.len() as u64)
    }

    /// Lists the session's tags for longer. The operation that found it due is done already, and a
    /// failure here is made good by the next touch, long before it matters. Boxed, as all that is
    /// seldom done is, so that the futures of what is often done stay small.
    async fn list_again(&self, key: &Key) {
        let _made_good_later = Box::pin(self.list(key)).await;
    }
}

fn conflict(key: &Key, value: &Bytes, answer: &Answer) -> Result<Written, RedisError> {
    if let Some(last) = answer.lost {
        return Err(RedisError::Unknown { last });
    }
    match record::decode(key, value)? {
        Read::Found(record) => Ok(Written::Conflict(record)),
        Read::Absent | Read::Gone => Err(RedisError::Unexpected),
    }
}

/// What stands in a record of this version without tags, from its version up to its data.
fn expected_head(version: Version) -> Bytes {
    [&version.get().to_be_bytes()[..], &[0, 0]].concat().into()
}

/// A lifetime in whole milliseconds, as text; at most some three thousand years, which Redis can
/// still add to the time.
fn millis(time: Duration) -> Bytes {
    const MOST: u128 = 100_000_000_000_000;
    time.as_millis().min(MOST).to_string().into()
}
