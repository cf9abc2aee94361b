//! The keys that are in force.

use super::{Codec, KeyRingError, SealKey};

/// How many keys a ring holds at most.
pub const MAX_KEYS: usize = 16;

/// The keys that are in force: the first seals, all open.
///
/// To rotate, put a new key first and keep the old one behind it for as long as sealed texts live;
/// nobody is logged out by that.
///
/// ```
/// use hyper_session::seal::{KeyRing, SealKey};
///
/// let new = SealKey::from_text("a long and random secret, number two")?;
/// let old = SealKey::from_text("a long and random secret, number one")?;
/// let ring = KeyRing::new(new).with_previous(old)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyRing {
    first: SealKey,
    /// No two keys of a ring have the same id.
    older: Vec<SealKey>,
}

impl KeyRing {
    /// A ring of one key, which seals and opens.
    pub const fn new(first: SealKey) -> Self {
        Self {
            first,
            older: Vec::new(),
        }
    }

    /// The ring with one key more, which only opens.
    ///
    /// # Errors
    /// When the ring holds [`MAX_KEYS`] keys, or this one already.
    pub fn with_previous(mut self, key: SealKey) -> Result<Self, KeyRingError> {
        if self.keys().count() >= MAX_KEYS {
            return Err(KeyRingError::Full);
        }
        if self.keys().any(|known| known.id() == key.id()) {
            return Err(KeyRingError::Duplicate { id: key.id() });
        }
        self.older.push(key);
        Ok(self)
    }

    /// A codec for texts of this purpose and name. A text opens only with a codec of the purpose
    /// and name that it was sealed with.
    ///
    /// `purpose` says what is sealed, a word in the program; `name` where it is kept, such as the
    /// name of the cookie. Kept short (together under 50 bytes) they cost next to nothing.
    pub fn codec(&self, purpose: &'static str, name: &str) -> Codec {
        Codec::new(&self.first, &self.older, purpose, name)
    }

    fn keys(&self) -> impl Iterator<Item = &SealKey> {
        std::iter::once(&self.first).chain(&self.older)
    }
}
