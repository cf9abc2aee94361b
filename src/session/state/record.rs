//! Decoding of stored records.

use bytes::Bytes;

use crate::{
    document::Document,
    session::{SessionError, engine::Engine},
    wire::{DecodeError, RecordHead},
};

/// A decoded record.
#[derive(Debug)]
pub(in crate::session) struct DecodedRecord {
    pub(in crate::session) head: RecordHead,
    pub(in crate::session) data: Document,
    pub(in crate::session) flash: Document,
}

/// Decodes a record into new documents.
pub(in crate::session) fn decode(
    engine: &Engine,
    record: &Bytes,
) -> Result<DecodedRecord, SessionError> {
    let (mut data, mut flash) = (Document::new(), Document::new());
    let head = decode_into(engine, record, &mut data, &mut flash)?;
    Ok(DecodedRecord { head, data, flash })
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
