//! Tags: the record knows its tags, and an index by tag knows the records.
//!
//! The record has the last word. Its tag block names each tag with a number that no other tagging
//! has; the tag's index is a sorted set of members, each a session's key and that number. A member
//! is added after the record has the tag, so a member whose number its record does not carry is
//! dead for good, and whoever meets one may remove it. Nothing is thus needed across two keys at
//! once, which a cluster could not do.
//!
//! An index goes away by itself: it expires. A record's block tells until when all its members are
//! listed at least; a touch or write that would let the record live on too close to that moment
//! lists them anew.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;

use super::{
    RedisError,
    client::{Call, Reply},
    engine::Engine,
    scripts,
};
use crate::{
    id::StoreKey,
    store::{MAX_TAGS, Tag},
};

/// For how many of a record's remaining lifetimes its members are listed.
const KEEP: u64 = 3;

/// How many sessions of a tag are looked at together.
const BATCH: &[u8] = b"100";

/// The tags of one record, in the record.
///
/// | bytes | what |
/// |---|---|
/// | 0..8 | until when all are listed in their indexes, in ms since the epoch, big-endian |
/// | then, for each | its number (8 bytes), its length less one (1 byte), its name |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TagBlock {
    listed_until: u64,
    tags: Vec<Tagging<Box<str>>>,
}

/// A tag's name with the number of the tagging.
type Tagging<Name> = ([u8; 8], Name);

impl TagBlock {
    /// The block that these bytes are; an empty one for what is no block.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut block = Self::default();
        let Some((until, mut rest)) = bytes.split_first_chunk() else {
            return block;
        };
        block.listed_until = u64::from_be_bytes(*until);
        while let Some(((number, name), more)) = entry(rest) {
            block.tags.push((number, name.into()));
            rest = more;
        }
        block
    }

    fn encode(&self) -> Bytes {
        if self.tags.is_empty() {
            return Bytes::new();
        }
        let names: usize = self.tags.iter().map(|(_, name)| 9 + name.len()).sum();
        let mut bytes = BytesMut::with_capacity(8 + names);
        bytes.put_u64(self.listed_until);
        for (number, name) in &self.tags {
            bytes.put_slice(number);
            // A tag has 1 to 256 bytes.
            bytes.put_u8(u8::try_from(name.len().saturating_sub(1)).unwrap_or(u8::MAX));
            bytes.put_slice(name.as_bytes());
        }
        bytes.freeze()
    }

    fn carries(&self, number: &[u8]) -> bool {
        self.tags.iter().any(|(own, _)| own == number)
    }

    /// Adds what is not there yet, under the numbers that `number` gives.
    fn add(&mut self, name: &str, number: impl FnOnce() -> u64) -> Result<(), RedisError> {
        if self.tags.iter().any(|(_, own)| **own == *name) {
            return Ok(());
        }
        if self.tags.len() >= MAX_TAGS {
            return Err(RedisError::TooManyTags);
        }
        self.tags.push((number().to_be_bytes(), name.into()));
        Ok(())
    }
}

/// The first tag of `bytes`, and what follows it.
fn entry(bytes: &[u8]) -> Option<(Tagging<&str>, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    let (len, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*len) + 1)?;
    Some(((*number, std::str::from_utf8(name).ok()?), rest))
}

/// A live record's tags as they stand in Redis.
struct Standing {
    raw: Bytes,
    block: TagBlock,
    /// The record's node's time, in ms since the epoch.
    now: u64,
    /// How long the record lives yet, in ms.
    life: u64,
}

impl Engine {
    /// Tags the live session under `key`; `false` when there is none.
    pub(super) async fn tag(&self, key: &StoreKey, tag: &Tag) -> Result<bool, RedisError> {
        let tagged = self
            .retag(key, |block| {
                block.add(tag.as_str(), || self.versions.number())
            })
            .await?;
        if tagged {
            self.list(key).await?;
        }
        Ok(tagged)
    }

