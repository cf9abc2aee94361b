//! A cache of id cookies that were opened recently.
//!
//! A browser sends the same cookie with every request until the cookie is renewed, and one page
//! makes many requests. The cache saves decrypting the cookie each time. It holds only cookies that
//! were authenticated, and returns an entry only for the same text, byte by byte. An entry holds
//! nothing that the cookie does not, so it cannot be out of date. Only the store decides if a
//! session is alive.

use std::{
    fmt,
    sync::{Mutex, MutexGuard},
};

use crate::{
    id::StoreKey,
    seal::ct_eq,
    wire::{CookieText, OpenedIdCookie},
};

/// Capacity in cookies. They take about 300 KB together.
const SLOTS: usize = 1024;

/// Opened id cookies by their text. Each text has one slot; a new entry replaces the old one there.
pub(crate) struct CookieCache(Box<[Mutex<Option<CachedCookie>>]>);

struct CachedCookie {
    text: CookieText,
    opened: OpenedIdCookie,
    key: StoreKey,
}

impl CookieCache {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| Mutex::new(None)).collect())
    }

    /// Returns the opened cookie for this text, and the key of its id.
    pub(super) fn get(&self, text: &[u8]) -> Option<(OpenedIdCookie, StoreKey)> {
        let slot = self.slot(text)?;
        let entry = slot.as_ref().filter(|entry| ct_eq(&entry.text, text))?;
        Some((entry.opened.clone(), entry.key))
    }

    /// Adds a cookie that was authenticated, unless its text is too long for the inline buffer.
    pub(super) fn insert(&self, text: &[u8], opened: &OpenedIdCookie, key: StoreKey) {
        let inline = CookieText::from_slice(text);
        if inline.spilled() {
            return;
        }
        if let Some(mut slot) = self.slot(text) {
            *slot = Some(CachedCookie {
                text: inline,
                opened: opened.clone(),
                key,
            });
        }
    }

    /// Returns the slot of a cookie's text. Returns `None` while another thread uses it, because
    /// opening the cookie again is cheaper than waiting.
    fn slot(&self, text: &[u8]) -> Option<MutexGuard<'_, Option<CachedCookie>>> {
        // The last bytes of a sealed text are as good as random, so they serve as a hash.
        let mixed = u64::from_le_bytes(*text.last_chunk()?).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let slot = self.0.get((mixed >> 32) as usize % SLOTS)?;
        slot.try_lock().ok()
    }
}

impl fmt::Debug for CookieCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieCache(…)")
    }
}

#[cfg(test)]
mod tests;
