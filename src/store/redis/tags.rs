//! Tags. A record stores its tags, and an index per tag lists the records.
//!
//! The record is authoritative. Its tag block gives each tag a number that no other tagging has. The
//! index of a tag is a sorted set; each member is a session's key and that number. A member is added
//! after the record has the tag. Hence a member whose number its record does not have stays obsolete,
//! and any client that finds it may remove it. No step needs two keys at once, which a cluster
//! would not allow.
//!
//! Indexes expire. A record's tag block holds the time until which the indexes list at least all
//! its members. A touch or write that extends the record's life close to that time adds them again.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    RedisError,
    client::{RedisCommand, Reply},
    command_runner::CommandRunner,
    scripts,
    tag_block::TagBlock,
};
use crate::{id::StoreKey, store::Tag};

/// The lifetime of an index member, in remaining lifetimes of its record.
const INDEX_LIFETIMES: u64 = 3;

/// The number of members that one scan step requests.
const SCAN_COUNT: &[u8] = b"100";

/// The tags of a live record, as stored in Redis.
struct RecordTags {
    raw: Bytes,
    block: TagBlock,
    /// The time of the record's Redis node, in ms since the epoch.
    now: u64,
    /// The remaining lifetime of the record, in ms.
    ttl: u64,
}

impl CommandRunner {
    /// Tags the live session under `key`. Returns `false` if there is none.
    pub(super) async fn tag(&self, key: &StoreKey, tag: &Tag) -> Result<bool, RedisError> {
        let tagged = self
            .change_tags(key, |block| {
                block.add(tag.as_str(), || self.versions.next_number())
            })
            .await?;
        if tagged {
            self.add_to_indexes(key).await?;
        }
        Ok(tagged)
    }

    pub(super) async fn untag(&self, key: &StoreKey, names: &[&str]) -> Result<(), RedisError> {
        let mut removed = Vec::new();
        self.change_tags(key, |block| {
            removed = block
                .tags
                .extract_if(.., |(_, name)| names.contains(&&**name))
                .collect();
            Ok(())
        })
        .await?;
        let block = TagBlock {
            indexed_until: 0,
            tags: removed,
        };
        self.remove_from_indexes(key, &block).await
    }

    /// Returns the tags of the live session under `key`.
    pub(super) async fn tags_of(&self, key: &StoreKey) -> Result<Vec<Tag>, RedisError> {
        let Some(record) = self.load_tags(key).await? else {
            return Ok(Vec::new());
        };
        let tags = record.block.tags.into_iter();
        Ok(tags.filter_map(|(_, name)| Tag::new(name).ok()).collect())
    }

    /// Moves the tags of `from` to `to`, all or none. In between both sessions have them.
    pub(super) async fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> Result<(), RedisError> {
        let copied = self.copy_tags(from, to).await?;
        if copied.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = copied.iter().map(|name| &**name).collect();
        self.untag(from, &names).await
    }

