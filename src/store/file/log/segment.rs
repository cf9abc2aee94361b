//! One file of the log: a head of 32 bytes, then frames.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytes::{Buf, BufMut};

use super::{
    disk::{Disk, DiskFile},
    error::{FileError, is_full},
    names,
};

/// Length of a segment's head.
pub(super) const HEAD: usize = 32;
/// The format written, and the newest one read.
pub(super) const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"hs-log\r\n";
const SUMMED: usize = HEAD - 4;

/// A segment that is open.
pub(super) struct Segment {
    pub(super) id: u32,
    /// Goes into the check sums of the frames' headers; random, and known to this file only.
    pub(super) salt: u32,
    pub(super) file: Box<dyn DiskFile>,
    /// Bytes on disk of this segment that are not the log itself: its hint file.
    pub(super) hint_len: AtomicU64,
    /// Whether a hint was written, or found not to be worth it.
    pub(super) hinted: AtomicBool,
}

/// What stands at the beginning of a segment file.
pub(super) enum Head {
    /// A segment of this salt.
    Salt(u32),
    /// A format that is not known here.
    Newer(u32),
    /// Neither.
    Damaged,
}

impl Segment {
    /// A new segment, durable before it is returned.
    pub(super) fn create(disk: &dyn Disk, id: u32) -> Result<Self, FileError> {
        let name = names::segment(id);
        Self::write_new(disk, id, &name).map_err(|source| {
            if is_full(&source) {
                let path = disk.path().to_path_buf();
                return FileError::Full { path };
            }
            FileError::io("create", disk.locate(&name), source)
        })
    }

    fn write_new(disk: &dyn Disk, id: u32, name: &str) -> io::Result<Self> {
        let file = match disk.create(name) {
            // What an earlier attempt left and could not take away.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(name)?;
                disk.create(name)?
            }
            made => made?,
        };
        let salt = random();
        let written = file
            .write_at(&encode(id, salt), 0)
            .and_then(|()| file.sync())
            .and_then(|()| disk.sync_entries());
        if let Err(error) = written {
            let _ = disk.remove(name);
            return Err(error);
        }
        Ok(Self::opened(id, salt, file))
    }

    pub(super) const fn opened(id: u32, salt: u32, file: Box<dyn DiskFile>) -> Self {
        Self {
            id,
            salt,
            file,
            hint_len: AtomicU64::new(0),
            hinted: AtomicBool::new(false),
        }
    }

    pub(super) fn hint_len(&self) -> u64 {
        self.hint_len.load(Ordering::Relaxed)
    }
}

fn encode(id: u32, salt: u32) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    head.put_slice(&MAGIC);
    head.put_u32_le(FORMAT);
    head.put_u32_le(id);
    head.put_u32_le(salt);
    head.put_u64_le(0);
    let sum = crc32fast::hash(&head);
    head.put_u32_le(sum);
    head
}

/// Reads the beginning of the segment file that is named after `id`.
pub(super) fn read_head(bytes: &[u8], id: u32) -> Head {
    decode(bytes, id).unwrap_or(Head::Damaged)
}

/// The number that a segment says it has.
pub(super) fn read_id(bytes: &[u8]) -> u32 {
    let field = bytes.get(12..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |id| u32::from_le_bytes(*id))
}

fn decode(bytes: &[u8], id: u32) -> Option<Head> {
    let summed = bytes.get(..SUMMED)?;
    let mut rest = summed.strip_prefix(&MAGIC)?;
    // A newer format may have its check sum elsewhere.
    let format = rest.try_get_u32_le().ok()?;
    if format > FORMAT {
        return Some(Head::Newer(format));
    }
    let sum = u32::from_le_bytes(*bytes.get(SUMMED..)?.first_chunk()?);
    let named = rest.try_get_u32_le().ok()?;
    let salt = rest.try_get_u32_le().ok()?;
    (format == FORMAT && named == id && sum == crc32fast::hash(summed)).then_some(Head::Salt(salt))
}

/// A number that nobody outside can guess, from the seed the standard library draws for its maps.
fn random() -> u32 {
    let seed = RandomState::new().build_hasher().finish();
    let [a, b, c, d, ..] = seed.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