    pub(super) async fn untag(&self, key: &StoreKey, names: &[&str]) -> Result<(), RedisError> {
        let mut removed = Vec::new();
        self.retag(key, |block| {
            removed = block
                .tags
                .extract_if(.., |(_, name)| names.contains(&&**name))
                .collect();
            Ok(())
        })
        .await?;
        self.unlist(
            key,
            &TagBlock {
                listed_until: 0,
                tags: removed,
            },
        )
        .await
    }

    /// The tags of the live session under `key`.
    pub(super) async fn tags_of(&self, key: &StoreKey) -> Result<Vec<Tag>, RedisError> {
        let tags = self.standing(key).await?.map(|it| it.block.tags);
        let named = |(_, name)| Tag::new(name).ok();
        Ok(tags
            .unwrap_or_default()
            .into_iter()
            .filter_map(named)
            .collect())
    }

    /// Moves the tags that `from` has to `to`, all or none. In between both carry them.
    pub(super) async fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> Result<(), RedisError> {
        let copied = self.copy_tags(from, to).await?;
        if copied.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = copied.iter().map(|name| &**name).collect();
        self.untag(from, &names).await
    }

    /// Gives the tags that `from` has to `to` as well, all or none, and says which they were; none
    /// where one of the two is not live.
    pub(super) async fn copy_tags(
        &self,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<Vec<Box<str>>, RedisError> {
        let block = self.standing(from).await?.map(|standing| standing.block);
        let names: Vec<Box<str>> = block
            .into_iter()
            .flat_map(|block| block.tags)
            .map(|(_, name)| name)
            .collect();
        if names.is_empty() || from == to {
            return Ok(Vec::new());
        }
        let copied = self
            .retag(to, |block| {
                names
                    .iter()
                    .try_for_each(|name| block.add(name, || self.versions.number()))
            })
            .await?;
        if !copied {
            return Ok(Vec::new());
        }
        self.list(to).await?;
        Ok(names)
    }

    /// The live sessions that carry `tag`.
    pub(super) async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, RedisError> {
        let (mut keys, mut cursor) = (Vec::new(), Bytes::from_static(b"0"));
        loop {
            let (next, members) = self.page(tag, cursor).await?;
            keys.extend(self.carriers(tag, members).await?);
            if *next == *b"0" {
                // A scan may show a member twice.
                keys.sort_unstable();
                keys.dedup();
                return Ok(keys);
            }
            cursor = next;
        }
    }

    /// Some members of a tag's index, and where to go on.
    async fn page(&self, tag: &Tag, cursor: Bytes) -> Result<(Bytes, Vec<Bytes>), RedisError> {
        let count = Bytes::from_static(b"COUNT");
        let args = [cursor, count, Bytes::from_static(BATCH)];
        let call = || Call::new("ZSCAN", self.names.tag(tag.as_str()), args.clone());
        let Reply::List(answer) = self.ask(call).await? else {
            return Err(RedisError::Unexpected);
        };
        let Ok([Reply::Bytes(next), Reply::List(pairs)]) = <[Reply; 2]>::try_from(answer) else {
            return Err(RedisError::Unexpected);
        };
        // Members and scores in turn.
        Ok((next, texts(pairs).step_by(2).collect()))
    }

    /// Of these members of a tag's index, the keys of those whose record carries them. The others
    /// are removed.
    async fn carriers(&self, tag: &Tag, members: Vec<Bytes>) -> Result<Vec<StoreKey>, RedisError> {
        let looks = members.iter().map(|member| async move {
            let Some((key, number)) = split(member) else {
                return Ok(None);
            };
            let standing = self.standing(&key).await?;
            let carries = standing.is_some_and(|standing| standing.block.carries(number));
            Ok::<_, RedisError>(carries.then_some(key))
        });
        let mut dead = Vec::new();
        let mut keys = Vec::new();
        for (look, member) in join_all(looks).await.into_iter().zip(&members) {
            match look? {
                Some(key) => keys.push(key),
                None => dead.push(member.clone()),
            }
        }
        if !dead.is_empty() {
            let index = || self.names.tag(tag.as_str());
            self.ask(|| Call::new("ZREM", index(), dead.iter().cloned()))
                .await?;
        }
        Ok(keys)
    }

    /// Lists the session under all its tags, for longer than its record can live untouched, and
    /// notes in the record until when.
    pub(super) async fn list(&self, key: &StoreKey) -> Result<(), RedisError> {
        let Some(standing) = self.standing(key).await? else {
            return Ok(());
        };
        let life = standing.life.saturating_mul(KEEP);
        let listings = standing
            .block
            .tags
            .iter()
            .map(|(number, name)| self.list_one(key, *number, name, life));
        join_all(listings)
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        let mut block = standing.block;
        block.listed_until = block.listed_until.max(standing.now + life);
        // Where others changed the block meanwhile, the next touch comes back to it.
        self.swap(key, standing.raw, block.encode()).await.map(drop)
    }

    async fn list_one(
        &self,
        key: &StoreKey,
        number: [u8; 8],
        name: &str,
        life: u64,
    ) -> Result<(), RedisError> {
        let args = [member(key, number), life.to_string().into()];
        let call = || Call::script(&scripts::LIST, self.names.tag(name), args.clone());
        let Reply::List(due) = self.ask(call).await? else {
            return Err(RedisError::Unexpected);
        };
        if due.is_empty() {
            return Ok(());
        }
        let Ok(tag) = Tag::new(name) else {
            return Ok(());
        };
        self.carriers(&tag, texts(due).collect()).await.map(drop)
    }

    /// Takes the session under `key` out of the indexes of the tags of `block`, which its record
    /// does not carry any more.
    pub(super) async fn unlist(&self, key: &StoreKey, block: &TagBlock) -> Result<(), RedisError> {
        let removals = block.tags.iter().map(|(number, name)| {
            self.ask(|| Call::new("ZREM", self.names.tag(name), [member(key, *number)]))
        });
        join_all(removals)
            .await
            .into_iter()
            .try_for_each(|removed| removed.map(drop))
    }

    /// Changes the tags of the live session under `key`; `false` when there is none.
    async fn retag(
        &self,
        key: &StoreKey,
        mut change: impl FnMut(&mut TagBlock) -> Result<(), RedisError>,
    ) -> Result<bool, RedisError> {
        loop {
            let Some(standing) = self.standing(key).await? else {
                return Ok(false);
            };
            let mut block = standing.block;
            change(&mut block)?;
            let new = block.encode();
            if new == standing.raw || self.swap(key, standing.raw, new).await? {
                return Ok(true);
            }
        }
    }

    /// Replaces the tag block of the live session under `key` if it is still `old`.
    async fn swap(&self, key: &StoreKey, old: Bytes, new: Bytes) -> Result<bool, RedisError> {
        let args = [old, new];
        let call = || Call::script(&scripts::RETAG, self.names.session(key), args.clone());
        Ok(matches!(self.ask(call).await?, Reply::Number(1)))
    }

    async fn standing(&self, key: &StoreKey) -> Result<Option<Standing>, RedisError> {
        let call = || Call::script(&scripts::TAGS, self.names.session(key), []);
        let parts = match self.ask(call).await? {
            Reply::Nothing => return Ok(None),
            Reply::List(parts) => <[Reply; 3]>::try_from(parts),
            _ => return Err(RedisError::Unexpected),
        };
        let Ok([Reply::Bytes(raw), Reply::Number(now), Reply::Number(life)]) = parts else {
            return Err(RedisError::Unexpected);
        };
        Ok(Some(Standing {
            block: TagBlock::parse(&raw),
            raw,
            now: now.unsigned_abs(),
            life: u64::try_from(life).unwrap_or(0),
        }))
    }
}

fn texts(replies: Vec<Reply>) -> impl Iterator<Item = Bytes> {
    replies.into_iter().map(|reply| match reply {
        Reply::Bytes(text) => text,
        _ => Bytes::new(),
    })
}

/// What a tag's index holds of a session.
fn member(key: &StoreKey, number: [u8; 8]) -> Bytes {
    Bytes::from([key.as_bytes().as_slice(), number.as_slice()].concat())
}

fn split(member: &[u8]) -> Option<(StoreKey, &[u8])> {
    let (key, number) = member.split_first_chunk()?;
    Some((StoreKey::from_bytes(*key), number))
}

#[cfg(test)]
mod tests;
