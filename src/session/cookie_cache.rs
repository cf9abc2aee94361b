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

/// Number of buckets. They take 256 KB.
const BUCKETS: usize = 4096;

/// Capacity of a bucket in cookies. A cookie takes about 250 bytes, so a full cache takes about 4.5 MB.
const BUCKET_LEN: usize = 4;

/// Opened id cookies by their text. Each text has one bucket; a new entry replaces the oldest one in it.
pub(crate) struct CookieCache(Box<[AlignedBucket]>);

/// A bucket in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct AlignedBucket(Mutex<CookieBucket>);

#[derive(Default)]
struct CookieBucket {
    /// Hashes of the texts, so that a search reads one entry.
    hashes: [u32; BUCKET_LEN],
    /// An entry is allocated when it is first used.
    cookies: [Option<Box<CachedCookie>>; BUCKET_LEN],
    oldest: usize,
}

struct CachedCookie {
    text: CookieText,
    opened: OpenedIdCookie,
    key: StoreKey,
}

impl CookieCache {
    pub(crate) fn new() -> Self {
        Self((0..BUCKETS).map(|_| AlignedBucket::default()).collect())
    }

    /// Returns the opened cookie for this text, and the key of its id.
    pub(super) fn get(&self, text: &[u8]) -> Option<(OpenedIdCookie, StoreKey)> {
        let (bucket, hash) = self.bucket(text)?;
        let at = bucket.hashes.iter().position(|found| *found == hash)?;
        let entry = bucket.cookies.get(at)?.as_ref()?;
        ct_eq(&entry.text, text).then(|| (entry.opened.clone(), entry.key))
    }

    /// Adds a cookie that was authenticated, unless its text is too long for the inline buffer.
    pub(super) fn insert(&self, text: &[u8], opened: &OpenedIdCookie, key: StoreKey) {
        let inline = CookieText::from_slice(text);
        if inline.spilled() {
            return;
        }
        let cookie = CachedCookie {
            text: inline,
            opened: opened.clone(),
            key,
        };
        if let Some((mut bucket, hash)) = self.bucket(text) {
            bucket.insert(hash, cookie);
        }
    }

    /// Returns the bucket of a cookie's text, and the text's hash in it. Returns `None` while another thread uses
    /// the bucket, because opening the cookie again is cheaper than waiting.
    fn bucket(&self, text: &[u8]) -> Option<(MutexGuard<'_, CookieBucket>, u32)> {
        // The last bytes of a sealed text are as good as random, so they serve as a hash.
        let mixed = u64::from_le_bytes(*text.last_chunk()?).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let bucket = self.0.get((mixed >> 32) as usize % BUCKETS)?;
        Some((bucket.0.try_lock().ok()?, mixed as u32))
    }
}

impl CookieBucket {
    fn insert(&mut self, hash: u32, cookie: CachedCookie) {
        let same = self.hashes.iter().position(|found| *found == hash);
        let at = same.unwrap_or(self.oldest);
        if let (Some(found), Some(entry)) = (self.hashes.get_mut(at), self.cookies.get_mut(at)) {
            *found = hash;
            match entry {
                Some(entry) => **entry = cookie,
                None => *entry = Some(Box::new(cookie)),
            }
        }
        if same.is_none() {
            self.oldest = (self.oldest + 1) % BUCKET_LEN;
        }
    }
}

impl fmt::Debug for CookieCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieCache(…)")
    }
}

#[cfg(test)]
mod tests;
