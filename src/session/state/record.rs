//! Decoding of stored records.

use bytes::Bytes;

use super::flash_state::flash_len;
use crate::{
    document::Document,
    id::StoreKey,
    session::{SessionError, engine::Engine},
    store::{Expected, Record, Tags, Version, WriteRequest},
    wire::{DecodeError, Lifetime, RecordHead},
};

/// A decoded record.
#[derive(Clone, Debug)]
pub(in crate::session) struct DecodedRecord {
    pub(in crate::session) head: RecordHead,
    pub(in crate::session) data: Document,
    pub(in crate::session) flash: Document,
    pub(in crate::session) tags: Tags,
}

/// A record as a commit stored it.
#[derive(Clone, Debug)]
pub(in crate::session) struct StoredRecord {
    pub(in crate::session) record: Record,
    pub(in crate::session) lifetime: Lifetime,
}

impl StoredRecord {
    /// Returns the write of this record, with the time to live that it has now.
    pub(in crate::session) fn to_request(
        &self,
        engine: &Engine,
        key: &StoreKey,
        expected: Expected,
    ) -> WriteRequest {
        let ttl = engine.record_ttl_from_now(&self.lifetime);
        let request = WriteRequest::new(key, self.record.data.clone(), ttl, expected);
        request.tags(self.record.tags.clone())
    }
}

impl DecodedRecord {
    /// Encodes the record. Its version is a placeholder until the record is written.
    pub(in crate::session) fn encode(self, engine: &Engine) -> StoredRecord {
        let lifetime = self.head.lifetime;
        let data = engine
            .format
            .encode(&lifetime, &self.data, &self.flash, None);
        StoredRecord {
            record: Record::new(data, Version::FIRST).tags(self.tags),
            lifetime,
        }
    }

    /// Sets the limits for changes of the data.
    pub(in crate::session) fn set_limits(&mut self, engine: &Engine) {
        self.data.set_limit(engine.policy.limits.document);
        self.data.set_reserved(flash_len(&self.flash));
    }

    /// Returns the record of a session that holds nothing.
    pub(in crate::session) fn empty(lifetime: Lifetime) -> Self {
        Self {
            head: RecordHead {
                lifetime,
                is_fence: false,
            },
            data: Document::new(),
            flash: Document::new(),
            tags: Tags::new(),
        }
    }
}

/// Decodes a record into new documents.
pub(in crate::session) fn decode(
    engine: &Engine,
    record: &Record,
) -> Result<DecodedRecord, SessionError> {
    let (mut data, mut flash) = (Document::new(), Document::new());
    let head = decode_into(engine, &record.data, &mut data, &mut flash)?;
    Ok(DecodedRecord {
        head,
        data,
        flash,
        tags: record.tags.clone(),
    })
}

/// Decodes a record into existing documents, and reuses their buffers.
pub(super) fn decode_into(
    engine: &Engine,
    record: &Bytes,
    data: &mut Document,
    flash: &mut Document,
) -> Result<RecordHead, DecodeError> {
    engine.format.decode(record, data, flash)
}

impl From<DecodeError> for SessionError {
    fn from(error: DecodeError) -> Self {
        Self::Record(match error {
            DecodeError::UnsupportedVersion(_) => "a newer release wrote it; upgrade this service",
            DecodeError::Damaged => "it is damaged or not a session record; destroy the session",
        })
    }
}
