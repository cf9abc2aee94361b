//! Hint files: what opening needs to know of a segment, without the session data.

use std::{collections::HashMap, sync::atomic::Ordering};

use bytes::{Buf, BufMut};

use super::{
    FileError,
    engine::Engine,
    frame::{HEADER, Header, Kind},
    names,
    scan::{Frames, Piece},
    segment::{FORMAT, HEAD, Segment},
};
use crate::id::StoreKey;

const MAGIC: [u8; 8] = *b"hs-hint\n";
/// Length of a hint file's head.
const HINT_HEAD: usize = 40;
const SUMMED: usize = HINT_HEAD - 4;

/// A frame as a hint tells it: the payload is there for tags only.
pub(super) struct Hinted<'a> {
    pub(super) at: u32,
    pub(super) header: Header,
    pub(super) payload: &'a [u8],
}

/// The hint for a segment's bytes, or `None` where it would save little: it is written only if it
/// takes less than a quarter of what the segment takes. A damaged segment gets none, so that the damage
/// is found again whenever the store is opened.
pub(super) fn encode(bytes: &[u8], id: u32, salt: u32) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let mut count = 0_u32;
    for (at, header, payload) in needed(bytes, salt)? {
        body.put_u32_le(at);
        body.put_slice(&header.encode(salt));
        if header.kind == Kind::Tags {
            body.put_slice(payload);
        }
        count += 1;
    }
    if HINT_HEAD + body.len() >= bytes.len() / 4 {
        return None;
    }
    let mut hint = Vec::with_capacity(HINT_HEAD + body.len());
    hint.put_slice(&MAGIC);
    hint.put_u32_le(FORMAT);
    hint.put_u32_le(id);
    hint.put_u32_le(salt);
    hint.put_u32_le(count);
    hint.put_u64_le(bytes.len() as u64);
    hint.put_u32_le(crc32fast::hash(&body));
    let sum = crc32fast::hash(&hint);
    hint.put_u32_le(sum);
    hint.put_slice(&body);
    Some(hint)
}

/// What later frames of the same segment make superfluous is left out.
#[derive(Default)]
struct Seen {
    state: bool,
    expiry: bool,
    tags: bool,
}

type Found<'a> = (u32, Header, &'a [u8]);

fn needed(bytes: &[u8], salt: u32) -> Option<Vec<Found<'_>>> {
    let mut frames = Vec::new();
    for piece in Frames::of(bytes, salt) {
        match piece {
            Piece::Frame {
                at,
                header,
                payload,
            } => frames.push((at, header, payload)),
            Piece::Room { .. } => {}
            Piece::Damage { .. } | Piece::Torn { .. } => return None,
        }
    }
    let mut seen: HashMap<StoreKey, Seen, ahash::RandomState> = HashMap::default();
    let mut kept: Vec<Found<'_>> = frames
        .into_iter()
        .rev()
        .filter(|(_, header, _)| is_needed(seen.entry(header.key).or_default(), header))
        .collect();
    kept.reverse();
    Some(kept)
}

/// Whether a frame counts, given what later ones said of the same key.
fn is_needed(seen: &mut Seen, header: &Header) -> bool {
    match header.kind {
        Kind::Write | Kind::Destroy => {
            // One that is superseded may still be what ends the tags of earlier segments.
            let ends_tags = header.fresh || header.kind == Kind::Destroy;
            let needed = !seen.state || (ends_tags && !seen.tags);
            seen.state = true;
            seen.expiry = true;
            seen.tags |= ends_tags;
            needed
        }
        Kind::Touch => !std::mem::replace(&mut seen.expiry, true),
        Kind::Tags => !std::mem::replace(&mut seen.tags, true),
        Kind::Open | Kind::Cleaned | Kind::End | Kind::Closed => true,
        Kind::Void => false,
    }
}

/// The frames that a hint file tells, if it is whole and is about this segment at this length.
pub(super) fn decode<'a>(
    hint: &'a [u8],
    id: u32,
    salt: u32,
    segment_len: u64,
) -> Option<Vec<Hinted<'a>>> {
    let (head, mut body) = hint.split_at_checked(HINT_HEAD)?;
    let (summed, sum) = head.split_at_checked(SUMMED)?;
    let mut rest = summed.strip_prefix(&MAGIC)?;
    let about = rest.try_get_u32_le().ok()? == FORMAT
        && rest.try_get_u32_le().ok()? == id
        && rest.try_get_u32_le().ok()? == salt;
    let count = rest.try_get_u32_le().ok()?;
    let current = rest.try_get_u64_le().ok()? == segment_len;
    let whole = rest.try_get_u32_le().ok()? == crc32fast::hash(body)
        && u32::from_le_bytes(*sum.first_chunk()?) == crc32fast::hash(summed);
    if !(about && current && whole) {
        return None;
    }
    let mut frames = Vec::new();
    for _ in 0..count {
        let at = body.try_get_u32_le().ok()?;
        let (header, rest) = body.split_first_chunk::<HEADER>()?;
        let header = Header::decode(header, salt)?;
        let len = match header.kind {
            Kind::Tags => header.len as usize,
            _ => 0,
        };
        let (payload, rest) = rest.split_at_checked(len)?;
        let end = u64::from(at) + header.frame_len();
        if (at as usize) < HEAD || end > segment_len {
            return None;
        }
        frames.push(Hinted {
            at,
            header,
            payload,
        });
        body = rest;
    }
    body.is_empty().then_some(frames)
}

impl Engine {
    /// Writes the hint of a segment that takes no more appends. It is a shortcut and nothing else:
    /// it is not brought to the disk, and one that was torn by a crash fails its check sum. But the
    /// segment is, first: a hint must not outlive what it tells of.
    pub(super) fn write_hint(&self, segment: &Segment) -> Result<(), FileError> {
        segment.file.sync().map_err(|error| self.poison(&error))?;
        let bytes = self.read_segment(segment)?;
        let Some(hint) = encode(&bytes, segment.id, segment.salt) else {
            return Ok(());
        };
        let name = names::hint(segment.id);
        let fail = |error| FileError::io("write", self.disk.locate(&name), error);
        let file = self.disk.create(&name).map_err(fail)?;
        if let Err(error) = file.write_at(&hint, 0) {
            let _ = self.disk.remove(&name);
            return Err(fail(error));
        }
        let len = hint.len() as u64;
        segment.hint_len.store(len, Ordering::Relaxed);
        self.lock_log().sizes.total += len;
        Ok(())
    }

    /// All bytes of a segment.
    pub(super) fn read_segment(&self, segment: &Segment) -> Result<Vec<u8>, FileError> {
        let name = names::segment(segment.id);
        let fail = |error| FileError::io("read", self.disk.locate(&name), error);
        let len = segment.file.len().map_err(fail)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = segment.file.read_at(&mut bytes, 0).map_err(fail)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}
