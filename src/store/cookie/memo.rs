//! Data cookies that came twice.
//!
//! A browser sends the same cookie with every request until its session is written or renewed, and
//! one page makes many requests: the seal need not be opened every time. Only what was authenticated
//! comes in here, from the second time it comes, and only the same text, byte by byte, finds it
//! again. It says no more than the cookie itself does: whether that has expired or was revoked is
//! asked of every request anew.

use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

use crate::seal::ct_eq;

/// How many cookies are remembered at most, of 7 KB each at most, the opened bytes included.
const SLOTS: usize = 256;

/// Each cookie in the one slot where it may be. It takes the place of the one before.
pub(super) struct Memo(Box<[Mutex<Slot>]>);

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    /// A text that ends like this was opened once: most strangers do not come again soon.
    Seen(Ending),
    Kept {
        text: Box<[u8]>,
        plain: Bytes,
        first_key: bool,
    },
}

/// The end of a sealed text is as good as random, so it is a hash already.
type Ending = [u8; 8];

impl Default for Memo {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| Mutex::default()).collect())
    }
}

impl Memo {
    /// The bytes that this text was found to hold, and whether the first key sealed it.
    pub(super) fn get(&self, text: &[u8]) -> Option<(Bytes, bool)> {
        match &*self.slot(text)? {
            Slot::Kept {
                text: kept,
                plain,
                first_key,
            } if ct_eq(kept, text) => Some((plain.clone(), *first_key)),
            _ => None,
        }
    }

    /// Takes note of a text that authenticated.
    pub(super) fn note(&self, text: &[u8], plain: &Bytes, first_key: bool) {
        let (Some(mut slot), Some(ending)) = (self.slot(text), text.last_chunk()) else {
            return;
        };
        *slot = match &*slot {
            Slot::Seen(seen) if seen == ending => Slot::Kept {
                text: text.into(),
                plain: plain.clone(),
                first_key,
            },
            _ => Slot::Seen(*ending),
        };
    }

    /// The slot of a text; `None` while another thread is there, which is not worth a wait.
    fn slot(&self, text: &[u8]) -> Option<MutexGuard<'_, Slot>> {
        let ending: &Ending = text.last_chunk()?;
        let mixed = u64::from_le_bytes(*ending).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0.get((mixed >> 32) as usize % SLOTS)?.try_lock().ok()
    }
}

#[cfg(test)]
mod tests;
