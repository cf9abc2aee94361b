//! A byte buffer with inline capacity.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use smallvec::SmallVec;
use zeroize::Zeroize;

/// An output buffer for sealed text and opened bytes. A sealed session id fits inline, without an
/// allocation.
#[derive(Default)]
pub struct Buffer(SmallVec<[u8; 128]>);

impl Buffer {
    /// Creates an empty buffer.
    #[inline]
    pub fn new() -> Self {
        Self(SmallVec::new())
    }

    /// Returns the bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Converts the buffer to a vector. Allocates only if the bytes are stored inline.
    #[inline]
    pub fn into_vec(self) -> Vec<u8> {
        self.0.into_vec()
    }

    /// Overwrites the whole capacity with zeros, also what a truncation has left, and clears the buffer.
    pub(crate) fn erase(&mut self) {
        self.0.resize(self.0.capacity(), 0);
        self.0.zeroize();
        self.0.clear();
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    #[inline]
    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Replaces the content with `len` zeros.
    // Appending slices sets many bytes at a time; `resize` does not.
    pub(super) fn fill_zeros(&mut self, len: usize) {
        self.0.clear();
        self.0.reserve_exact(len);
        while self.0.len() < len {
            let zeros = &[0; 128];
            let missing = len - self.0.len();
            self.0
                .extend_from_slice(zeros.get(..missing).unwrap_or(zeros));
        }
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for Buffer {
    /// Shows the length only, because the bytes may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.0.len())
    }
}
