//! The revocation list: sessions destroyed before their cookies expire.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes};

use super::{STORE_NAME, payload::Payload};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Expected, ReadOutcome, Store, StoreError, Tag, WriteOutcome, WriteRequest},
};

/// Maximum number of attempts to write a tag's entry against concurrent writers.
const MAX_ATTEMPTS: usize = 64;

/// Tolerated difference between the clocks of two machines.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The list of revoked sessions and tags.
///
/// An entry lives as long as any cookie that was sealed before it. A request checks the list before
/// it seals a cookie, so no later cookie needs the entry.
#[derive(Clone)]
pub(super) struct RevocationList {
    store: Arc<dyn Store>,
    max_ttl: Duration,
}

pub(super) enum RevocationStatus {
    Revoked,
    Valid,
    /// A tag of the session was revoked, with this session as the exception.
    Exempt,
}

/// An entry of a tag. Sessions tagged at or before `at` are revoked.
#[derive(Clone, Copy, PartialEq, Eq)]
struct TagRevocation {
    at: Timestamp,
    /// The session under this key is not revoked if it was tagged after `except_since`.
    except: Option<StoreKey>,
    except_since: Timestamp,
}

impl RevocationList {
    pub(super) fn new(store: Arc<dyn Store>, max_ttl: Duration) -> Self {
        Self { store, max_ttl }
    }

    /// Returns the store of the list.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Returns the time at which a cookie expires: its own expiry, or `max_ttl` after it was sealed
    /// if that is earlier. So no cookie outlives the entries of its time.
    pub(super) fn expiry(&self, payload: &Payload) -> Timestamp {
        payload
            .expires_at
            .min(payload.sealed_at.saturating_add(self.max_ttl))
    }

    /// Revokes the session under `key`.
    pub(super) async fn revoke(&self, key: &StoreKey) -> Result<(), StoreError> {
        let entry = session_entry(key);
        let written = self.write(&entry, Bytes::new(), Expected::Any).await?;
        match written {
            WriteOutcome::Done(_) => Ok(()),
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => Err(entry_error("destroy")),
        }
    }

    /// Revokes all sessions that have `tag` at `now`, except the one under `except`.
    pub(super) async fn revoke_tagged(
        &self,
        tag: &Tag,
        except: Option<StoreKey>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let entry = tag_entry(tag.as_str());
        let new = TagRevocation {
            at: now,
            except,
            except_since: Timestamp::default(),
        };
        let (mut merged, mut expected) = (new, Expected::Absent);
        for _ in 0..MAX_ATTEMPTS {
            match self.write(&entry, merged.encode(), expected).await? {
                WriteOutcome::Done(_) => return Ok(()),
                // The other entry has expired.
                WriteOutcome::Gone => (merged, expected) = (new, Expected::Absent),
                WriteOutcome::Conflict(record) => {
                    let stored = TagRevocation::decode(&record.data);
                    merged = new.merge(stored.ok_or_else(|| entry_error("destroy_tagged"))?);
                    expected = Expected::Version(record.version);
                }
            }
        }
        Err(entry_error("destroy_tagged"))
    }

    /// Looks up a session, which may get the new key `to`, and its tags.
    ///
    /// If the session is exempt under one of its keys, its tags get a time after the revocation, so
    /// that it stays valid under another key.
    pub(super) async fn status(
        &self,
        payload: &mut Payload,
        to: &StoreKey,
    ) -> Result<RevocationStatus, StoreError> {
        let key = payload.key;
        if !self.is_key_valid(&key).await? || (*to != key && !self.is_key_valid(to).await?) {
            return Ok(RevocationStatus::Revoked);
        }
        let mut status = RevocationStatus::Valid;
        for (name, tagged_at) in payload.tags.iter().zip(&mut payload.tagged_at) {
            let ReadOutcome::Found(record) = self.store.read(&tag_entry(name), None).await? else {
                continue;
            };
            let entry = TagRevocation::decode(&record.data).ok_or_else(|| entry_error("read"))?;
            if *tagged_at > entry.at {
                continue;
            }
            let is_exempt = entry.except == Some(key) || entry.except == Some(*to);
            if !is_exempt || *tagged_at <= entry.except_since {
                return Ok(RevocationStatus::Revoked);
            }
            *tagged_at = entry.at.saturating_add(Duration::from_millis(1));
            status = RevocationStatus::Exempt;
        }
        Ok(status)
    }

    /// Returns `true` if the session under `key` is not revoked itself. Its tags are not checked.
    pub(super) async fn is_key_valid(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let entry = self.store.read(&session_entry(key), None).await?;
        Ok(matches!(entry, ReadOutcome::Absent))
    }

    async fn write(
        &self,
        entry: &StoreKey,
        data: Bytes,
        expected: Expected,
    ) -> Result<WriteOutcome, StoreError> {
        let ttl = self.max_ttl.saturating_add(CLOCK_TOLERANCE);
        let request = WriteRequest::new(entry, data, ttl, expected);
        self.store.write(request).await
    }
}

impl TagRevocation {
    /// Merges two revocations of one tag, in any order.
    ///
    /// The later one counts. Its exception holds only if the earlier one has the same exception, or
    /// if the session was tagged after the earlier one.
    fn merge(self, other: Self) -> Self {
        let (earlier, later) = match self.at < other.at {
            true => (self, other),
            false => (other, self),
        };
        let except_since = match earlier.except == later.except {
            true => earlier.except_since,
            false => earlier.at,
        };
        Self {
            except_since: later.except_since.max(except_since),
            ..later
        }
    }

    fn encode(&self) -> Bytes {
        let mut entry = Vec::with_capacity(16 + StoreKey::LEN);
        entry.extend_from_slice(&self.at.as_millis().to_le_bytes());
        entry.extend_from_slice(&self.except_since.as_millis().to_le_bytes());
        entry.extend(self.except.iter().flat_map(StoreKey::as_bytes));
        entry.into()
    }

    fn decode(mut entry: &[u8]) -> Option<Self> {
        let at = Timestamp::from_millis(entry.try_get_u64_le().ok()?);
        let except_since = Timestamp::from_millis(entry.try_get_u64_le().ok()?);
        let except = match entry {
            [] => None,
            key => Some(StoreKey::from_bytes(key.try_into().ok()?)),
        };
        Some(Self {
            at,
            except,
            except_since,
        })
    }
}

/// Returns the key of a session's entry.
fn session_entry(key: &StoreKey) -> StoreKey {
    StoreKey::derive("revoked", key.as_bytes())
}

/// Returns the key of a tag's entry.
fn tag_entry(name: &str) -> StoreKey {
    StoreKey::derive("not before", name.as_bytes())
}

/// Returns the error for an entry that the list's store rejected, or that the list did not write.
fn entry_error(operation: &'static str) -> StoreError {
    let message = "revocation list rejected an entry or holds a foreign one; give it a store of its \
                   own";
    StoreError::new(STORE_NAME, operation, message)
}
