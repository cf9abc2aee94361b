//! The index of a tag: a sorted set of the keys of sessions.
//!
//! A member counts only if the record of its session has the tag. The score is the time at which the
//! member was last renewed, by the clock of the index's node. Any client may remove a member whose
//! record does not have the tag, if the score was old before the client read the record and has not
//! changed since; see [`super::tags`]. Listing a tag removes such members, and so does adding a member
//! for a small sample of the others. Writes and destroys leave their members behind.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    RedisError,
    client::{RedisCommand, Reply},
    command_runner::{CommandRunner, Idempotency, TimeLimit},
    record, scripts,
};
use crate::{id::StoreKey, store::Tag};

/// A member of an index.
struct ScoredMember {
    member: Bytes,
    /// Empty if the entry may belong to a write in progress. It must not be removed then.
    score: Bytes,
}

/// Some entries of a tag's index that may be obsolete.
pub(super) struct MemberSample<'t> {
    tag: &'t str,
    entries: Vec<ScoredMember>,
}

/// The result of comparing an index entry with the record.
enum MemberState {
    /// The record has the tag.
    Tagged(StoreKey),
    /// The record does not have the tag; holds the kind of the stored value, the start of what
    /// [`scripts::READ_TAGS`] returns.
    Untagged(Bytes),
}

/// The pause before the members of an index are compared again.
const SCAN_PAUSE: Duration = Duration::from_millis(10);

/// Maximum number of scans of an index for one listing. If sessions of the tag end all the time, each scan finds
/// new members without the tag. A session is missed only if it is regenerated during each of these scans.
const MAX_SCANS: u32 = 16;

/// The number of bytes that distinguish a record, a tombstone, no value and any other value.
const KIND_LEN: usize = 4;

impl CommandRunner {
    /// Returns the live sessions that have `tag`.
    ///
    /// While it runs, a session may be regenerated: its record under the new key has the tag before the
    /// record under the old key loses it. Hence members without the tag are compared again in a new
    /// scan, until the kind of none of them has changed since the scan before. A key that gets the tag by a
    /// regeneration has no value before, so its kind changes.
    pub(super) async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, RedisError> {
        let (mut keys, mut untagged) = (HashSet::new(), HashMap::new());
        for _ in 0..MAX_SCANS {
            let (mut cursor, mut is_complete) = (Bytes::from_static(b"0"), true);
            loop {
                let (next, mut entries) = self.scan_index(tag.as_str(), cursor).await?;
                entries.retain(|entry| {
                    parse_member(&entry.member).is_none_or(|key| !keys.contains(&key))
                });
                let limit = self.time_limit(self.deadline());
                for (member, state) in self.compare(tag.as_str(), entries, limit).await? {
                    match state {
                        MemberState::Tagged(key) => drop(keys.insert(key)),
                        MemberState::Untagged(kind) => {
                            let before = untagged.insert(member, kind.clone());
                            is_complete &= before.is_some_and(|before| before == kind);
                        }
                    }
                }
                if *next == *b"0" {
                    break;
                }
                cursor = next;
            }
            if is_complete {
                break;
            }
            tokio::time::sleep(SCAN_PAUSE).await;
        }
        Ok(keys.into_iter().collect())
    }

