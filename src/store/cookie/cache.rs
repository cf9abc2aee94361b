//! A cache of opened data cookies.
//!
//! A browser sends the same cookie with every request until its session is written or renewed, and
//! one page makes many requests. The cache saves opening the seal each time.
//!
//! - Only authenticated texts are cached, from the second time that they arrive.
//! - Only the same text, byte by byte, finds its entry.
//! - An entry proves no more than the cookie itself, so callers check expiry and revocation on every
//!   request.

use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

use crate::seal::ct_eq;

/// Maximum number of cached cookies. Each takes at most 7 KB, including its opened bytes.
const SLOTS: usize = 256;

/// A direct-mapped cache. Each text has one slot, and replaces the text that was there.
pub(super) struct DataCookieCache(Box<[Mutex<DataCookieSlot>]>);

#[derive(Default)]
enum DataCookieSlot {
    #[default]
    Empty,
    /// A text with this suffix was opened once. Most visitors do not return soon, so the first opening
    /// does not store the text itself.
    SeenOnce(TextSuffix),
    Cached {
        text: Box<[u8]>,
        plain: Bytes,
        first_key: bool,
    },
}

/// The last bytes of a sealed text. They are as good as random, so they serve as its hash.
type TextSuffix = [u8; 8];

impl Default for DataCookieCache {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| Mutex::default()).collect())
    }
}

impl DataCookieCache {
    /// Returns the plaintext of a cached text, and `true` if the first key sealed it.
    pub(super) fn get(&self, text: &[u8]) -> Option<(Bytes, bool)> {
        match &*self.slot(text)? {
            DataCookieSlot::Cached {
                text: cached,
                plain,
                first_key,
            } if ct_eq(cached, text) => Some((plain.clone(), *first_key)),
            _ => None,
        }
    }

    /// Records an authenticated text. The second call with the same text caches it.
    pub(super) fn insert(&self, text: &[u8], plain: &Bytes, first_key: bool) {
        let (Some(mut slot), Some(suffix)) = (self.slot(text), text.last_chunk()) else {
            return;
        };
        *slot = match &*slot {
            DataCookieSlot::SeenOnce(seen) if seen == suffix => DataCookieSlot::Cached {
                text: text.into(),
                plain: plain.clone(),
                first_key,
            },
            _ => DataCookieSlot::SeenOnce(*suffix),
        };
    }

    /// Locks the slot of a text. Returns `None` if another thread holds the lock. Waiting would cost
    /// more than opening the seal.
    fn slot(&self, text: &[u8]) -> Option<MutexGuard<'_, DataCookieSlot>> {
        let suffix: &TextSuffix = text.last_chunk()?;
        let mixed = u64::from_le_bytes(*suffix).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0.get((mixed >> 32) as usize % SLOTS)?.try_lock().ok()
    }
}

#[cfg(test)]
mod tests;
