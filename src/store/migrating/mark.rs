//! What the old store holds: sessions, and marks of those on their way.
//!
//! A mark is a record whose data is 16 bytes that no session begins with, a byte that tells its
//! kind, and for a session that is being moved 8 bytes of its lifetime in ms (big-endian) and its
//! data.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::MigratingError;
use crate::store::{Record, Version};

const MARK: &[u8; 16] = b"\xF5hyper-session m";
const MOVING: u8 = 1;
const ELSEWHERE: u8 = 2;
const RESERVED: u8 = 3;

/// A live record of the old store.
pub(super) enum Held {
    /// A session as it was written, of the old store's own version. While it stands, the new store
    /// has no live record of this key.
    Session(Record),
    /// A session that is to be published in the new store. While this stands, it is changed by
    /// nobody: it is published as it is, or destroyed.
    Moving(Moving),
    /// The session is, or is about to be, in the new store.
    Elsewhere,
    /// Somebody is about to create the session in the old store, and may do so as long as this
    /// version stands.
    Reserved(Version),
}

/// A session between the stores.
pub(super) struct Moving {
    pub(super) data: Bytes,
    pub(super) ttl: Duration,
    /// The mark's version in the old store.
    pub(super) version: Version,
}

impl Held {
    pub(super) fn new(record: Record) -> Result<Self, MigratingError> {
        let Some(kind) = record.data.strip_prefix(MARK) else {
            return Ok(Self::Session(record));
        };
        match kind.first() {
            Some(&MOVING) => {
                let mut data = record.data.slice(MARK.len() + 1..);
                let millis = data.try_get_u64().map_err(|_| MigratingError::Mark)?;
                Ok(Self::Moving(Moving {
                    data,
                    ttl: Duration::from_millis(millis),
                    version: record.version,
                }))
            }
            Some(&ELSEWHERE) => Ok(Self::Elsewhere),
            Some(&RESERVED) => Ok(Self::Reserved(record.version)),
            _ => Err(MigratingError::Mark),
        }
    }
}

/// The mark of a session that is being moved.
pub(super) fn moving(data: &[u8], ttl: Duration) -> Bytes {
    let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let mut mark = BytesMut::with_capacity(MARK.len() + 9 + data.len());
    mark.put_slice(MARK);
    mark.put_u8(MOVING);
    mark.put_u64(millis);
    mark.put_slice(data);
    mark.freeze()
}

/// The mark of a session that is looked for in the new store.
pub(super) const fn elsewhere() -> Bytes {
    const BYTES: &[u8; 17] = &plain(ELSEWHERE);
    Bytes::from_static(BYTES)
}

/// The mark of a session that is about to be created in the old store.
pub(super) const fn reserved() -> Bytes {
    const BYTES: &[u8; 17] = &plain(RESERVED);
    Bytes::from_static(BYTES)
}

const fn plain(kind: u8) -> [u8; 17] {
    let mut mark = [kind; 17];
    let (start, _) = mark.split_at_mut(MARK.len());
    start.copy_from_slice(MARK);
    mark
}
