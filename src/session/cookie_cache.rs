//! Id cookies that were opened lately.
//!
//! A browser sends the same cookie with every request until its next renewal, and one page makes
//! many requests: its seal needs to be opened once, not every time. Only what was authenticated
//! comes in here, and only the same text, byte by byte, finds it again. It says no more than the
//! cookie itself does, so nothing in here can be out of date: whether a session still lives is
//! the store's to say.

use std::{
    fmt,
    sync::{Mutex, MutexGuard},
};

use crate::{
    id::StoreKey,
    seal::ct_eq,
    wire::{CookieText, OpenedIdCookie},
};

/// How many cookies are remembered at most. Together they take about 200 KB.
const SLOTS: usize = 1024;

/// The cookies, each in the one slot where it may be. A cookie takes the place of the one before.
pub(crate) struct CookieCache(Box<[Mutex<Option<Entry>>]>);

struct Entry {
    text: CookieText,
    opened: OpenedIdCookie,
    key: StoreKey,
}

impl CookieCache {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| Mutex::new(None)).collect())
    }

    /// What this text was found to be when it was opened, and the key of its id.
    pub(super) fn get(&self, text: &[u8]) -> Option<(OpenedIdCookie, StoreKey)> {
        let slot = self.slot(text)?;
        let entry = slot.as_ref().filter(|entry| ct_eq(&entry.text, text))?;
        Some((entry.opened.clone(), entry.key))
    }

    /// Remembers a text that authenticated. One that would need the heap is not remembered.
    pub(super) fn insert(&self, text: &[u8], opened: &OpenedIdCookie, key: StoreKey) {
        let kept = CookieText::from_slice(text);
        if kept.spilled() {
            return;
        }
        if let Some(mut slot) = self.slot(text) {
            *slot = Some(Entry {
                text: kept,
                opened: opened.clone(),
                key,
            });
        }
    }

    /// The slot of a text; `None` while another thread is there, which is not worth a wait.
    ///
    /// The end of a sealed text is as good as random, so it is a hash already.
    fn slot(&self, text: &[u8]) -> Option<MutexGuard<'_, Option<Entry>>> {
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
