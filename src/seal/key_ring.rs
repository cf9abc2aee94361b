//! The key ring.

use super::{Codec, KeyRingError, SealKey};

/// Maximum number of keys in a key ring.
pub const MAX_KEYS: usize = 16;

/// The current key and the previous keys of a service. The first key seals; all keys open.
///
/// To rotate keys, make the new key the first key and keep the old key as a previous key until the
/// cookies that it sealed have expired. No visitor is logged out.
///
/// ```
/// use hyper_session::seal::{KeyRing, SealKey};
///
/// let new = SealKey::from_text("another secret of thirty-two characters")?;
/// let old = SealKey::from_text("the first secret of thirty-two characters")?;
/// let ring = KeyRing::new(new).with_previous(old)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyRing {
    first: SealKey,
    /// No two keys of a ring have the same id.
    previous: Vec<SealKey>,
}

impl KeyRing {
    /// Creates a ring of one key, which seals and opens.
    pub const fn new(first: SealKey) -> Self {
        Self {
            first,
            previous: Vec::new(),
        }
    }

    /// Adds a key that only opens.
    ///
    /// # Errors
    /// If the ring already has [`MAX_KEYS`] keys, or already has this key.
    pub fn with_previous(mut self, key: SealKey) -> Result<Self, KeyRingError> {
        if self.keys().count() >= MAX_KEYS {
            return Err(KeyRingError::Full);
        }
        if self.keys().any(|other| other.id() == key.id()) {
            return Err(KeyRingError::Duplicate { id: key.id() });
        }
        self.previous.push(key);
        Ok(self)
    }

    /// Creates a codec for one purpose and name. It opens only texts that were sealed for the same
    /// purpose and name.
    ///
    /// `purpose` is a constant that describes the content. `name` is the place where the text is
    /// stored, for example the name of the cookie. Below 50 bytes in total, they cost almost nothing.
    // Public for the tests, benches and fuzz targets only.
    #[doc(hidden)]
    pub fn codec(&self, purpose: &'static str, name: &str) -> Codec {
        Codec::new(&self.first, &self.previous, purpose, name)
    }

    /// Returns a value for each key that is derived from it, does not reveal it, and is used for nothing
    /// else. Applications that share a key share a value.
    pub(crate) fn fingerprints(&self) -> Vec<[u8; 16]> {
        self.keys().map(SealKey::fingerprint).collect()
    }

    fn keys(&self) -> impl Iterator<Item = &SealKey> {
        std::iter::once(&self.first).chain(&self.previous)
    }
}
