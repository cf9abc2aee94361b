//! Migration markers: records that are not sessions.
//!
//! A marker's data is a prefix of 16 bytes that no session begins with, and a byte for its kind. A
//! migrating session follows it: 8 bytes of time to live in milliseconds (big-endian), and the data.
//! The record of a migrating session keeps the session's tags, so that a logout everywhere finds it.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::MigratingError;
use crate::store::{Record, Tags, Version};

const PREFIX: &[u8; 16] = b"\xF5hyper-session m";
const MIGRATING: u8 = 1;
const IN_NEW_STORE: u8 = 2;
const RESERVED: u8 = 3;

/// A live record: a session or a marker.
pub(super) enum MigrationRecord {
    /// A session as it was written, with the version of the store that holds it.
    Session(Record),
    /// A session to publish in the new store. Nothing changes it any more. It is published as it is,
    /// or destroyed.
    Migrating(MigratingSession),
    /// A marker of the old store. The session is in the new store, or is about to be.
    InNewStore,
    /// A marker. A machine is about to create the session in the store that holds the marker.
    Reserved(Record),
}

/// A session between the stores.
pub(super) struct MigratingSession {
    pub(super) data: Bytes,
    pub(super) tags: Tags,
    pub(super) ttl: Duration,
    /// The version of its marker.
    pub(super) version: Version,
}

impl MigrationRecord {
    pub(super) fn decode(record: Record) -> Result<Self, MigratingError> {
        let Some(kind) = record.data.strip_prefix(PREFIX) else {
            return Ok(Self::Session(record));
        };
        match kind.first() {
            Some(&MIGRATING) => {
                let mut data = record.data.slice(PREFIX.len() + 1..);
                let millis = data.try_get_u64().map_err(|_| MigratingError::Marker)?;
                Ok(Self::Migrating(MigratingSession {
                    data,
                    tags: record.tags,
                    ttl: Duration::from_millis(millis),
                    version: record.version,
                }))
            }
            Some(&IN_NEW_STORE) => Ok(Self::InNewStore),
            Some(&RESERVED) => Ok(Self::Reserved(record)),
            _ => Err(MigratingError::Marker),
        }
    }
}

/// Returns the marker for [`MigrationRecord::Migrating`].
pub(super) fn migrating_marker(data: &[u8], ttl: Duration) -> Bytes {
    let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let mut marker = BytesMut::with_capacity(PREFIX.len() + 9 + data.len());
    marker.put_slice(PREFIX);
    marker.put_u8(MIGRATING);
    marker.put_u64(millis);
    marker.put_slice(data);
    marker.freeze()
}

/// Returns the marker for [`MigrationRecord::InNewStore`].
pub(super) const fn in_new_store_marker() -> Bytes {
    const BYTES: &[u8; 17] = &without_data(IN_NEW_STORE);
    Bytes::from_static(BYTES)
}

/// Returns the marker for [`MigrationRecord::Reserved`].
pub(super) const fn reserved_marker() -> Bytes {
    const BYTES: &[u8; 17] = &without_data(RESERVED);
    Bytes::from_static(BYTES)
}

const fn without_data(kind: u8) -> [u8; 17] {
    let mut marker = [kind; 17];
    let (prefix, _) = marker.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(PREFIX);
    marker
}
