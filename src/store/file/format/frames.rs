//! Walking over the frames of a segment, and over what is damaged in between.

use super::{
    frame::{HEADER, Header},
    segment::HEAD,
};
use crate::id::StoreKey;

/// What stands at one place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A whole frame.
    Frame {
        at: u32,
        header: Header,
        payload: &'a [u8],
    },
    /// Bytes that are no frame, with frames behind them. Where they began like one, `key` is the
    /// key it was about, whose state is therefore not known.
    Damage {
        at: u32,
        len: u64,
        key: Option<StoreKey>,
    },
    /// Bytes that are no frame, up to the end: what a crash leaves of the last append.
    Torn { at: u32, len: u64 },
    /// Zeros up to the end: room that was made for frames to come.
    Room { at: u32, len: u64 },
}

/// The frames of a segment's bytes, in order.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    salt: u32,
    at: usize,
}

impl<'a> Frames<'a> {
    /// The frames of a whole segment file.
    pub(super) const fn of(bytes: &'a [u8], salt: u32) -> Self {
        Self {
            bytes,
            salt,
            at: HEAD,
        }
    }

    fn header_at(&self, at: usize) -> Option<Header> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Header::decode(bytes, self.salt)
    }

    /// The frame at `at`, if there is a whole one whose payload is the one that was written.
    fn frame_at(&self, at: usize) -> Option<(Header, &'a [u8])> {
        let header = self.header_at(at)?;
        let begin = at.checked_add(HEADER)?;
        let end = begin.checked_add(usize::try_from(header.len).ok()?)?;
        let payload = self.bytes.get(begin..end)?;
        header.fits(payload).then_some((header, payload))
    }

    /// Passes over what is no frame. A header that is whole tells where the next frame begins, so
    /// session data inside a damaged frame is not mistaken for frames.
    fn skip(&mut self) -> Piece<'a> {
        let begin = self.at;
        let rest = self.bytes.get(begin..).unwrap_or_default();
        if rest.iter().all(|byte| *byte == 0) {
            self.at = self.bytes.len();
            let (at, len) = (begin as u32, rest.len() as u64);
            return Piece::Room { at, len };
        }
        let key = self
            .header_at(begin)
            .map_or_else(|| Header::key_of(rest), |header| Some(header.key));
        let mut at = begin;
        let found = loop {
            at = match self.header_at(at) {
                Some(_) if self.frame_at(at).is_some() => break true,
                Some(header) => at.saturating_add(header.frame_len() as usize),
                None => at + 1,
            };
            if at.saturating_add(HEADER) > self.bytes.len() {
                break false;
            }
        };
        self.at = if found { at } else { self.bytes.len() };
        let (at, len) = (begin as u32, (self.at - begin) as u64);
        if found {
            Piece::Damage { at, len, key }
        } else {
            Piece::Torn { at, len }
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let Some((header, payload)) = self.frame_at(self.at) else {
            return Some(self.skip());
        };
        let at = self.at as u32;
        self.at += HEADER + payload.len();
        Some(Piece::Frame {
            at,
            header,
            payload,
        })
    }
}
