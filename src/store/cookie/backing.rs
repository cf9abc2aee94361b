//! Operations that need a backing store: the revocation list or the overflow store.

use std::time::Duration;

use super::{
    STORE_NAME,
    payload::{Payload, PayloadBody},
    request::CookieRequestStore,
    revocation::RevocationStatus,
    shared::overflow_key,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Expected, ReadOutcome, Record, StoreError, WriteOutcome},
};

impl CookieRequestStore {
    /// Returns `true` if neither the session nor one of its tags is revoked.
    ///
    /// Removes the cookie of a revoked session, and keeps the updated tags of an exempt one.
    async fn check_revocation(&self, payload: &mut Payload) -> Result<bool, StoreError> {
        let Some(revocation) = &self.shared.revocation else {
            return Ok(true);
        };
        match revocation.status(payload).await? {
            RevocationStatus::Revoked => {
                let mut state = self.state();
                state.remove();
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

    /// Returns `true` unless the session gets the new key `to` and its current key is revoked.
    ///
    /// Its tags are not checked. They are copied to the new key and checked there.
    async fn is_source_valid(&self, to: &StoreKey) -> Result<bool, StoreError> {
        let from = self.state().payload.as_ref().map(|payload| payload.key);
        match from.filter(|from| from != to) {
            Some(from) => self.is_key_valid(&from).await,
            None => Ok(true),
        }
    }

    async fn is_key_valid(&self, key: &StoreKey) -> Result<bool, StoreError> {
        match &self.shared.revocation {
            Some(revocation) => revocation.is_key_valid(key).await,
            None => Ok(true),
        }
    }

    /// Writes the record to the overflow store if it does not fit into the cookies, and returns the
    /// payload to seal.
    ///
    /// Returns `None` if the overflow store has a tombstone for the session.
    pub(super) async fn place_record(
        &self,
        mut payload: Payload,
        now: Timestamp,
        operation: &'static str,
    ) -> Result<Option<Payload>, StoreError> {
        let (Err(too_large), PayloadBody::Inline(record)) =
            (self.shared.check_size(&payload), &payload.body)
        else {
            return Ok(Some(payload));
        };
        let Some(overflow) = &self.shared.overflow else {
            return Err(StoreError::new(STORE_NAME, operation, too_large));
        };
        let (key, ttl) = (
            overflow_key(&payload.key),
            payload.expires_at.duration_since(now),
        );
        let writing = overflow.write(&key, record.clone(), ttl, Expected::Any);
        let WriteOutcome::Done(_) = writing.await? else {
            return Ok(None);
        };
        payload.body = PayloadBody::Overflow;
        Ok(Some(payload))
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
        if !self.check_revocation(&mut payload).await? {
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
        let version = payload.version;
        if let Some(ttl) = touch {
            self.renew(payload, now, ttl);
        }
        Ok(ReadOutcome::Found(Record { data, version }))
    }

    pub(super) async fn write_with_backing(
        &self,
        mut payload: Payload,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreError> {
        let is_valid = self.is_source_valid(&payload.key).await?
            && self.check_revocation(&mut payload).await?;
        let placed = match is_valid {
            true => self.place_record(payload, now, "write").await?,
            false => None,
        };
        let Some(payload) = placed else {
            self.state().remove();
            return Ok(WriteOutcome::Gone);
        };
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
        if !self.check_revocation(&mut payload).await? {
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