    /// Copies the tags of `from` to `to`, all or none, and returns their names; none if one of the
    /// two sessions is not live.
    pub(super) async fn copy_tags(
        &self,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<Vec<Box<str>>, RedisError> {
        let block = self.load_tags(from).await?.map(|record| record.block);
        let names: Vec<Box<str>> = block
            .into_iter()
            .flat_map(|block| block.tags)
            .map(|(_, name)| name)
            .collect();
        if names.is_empty() || from == to {
            return Ok(Vec::new());
        }
        let copied = self
            .change_tags(to, |block| {
                names
                    .iter()
                    .try_for_each(|name| block.add(name, || self.versions.next_number()))
            })
            .await?;
        if !copied {
            return Ok(Vec::new());
        }
        self.add_to_indexes(to).await?;
        Ok(names)
    }

    /// Returns the live sessions that have `tag`.
    pub(super) async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, RedisError> {
        let (mut keys, mut cursor) = (Vec::new(), Bytes::from_static(b"0"));
        loop {
            let (next, members) = self.scan_index(tag, cursor).await?;
            keys.extend(self.live_members(tag, members).await?);
            if *next == *b"0" {
                // A scan may return a member twice.
                keys.sort_unstable();
                keys.dedup();
                return Ok(keys);
            }
            cursor = next;
        }
    }

    /// Returns some members of a tag's index, with the cursor of the next step.
    async fn scan_index(
        &self,
        tag: &Tag,
        cursor: Bytes,
    ) -> Result<(Bytes, Vec<Bytes>), RedisError> {
        let count = Bytes::from_static(b"COUNT");
        let args = [cursor, count, Bytes::from_static(SCAN_COUNT)];
        let index = || self.names.tag_index(tag.as_str());
        let command = || RedisCommand::new("ZSCAN", index(), args.clone());
        let Reply::Array(parts) = self.query(command).await? else {
            return Err(RedisError::UnexpectedReply);
        };
        let Ok([Reply::Bytes(next), Reply::Array(pairs)]) = <[Reply; 2]>::try_from(parts) else {
            return Err(RedisError::UnexpectedReply);
        };
        // Members and scores alternate.
        Ok((next, into_bytes(pairs).step_by(2).collect()))
    }

    /// Returns the keys of those members of a tag's index whose record has them. Removes the other
    /// members.
    async fn live_members(
        &self,
        tag: &Tag,
        members: Vec<Bytes>,
    ) -> Result<Vec<StoreKey>, RedisError> {
        let checks = members.iter().map(|member| async move {
            let Some((key, number)) = split_member(member) else {
                return Ok(None);
            };
            let record = self.load_tags(&key).await?;
            let is_live = record.is_some_and(|record| record.block.contains(number));
            Ok::<_, RedisError>(is_live.then_some(key))
        });
        let mut dead = Vec::new();
        let mut keys = Vec::new();
        for (checked, member) in join_all(checks).await.into_iter().zip(&members) {
            match checked? {
                Some(key) => keys.push(key),
                None => dead.push(member.clone()),
            }
        }
        if !dead.is_empty() {
            let index = || self.names.tag_index(tag.as_str());
            self.query(|| RedisCommand::new("ZREM", index(), dead.iter().cloned()))
                .await?;
        }
        Ok(keys)
    }

    /// Adds the session to the indexes of all its tags, for longer than its record lives without a
    /// touch, and stores the end of that time in the record.
    pub(super) async fn add_to_indexes(&self, key: &StoreKey) -> Result<(), RedisError> {
        let Some(record) = self.load_tags(key).await? else {
            return Ok(());
        };
        let ttl = record.ttl.saturating_mul(INDEX_LIFETIMES);
        let additions = record
            .block
            .tags
            .iter()
            .map(|(number, name)| self.add_to_index(key, *number, name, ttl));
        join_all(additions)
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        let mut block = record.block;
        block.indexed_until = block.indexed_until.max(record.now + ttl);
        // If another client has changed the block meanwhile, the next touch repeats this.
        self.replace_tags(key, record.raw, block.encode())
            .await
            .map(drop)
    }

    async fn add_to_index(
        &self,
        key: &StoreKey,
        number: [u8; 8],
        name: &str,
        ttl: u64,
    ) -> Result<(), RedisError> {
        let args = [join_member(key, number), ttl.to_string().into()];
        let index = || self.names.tag_index(name);
        let command = || RedisCommand::script(&scripts::ADD_TO_INDEX, index(), args.clone());
        let Reply::Array(expired) = self.query(command).await? else {
            return Err(RedisError::UnexpectedReply);
        };
        if expired.is_empty() {
            return Ok(());
        }
        let Ok(tag) = Tag::new(name) else {
            return Ok(());
        };
        self.live_members(&tag, into_bytes(expired).collect())
            .await
            .map(drop)
    }

    /// Removes the session under `key` from the indexes of the tags of `block`, which its record no
    /// longer has.
    pub(super) async fn remove_from_indexes(
        &self,
        key: &StoreKey,
        block: &TagBlock,
    ) -> Result<(), RedisError> {
        let removals = block.tags.iter().map(|(number, name)| {
            self.query(|| {
                let index = self.names.tag_index(name);
                RedisCommand::new("ZREM", index, [join_member(key, *number)])
            })
        });
        join_all(removals)
            .await
            .into_iter()
            .try_for_each(|removed| removed.map(drop))
    }

    /// Changes the tags of the live session under `key`. Returns `false` if there is none.
    async fn change_tags(
        &self,
        key: &StoreKey,
        mut change: impl FnMut(&mut TagBlock) -> Result<(), RedisError>,
    ) -> Result<bool, RedisError> {
        loop {
            let Some(record) = self.load_tags(key).await? else {
                return Ok(false);
            };
            let mut block = record.block;
            change(&mut block)?;
            let new = block.encode();
            if new == record.raw || self.replace_tags(key, record.raw, new).await? {
                return Ok(true);
            }
        }
    }

    /// Replaces the tag block of the live session under `key` if it is still `old`.
    async fn replace_tags(
        &self,
        key: &StoreKey,
        old: Bytes,
        new: Bytes,
    ) -> Result<bool, RedisError> {
        let (script, args) = (&scripts::REPLACE_TAGS, [old, new]);
        let command = || RedisCommand::script(script, self.names.session(key), args.clone());
        Ok(matches!(self.query(command).await?, Reply::Integer(1)))
    }

    /// Loads the tags of the live session under `key`.
    async fn load_tags(&self, key: &StoreKey) -> Result<Option<RecordTags>, RedisError> {
        let command = || RedisCommand::script(&scripts::READ_TAGS, self.names.session(key), []);
        let parts = match self.query(command).await? {
            Reply::Nil => return Ok(None),
            Reply::Array(parts) => <[Reply; 3]>::try_from(parts),
            _ => return Err(RedisError::UnexpectedReply),
        };
        let Ok([Reply::Bytes(raw), Reply::Integer(now), Reply::Integer(ttl)]) = parts else {
            return Err(RedisError::UnexpectedReply);
        };
        Ok(Some(RecordTags {
            block: TagBlock::parse(&raw),
            raw,
            now: now.unsigned_abs(),
            ttl: u64::try_from(ttl).unwrap_or(0),
        }))
    }
}

fn into_bytes(replies: Vec<Reply>) -> impl Iterator<Item = Bytes> {
    replies.into_iter().map(|reply| match reply {
        Reply::Bytes(bytes) => bytes,
        _ => Bytes::new(),
    })
}

/// Returns a session's member in a tag's index.
fn join_member(key: &StoreKey, number: [u8; 8]) -> Bytes {
    Bytes::from([key.as_bytes().as_slice(), number.as_slice()].concat())
}

fn split_member(member: &[u8]) -> Option<(StoreKey, &[u8])> {
    let (key, number) = member.split_first_chunk()?;
    Some((StoreKey::from_bytes(*key), number))
}
