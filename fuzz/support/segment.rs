//! Segment files: an independent reader, and a repair of checksums.

use crc32fast::Hasher;

const HEAD_LEN: usize = 36;
const HEAD_LEN_OF_VERSION_1: usize = 32;
pub const HEADER_LEN: usize = 68;
const SALT: [u8; 4] = [7, 7, 7, 7];

/// A frame of the reference reader.
#[allow(dead_code, reason = "not every target reads every field")]
pub struct Frame<'a> {
    pub offset: usize,
    pub kind: u8,
    /// The offset up to which the segment was known to be durable, or 0.
    pub synced: u32,
    pub version: u64,
    pub expires: u64,
    pub key: &'a [u8],
    pub payload_len: usize,
}

fn crc(initial: u32, bytes: &[u8]) -> u32 {
    let mut crc = Hasher::new_with_initial(initial);
    crc.update(bytes);
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Returns the length of the head, or `None` if it is damaged.
fn head_len(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..HEAD_LEN_OF_VERSION_1)?;
    let intact = head.starts_with(b"hs-log\r\n") && u32_at(head, 28) == crc(0, &head[..28]);
    match u32_at(head, 8) {
        1 if intact => Some(HEAD_LEN_OF_VERSION_1),
        2 if intact && bytes.len() >= HEAD_LEN => Some(HEAD_LEN),
        _ => None,
    }
}

/// Returns the intact frames up to the first damage, and the offset after them. Returns `None` if the
/// head is damaged.
pub fn frames(bytes: &[u8]) -> Option<(Vec<Frame<'_>>, usize)> {
    let head_len = head_len(bytes)?;
    let salt = u32_at(bytes, 16);
    let (mut frames, mut at) = (Vec::new(), head_len);
    while let Some(header) = bytes.get(at..at + HEADER_LEN) {
        let len = u32_at(header, 8) as usize;
        let payload = bytes
            .get(at + HEADER_LEN..)
            .and_then(|rest| rest.get(..len));
        let valid = (1..=9).contains(&header[4])
            && header[5] <= 3
            && header[6..8] == [0, 0]
            && u32_at(header, 0) == crc(salt, &header[4..])
            && payload.is_some_and(|payload| crc(0, payload) == u32_at(header, 12));
        if !valid {
            break;
        }
        frames.push(Frame {
            offset: at,
            kind: header[4],
            synced: u32_at(header, 16),
            version: u64_at(header, 20),
            expires: u64_at(header, 28),
            key: &header[36..],
            payload_len: len,
        });
        at += HEADER_LEN + len;
    }
    Some((frames, at))
}

/// Makes a valid segment of any bytes, of version 1 or 2: repairs the head, and the lengths and
/// checksums of at most `count` frames.
#[allow(dead_code, reason = "not every target repairs")]
pub fn repair(bytes: &mut [u8], count: usize) {
    if bytes.len() < HEAD_LEN {
        return;
    }
    bytes[..8].copy_from_slice(b"hs-log\r\n");
    let version = if bytes[8] % 4 == 1 { 1_u32 } else { 2 };
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    bytes[12..16].copy_from_slice(&1_u32.to_le_bytes());
    bytes[16..20].copy_from_slice(&SALT);
    let head_crc = crc(0, &bytes[..28]);
    bytes[28..32].copy_from_slice(&head_crc.to_le_bytes());
    let mut at = head_len(bytes).unwrap_or(HEAD_LEN);
    for _ in 0..count {
        let Some(room) = bytes.len().checked_sub(at + HEADER_LEN) else {
            return;
        };
        let frame = &mut bytes[at..];
        frame[4] = 1 + (frame[4].wrapping_sub(1)) % 9;
        frame[5] &= 3;
        frame[6..8].fill(0);
        let len = (u32_at(frame, 8) as usize % 512).min(room);
        frame[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        // Few keys, so that frames meet the keys of earlier frames.
        let key = frame[36] % 4;
        frame[36..HEADER_LEN].fill(key);
        let payload_crc = crc(0, &frame[HEADER_LEN..HEADER_LEN + len]);
        frame[12..16].copy_from_slice(&payload_crc.to_le_bytes());
        let header_crc = crc(u32::from_le_bytes(SALT), &frame[4..HEADER_LEN]);
        frame[..4].copy_from_slice(&header_crc.to_le_bytes());
        at += HEADER_LEN + len;
    }
}

/// Mutates a segment and repairs its checksums, so that the code behind them is reached. One of four
/// segments keeps its damage from some frame on.
#[allow(dead_code, reason = "not every target mutates")]
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    let count = if seed % 4 == 0 {
        seed / 4 % 8
    } else {
        u32::MAX
    };
    repair(&mut data[..size], count as usize);
    size
}
