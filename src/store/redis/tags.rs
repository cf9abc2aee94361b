//! Writes and touches of records with tags.
//!
//! A record holds its tags, and each tag has an [index](super::tag_index). Record and index are in
//! different slots of a cluster, so no script changes both. The index always goes first:
//!
//! 1. The script of a write finds that the stored record lacks a tag of the new record. It changes
//!    nothing and returns the time of the record's node.
//! 2. The client adds the record to the indexes of those tags.
//! 3. The script runs again and replaces the record. It refuses if the record has changed since step 1,
//!    or if the [`WRITE_WINDOW`] since step 1 has ended. The client then begins again.
//!
//! An entry without its tag is removed only if it was renewed longer ago than twice that window, and
//! only if it was not renewed again. So the entries of step 2 exist at step 3, however late a server
//! executes the script.
//!
//! Indexes expire. A record holds the time until which the indexes list it. A write or touch that
//! would extend the record's life close to that time goes through the same steps.

use std::time::Instant;

use bytes::{Buf, Bytes};
use futures_util::future::join;

use super::{
    RedisError,
    client::{RedisCommand, Reply},
    command_runner::{CommandRunner, Idempotency},
    record::{self, StoredTags},
    scripts::{self, WRITE_WINDOW, millis},
    tag_index::MemberSample,
};
use crate::{
    id::StoreKey,
    store::{Expiry, Version, WriteOutcome, WriteRequest},
};

/// The `ttl` argument of a write that keeps the lifetime.
const KEEP: Bytes = Bytes::from_static(b"KEEP");

/// The reply of a script that needs index entries before it changes a record.
pub(super) struct IndexDue {
    /// The time of the record's node, in ms since the epoch.
    now: u64,
    /// The lifetime of the record after the change, in ms.
    ttl: u64,
    /// The stored record, at least up to its data; empty if there is none.
    pub(super) stored: Bytes,
}

/// The index entries that a write may rely on.
#[derive(Default)]
pub(super) struct Indexed {
    /// The time until which the indexes list all tags of the new record, in ms since the epoch.
    pub(super) until: u64,
    /// The last argument of [`scripts::WRITE_INDEXED`].
    pub(super) proof: Bytes,
}

impl IndexDue {
    pub(super) fn parse(parts: Vec<Reply>) -> Result<Self, RedisError> {
        match <[Reply; 3]>::try_from(parts) {
            Ok(
                [
                    Reply::Integer(now),
                    Reply::Integer(ttl),
                    Reply::Bytes(stored),
                ],
            ) => Ok(Self {
                now: now.unsigned_abs(),
                ttl: u64::try_from(ttl).unwrap_or(0),
                stored,
            }),
            _ => Err(RedisError::UnexpectedReply),
        }
    }

    /// Returns the time until which new entries list the record. They outlive a few touches, and the
    /// window of a write.
    const fn index_until(&self) -> u64 {
        self.now.saturating_add(self.index_life())
    }

    /// Returns the lifetime of new index entries, in ms.
    const fn index_life(&self) -> u64 {
        self.ttl.saturating_mul(3).saturating_add(2 * WRITE_WINDOW)
    }

    /// Returns `true` if the indexes list the record for its new lifetime without an extension.
    const fn is_listed_for_ttl(&self, stored: &StoredTags) -> bool {
        stored.indexed_until >= self.now.saturating_add(self.ttl)
    }

    /// Returns `true` if the indexes need no extension.
    const fn is_indexed(&self, stored: &StoredTags) -> bool {
        stored.indexed_until >= self.now.saturating_add(self.ttl.saturating_mul(2))
    }
}

impl CommandRunner {
    /// Writes a record that has tags or keeps its lifetime.
    pub(super) async fn write_indexed(
        &self,
        request: &WriteRequest,
        version: Version,
    ) -> Result<WriteOutcome, RedisError> {
        let ttl = match request.expiry {
            Expiry::After(ttl) => millis(ttl),
            Expiry::Keep => KEEP,
        };
        let (deadline, idempotency) = (self.deadline(), Idempotency::for_write(request.expected));
        let (mut indexed, mut samples, mut lost_reply) = (Indexed::default(), Vec::new(), None);
        loop {
            let command = || self.write_command(request, version, ttl.clone(), Some(&indexed));
            // The request does not wait for the cleanup alone, unless it finds obsolete entries.
            let cleanup = self.clean_indexes(samples, deadline);
            let (outcome, ()) = join(self.run(deadline, idempotency, command), cleanup).await;
            let mut outcome = outcome?;
            // An attempt of any round may have been applied.
            lost_reply = outcome.lost_reply.or(lost_reply);
            outcome.lost_reply = lost_reply;
            let Reply::Array(parts) = outcome.reply else {
                return self.write_outcome(&request.key, version, outcome).await;
            };
            let due = IndexDue::parse(parts)?;
            (indexed, samples) = self.index_new_tags(request, &due, deadline).await?;
        }
    }

    /// Adds the record of `request` to the indexes of the tags that the stored record lacks, or of all
    /// tags if an extension is due.
    async fn index_new_tags<'r>(
        &self,
        request: &'r WriteRequest,
        due: &IndexDue,
        deadline: Instant,
    ) -> Result<(Indexed, Vec<MemberSample<'r>>), RedisError> {
        let stored = match due.stored.has_remaining() {
            true => Some(record::decode_tags(&due.stored)?),
            false => None,
        };
        let kept = stored.as_ref().filter(|stored| due.is_indexed(stored));
        let is_new = |tag: &&str| kept.is_none_or(|stored| !stored.tags.contains(tag));
        let new_tags = request.tags.iter().filter(is_new);
        let life = due.index_life();
        let samples = self
            .add_to_indexes(&request.key, new_tags, life, deadline)
            .await?;
        let until = due.index_until();
        let window_end = due.now.saturating_add(WRITE_WINDOW).to_be_bytes();
        let version = stored.as_ref().map(|stored| stored.version);
        let indexed = Indexed {
            until: kept.map_or(until, |stored| stored.indexed_until.min(until)),
            proof: [&window_end[..], version.as_ref().map_or(&[], |it| it)]
                .concat()
                .into(),
        };
        Ok((indexed, samples))
    }

    /// Extends the index entries of a record, and touches the record. Returns `false` if there is no
    /// live record.
    pub(super) async fn touch_indexed(
        &self,
        key: &StoreKey,
        ttl: Bytes,
        mut due: IndexDue,
        deadline: Instant,
    ) -> Result<bool, RedisError> {
        loop {
            let stored = record::decode_tags(&due.stored)?;
            let (samples, until) = match self
                .add_to_indexes(key, stored.tags.iter(), due.index_life(), deadline)
                .await
            {
                Ok(samples) => (samples, due.index_until().to_be_bytes().to_vec().into()),
                // The next touch repeats the extension.
                Err(_) if due.is_listed_for_ttl(&stored) => (Vec::new(), Bytes::new()),
                Err(error) => return Err(error),
            };
            let args = [ttl.clone(), stored.version.to_vec().into(), until];
            let (script, name) = (&scripts::TOUCH_INDEXED, || self.names.session(key));
            let command = || RedisCommand::script(script, name(), args.clone());
            let cleanup = self.clean_indexes(samples, deadline);
            let (reply, ()) = join(self.query_until(deadline, command), cleanup).await;
            match reply? {
                // Another client has changed the tags meanwhile.
                Reply::Array(parts) => due = IndexDue::parse(parts)?,
                reply => return Ok(matches!(reply, Reply::Integer(1))),
            }
        }
    }
}
