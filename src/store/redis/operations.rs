//! The contract's methods, as commands and scripts.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    RedisError, ServerRejection,
    client::{Call, Reply},
    engine::{Answer, Engine, Repeat},
    record, scripts,
    tags::TagBlock,
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, Tag, Version, WriteOutcome},
};

/// The longest text that says what is expected.
const EXPECTED: usize = 10;

impl Engine {
    pub(super) async fn read(&self, key: &StoreKey) -> Result<ReadOutcome, RedisError> {
        match self.ask(|| Call::get(self.names.session(key))).await? {
            Reply::Nothing => Ok(ReadOutcome::Absent),
            Reply::Bytes(value) => record::decode(key, &value),
            _ => Err(RedisError::Unexpected),
        }
    }

    /// Reads, and says how long what was read lives yet.
    pub(super) async fn read_for_keeping(
        &self,
        key: &StoreKey,
    ) -> Result<(ReadOutcome, Duration), RedisError> {
        let call = || Call::script(&scripts::READ_FOR_KEEPING, self.names.session(key), []);
        let Reply::List(parts) = self.ask(call).await? else {
            return Err(RedisError::Unexpected);
        };
        match <[Reply; 2]>::try_from(parts) {
            Ok([Reply::Nothing, _]) => Ok((ReadOutcome::Absent, Duration::ZERO)),
            Ok([Reply::Bytes(value), Reply::Number(life)]) => {
                let life = Duration::from_millis(u64::try_from(life).unwrap_or(0));
                Ok((record::decode(key, &value)?, life))
            }
            _ => Err(RedisError::Unexpected),
        }
    }

    pub(super) async fn read_and_touch(
        &self,
        key: &StoreKey,
        ttl: Duration,
    ) -> Result<ReadOutcome, RedisError> {
        let (script, ttl) = (&scripts::READ_AND_TOUCH, millis(ttl));
        let call = || Call::script(script, self.names.session(key), [ttl.clone()]);
        let value = match self.ask(call).await? {
            Reply::Nothing => return Ok(ReadOutcome::Absent),
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
        key: &StoreKey,
        data: &[u8],
        ttl: Duration,
        expected: Expected,
    ) -> Result<WriteOutcome, RedisError> {
        let version = self.versions.next();
        let repeat = match expected {
            Expected::Any => Repeat::Never,
            Expected::Absent | Expected::Version(_) => Repeat::Freely,
        };
        let life = millis(ttl);
        let call = || self.write_call(key, version, data, life.clone(), expected);
        let answer = self.answer(repeat, call).await?;
        match &answer.reply {
            Reply::Number(0) => Ok(WriteOutcome::Gone),
            Reply::Number(done) => {
                self.replicated(&answer, key).await?;
                if *done == 2 {
                    self.list_again(key).await;
                }
                Ok(WriteOutcome::Done(version))
            }
            Reply::Bytes(value) => conflict(key, value, &answer),
            _ => Err(RedisError::Unexpected),
        }
    }

    /// The call of a write. Its texts are cut from one piece of memory, since a write is frequent and
    /// each piece has to be given back again.
    fn write_call(
        &self,
        key: &StoreKey,
        version: Version,
        data: &[u8],
        life: Bytes,
        expected: Expected,
    ) -> Call {
        let most = self.names.session_len() + EXPECTED + record::HEADER + data.len();
        let mut text = BytesMut::with_capacity(most);
        self.names.put_session(key, &mut text);
        let name = text.split().freeze();
        match expected {
            Expected::Absent => {}
            Expected::Any => text.put_u8(b'*'),
            // What stands in a record of this version without tags, up to its data.
            Expected::Version(version) => {
                text.put_u64(version.get());
                text.put_u16(0);
            }
        }
        let expected = text.split().freeze();
        record::put(key, version, data, &mut text);
        let args = [expected, text.freeze(), life];
        Call::script(&scripts::WRITE, name, args)
    }

    pub(super) async fn destroy(&self, key: &StoreKey) -> Result<(), RedisError> {
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
            Err(RedisError::Refused(ServerRejection::OutOfMemory)) => {
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

    pub(super) async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<bool, RedisError> {
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
    async fn list_again(&self, key: &StoreKey) {
        let _made_good_later = Box::pin(self.list(key)).await;
    }
}

fn conflict(key: &StoreKey, value: &Bytes, answer: &Answer) -> Result<WriteOutcome, RedisError> {
    if let Some(last) = answer.lost {
        return Err(RedisError::Unknown { last });
    }
    match record::decode(key, value)? {
        ReadOutcome::Found(record) => Ok(WriteOutcome::Conflict(record)),
        ReadOutcome::Absent | ReadOutcome::Gone => Err(RedisError::Unexpected),
    }
}

/// A lifetime in whole milliseconds, as text; at most some three thousand years, which Redis can
/// still add to the time.
fn millis(time: Duration) -> Bytes {
    const MOST: u128 = 100_000_000_000_000;
    time.as_millis().min(MOST).to_string().into()
}