    /// Adds the session to the indexes of `tags` for at least `life` ms. Returns entries of these
    /// indexes that may be obsolete.
    pub(super) async fn add_to_indexes<'t>(
        &self,
        key: &StoreKey,
        tags: impl Iterator<Item = &'t str>,
        life: u64,
        deadline: Instant,
    ) -> Result<Vec<MemberSample<'t>>, RedisError> {
        let args = [
            Bytes::copy_from_slice(key.as_bytes()),
            life.to_string().into(),
        ];
        let additions = tags.map(|tag| {
            let args = args.clone();
            async move {
                let name = || self.names.tag_index(tag);
                let command = || RedisCommand::script(&scripts::ADD_TO_INDEX, name(), args.clone());
                let outcome = self.run(deadline, Idempotency::Idempotent, command).await?;
                self.wait_for_replicas(&outcome).await?;
                let entries = parse_entries(outcome.reply)?;
                Ok(MemberSample { tag, entries })
            }
        });
        join_all(additions).await.into_iter().collect()
    }

    /// Removes the obsolete ones of these entries.
    pub(super) async fn clean_indexes(&self, samples: Vec<MemberSample<'_>>, deadline: Instant) {
        let samples = samples
            .into_iter()
            .filter(|sample| !sample.entries.is_empty());
        let limit = self.time_limit(deadline).for_cleanup();
        let cleanups = samples.map(|sample| self.compare(sample.tag, sample.entries, limit));
        // If this fails, another sample or listing repeats it.
        let _repeated = join_all(cleanups).await;
    }

    /// Returns some members of a tag's index, with the cursor of the next step.
    async fn scan_index(
        &self,
        tag: &str,
        cursor: Bytes,
    ) -> Result<(Bytes, Vec<ScoredMember>), RedisError> {
        let (script, name) = (&scripts::SCAN_INDEX, || self.names.tag_index(tag));
        let command = || RedisCommand::script(script, name(), [cursor.clone()]);
        let Reply::Array(parts) = self.query(command).await? else {
            return Err(RedisError::UnexpectedReply);
        };
        match <[Reply; 2]>::try_from(parts) {
            Ok([Reply::Bytes(next), entries]) => Ok((next, parse_entries(entries)?)),
            _ => Err(RedisError::UnexpectedReply),
        }
    }

    /// Compares entries of a tag's index with their records. Removes the obsolete ones.
    async fn compare(
        &self,
        tag: &str,
        entries: Vec<ScoredMember>,
        limit: TimeLimit,
    ) -> Result<Vec<(Bytes, MemberState)>, RedisError> {
        let states = entries
            .iter()
            .map(|entry| self.member_state(tag, entry, limit));
        let states = join_all(states).await;
        let (mut compared, mut obsolete) = (Vec::new(), Vec::new());
        for (ScoredMember { member, score }, state) in entries.into_iter().zip(states) {
            let state = state?;
            if matches!(state, MemberState::Untagged(_)) && !score.is_empty() {
                obsolete.extend([member.clone(), score]);
            }
            compared.push((member, state));
        }
        if !obsolete.is_empty() {
            let (script, name) = (&scripts::REMOVE_FROM_INDEX, || self.names.tag_index(tag));
            let command = || RedisCommand::script(script, name(), obsolete.iter().cloned());
            // If this fails, the next comparison repeats it.
            let _repeated = self.query_within(limit.for_cleanup(), command).await;
        }
        Ok(compared)
    }

    async fn member_state(
        &self,
        tag: &str,
        entry: &ScoredMember,
        limit: TimeLimit,
    ) -> Result<MemberState, RedisError> {
        let Some(key) = parse_member(&entry.member) else {
            return Ok(MemberState::Untagged(Bytes::new()));
        };
        let command = || RedisCommand::script(&scripts::READ_TAGS, self.names.session(&key), []);
        let Reply::Bytes(state) = self.query_within(limit, command).await? else {
            return Err(RedisError::UnexpectedReply);
        };
        match record::decode_tags(&state) {
            Ok(stored) if stored.tags.contains(tag) => Ok(MemberState::Tagged(key)),
            // The version differs after each write.
            _ => Ok(MemberState::Untagged(
                state.slice(..state.len().min(KIND_LEN)),
            )),
        }
    }
}

fn parse_member(member: &[u8]) -> Option<StoreKey> {
    member.try_into().ok().map(StoreKey::from_bytes)
}

/// Parses an array in which members and scores alternate.
fn parse_entries(reply: Reply) -> Result<Vec<ScoredMember>, RedisError> {
    let Reply::Array(parts) = reply else {
        return Err(RedisError::UnexpectedReply);
    };
    let mut parts = parts.into_iter();
    let mut entries = Vec::new();
    while let (Some(Reply::Bytes(member)), Some(Reply::Bytes(score))) = (parts.next(), parts.next())
    {
        entries.push(ScoredMember { member, score });
    }
    Ok(entries)
}
