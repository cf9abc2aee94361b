//! Operations that need a backing store: the revocation list or the overflow store.

use std::{sync::Arc, time::Duration};

use super::{
    payload::{Payload, PayloadBody},
    request::CookieRequestStore,
    revocation::RevocationStatus,
    shared::overflow_key,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Expected, ReadOutcome, Record, Store, StoreError, WriteOutcome, WriteRequest},
};

impl CookieRequestStore {
    /// Returns `true` if neither the session nor one of its tags is revoked. The session may get the
    /// new key `to`.
    ///
    /// Removes the cookie of a revoked session, and keeps the updated tag times of an exempt one.
    async fn check_revocation(
        &self,
        payload: &mut Payload,
        to: &StoreKey,
    ) -> Result<bool, StoreError> {
        let Some(revocation) = &self.shared.revocation else {
            return Ok(true);
        };
        match revocation.status(payload, to).await? {
            RevocationStatus::Revoked => {
                let mut state = self.state();
                state.reject();
                state.rejection = Some("data_revoked");
                Ok(false)
            }
            RevocationStatus::Valid => Ok(true),
            RevocationStatus::Exempt => {
                self.set_payload(payload.clone());
                Ok(true)
            }
        }
    }

    async fn is_key_valid(&self, key: &StoreKey) -> Result<bool, StoreError> {
        match &self.shared.revocation {
            Some(revocation) => revocation.is_key_valid(key).await,
            None => Ok(true),
        }
    }

    pub(super) async fn read_with_backing(
        &self,
        key: StoreKey,
        now: Timestamp,
        touch: Option<Duration>,
    ) -> Result<ReadOutcome, StoreError> {
        let Some(mut payload) = self.payload(&key, now) else {
            return Ok(match self.is_key_valid(&key).await? {
                true => ReadOutcome::Absent,
                false => ReadOutcome::Gone,
            });
        };
        if !self.check_revocation(&mut payload, &key).await? {
            return Ok(ReadOutcome::Gone);
        }
        let data = match (&payload.body, &self.shared.overflow) {
            (PayloadBody::Inline(data), _) => data.clone(),
            (PayloadBody::Overflow, None) => return Ok(ReadOutcome::Absent),
            (PayloadBody::Overflow, Some(overflow)) => {
                match overflow.read(&overflow_key(&key), touch).await? {
                    ReadOutcome::Found(record) => record.data,
                    absent_or_gone => return Ok(absent_or_gone),
                }
            }
        };
        let record = Record::new(data, payload.version).tags(payload.tags.clone());
        if let Some(ttl) = touch {
            self.renew(payload, now, ttl);
        }
        Ok(ReadOutcome::Found(record))
    }

    /// Writes a payload that replaces `source`, the payload of the same session so far, and puts its
    /// record into `overflow`, if given.
    ///
    /// The revocation list is queried for the tags of `source`. So a session that was revoked during
    /// the request is not written, even if the request removes the tag. A new tag needs no lookup,
    /// because it is later than the entries.
    pub(super) async fn write_with_backing(
        &self,
        mut payload: Payload,
        source: Option<Payload>,
        overflow: Option<Arc<dyn Store>>,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreError> {
        let is_valid = match source {
            Some(mut source) => {
                let is_valid = self.check_revocation(&mut source, &payload.key).await?;
                payload.keep_tag_times(&source);
                is_valid
            }
            None => self.is_key_valid(&payload.key).await?,
        };
        if !is_valid || !place_record(&mut payload, overflow, now).await? {
            self.state().remove();
            return Ok(WriteOutcome::Gone);
        }
        let version = payload.version;
        self.set_payload(payload);
        Ok(WriteOutcome::Done(version))
    }

    pub(super) async fn touch_with_backing(
        &self,
        key: StoreKey,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let Some(mut payload) = self.payload(&key, now) else {
            return Ok(false);
        };
        if !self.check_revocation(&mut payload, &key).await? {
            return Ok(false);
        }
        if let PayloadBody::Overflow = payload.body {
            let Some(overflow) = &self.shared.overflow else {
                return Ok(false);
            };
            if !overflow.touch(&overflow_key(&key), ttl).await? {
                return Ok(false);
            }
        }
        self.renew(payload, now, ttl);
        Ok(true)
    }
}

/// Writes the payload's record to `overflow`, if given. Returns `false` if that store has a tombstone
/// for the session.
///
/// The record there has no tags. The tags in the cookie are enough to revoke it, and an index must not
/// list the keys of the overflow store as sessions.
async fn place_record(
    payload: &mut Payload,
    overflow: Option<Arc<dyn Store>>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (Some(overflow), PayloadBody::Inline(record)) = (overflow, &payload.body) else {
        return Ok(true);
    };
    let (key, ttl) = (
        overflow_key(&payload.key),
        payload.expires_at.duration_since(now),
    );
    let request = WriteRequest::new(&key, record.clone(), ttl, Expected::Any);
    let written = overflow.write(request).await?;
    payload.body = PayloadBody::Overflow;
    Ok(matches!(written, WriteOutcome::Done(_)))
}
