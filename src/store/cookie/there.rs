//! What other stores have to be asked about: was it revoked, and is its record elsewhere.

use std::time::Duration;

use super::{
    NAME,
    contents::{Body, Contents},
    revoked::Standing,
    visit::Visit,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Expected, ReadOutcome, Record, StoreError, WriteOutcome},
};

/// Whether contents fit into the cookies.
pub(super) enum Fit {
    Here,
    Elsewhere,
    Nowhere(StoreError),
}

/// Where the record is in the overflow store. It is no session there: the same store may keep those.
pub(super) fn over(key: &StoreKey) -> StoreKey {
    StoreKey::derive("overflow", key.as_bytes())
}

impl Visit {
    /// Whether the session was not ended at the server. What changes by that is kept.
    async fn stands(&self, contents: &mut Contents) -> Result<bool, StoreError> {
        let Some(revoked) = &self.shared.revoked else {
            return Ok(true);
        };
        match revoked.standing(contents).await? {
            Standing::Over => {
                let mut held = self.held();
                held.forget();
                held.rejected = Some("data_revoked");
                Ok(false)
            }
            Standing::Stands => Ok(true),
            Standing::Spared => {
                self.keep(contents.clone());
                Ok(true)
            }
        }
    }

    /// Whether the session was not ended under the key from which it moves to another. (Its tags are
    /// copied, and tell by themselves.)
    async fn origin_stands(&self, to: &StoreKey) -> Result<bool, StoreError> {
        let from = self.held().contents.as_ref().map(|origin| origin.key);
        match from.filter(|from| from != to) {
            Some(from) => self.key_stands(&from).await,
            None => Ok(true),
        }
    }

    async fn key_stands(&self, key: &StoreKey) -> Result<bool, StoreError> {
        match &self.shared.revoked {
            Some(revoked) => revoked.key_stands(key).await,
            None => Ok(true),
        }
    }

    /// The contents with their record where it fits; `None` where the overflow store knows that the
    /// session has ended.
    pub(super) async fn place(
        &self,
        mut contents: Contents,
        now: Timestamp,
        action: &'static str,
    ) -> Result<Option<Contents>, StoreError> {
        let (Err(too_large), Body::Here(record)) = (self.shared.fits(&contents), &contents.body)
        else {
            return Ok(Some(contents));
        };
        let Some(overflow) = &self.shared.overflow else {
            return Err(StoreError::new(NAME, action, too_large));
        };
        let life = contents.expires.duration_since(now);
        let writing = overflow.write(&over(&contents.key), record.clone(), life, Expected::Any);
        let WriteOutcome::Done(_) = writing.await? else {
            return Ok(None);
        };
        contents.body = Body::Overflow;
        Ok(Some(contents))
    }

    /// Whether `place` has nothing to ask of anybody.
    pub(super) fn fits_or_fails(&self, contents: &Contents, action: &'static str) -> Fit {
        match (self.shared.fits(contents), &self.shared.overflow) {
            (Ok(()), _) => Fit::Here,
            (Err(too_large), None) => Fit::Nowhere(StoreError::new(NAME, action, too_large)),
            (Err(_), Some(_)) => Fit::Elsewhere,
        }
    }

    pub(super) async fn read_there(
        &self,
        key: StoreKey,
        now: Timestamp,
        touch: Option<Duration>,
    ) -> Result<ReadOutcome, StoreError> {
        let Some(mut contents) = self.current(&key, now) else {
            return Ok(match self.key_stands(&key).await? {
                true => ReadOutcome::Absent,
                false => ReadOutcome::Gone,
            });
        };
        if !self.stands(&mut contents).await? {
            return Ok(ReadOutcome::Gone);
        }
        let data = match (&contents.body, &self.shared.overflow) {
            (Body::Here(data), _) => data.clone(),
            (Body::Overflow, None) => return Ok(ReadOutcome::Absent),
            (Body::Overflow, Some(overflow)) => match overflow.read(&over(&key), touch).await? {
                ReadOutcome::Found(record) => record.data,
                absent => return Ok(absent),
            },
        };
        let version = contents.version;
        if let Some(ttl) = touch {
            self.prolong(contents, now, ttl);
        }
        Ok(ReadOutcome::Found(Record { data, version }))
    }

    pub(super) async fn write_there(
        &self,
        mut contents: Contents,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreError> {
        let stands = self.origin_stands(&contents.key).await? && self.stands(&mut contents).await?;
        let placed = match stands {
            true => self.place(contents, now, "write").await?,
            false => None,
        };
        let Some(contents) = placed else {
            self.held().forget();
            return Ok(WriteOutcome::Gone);
        };
        let version = contents.version;
        self.keep(contents);
        Ok(WriteOutcome::Done(version))
    }

    pub(super) async fn touch_there(
        &self,
        key: StoreKey,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let Some(mut contents) = self.current(&key, now) else {
            return Ok(false);
        };
        if !self.stands(&mut contents).await? {
            return Ok(false);
        }
        if let Body::Overflow = contents.body {
            let Some(overflow) = &self.shared.overflow else {
                return Ok(false);
            };
            if !overflow.touch(&over(&key), ttl).await? {
                return Ok(false);
            }
        }
        self.prolong(contents, now, ttl);
        Ok(true)
    }
}
