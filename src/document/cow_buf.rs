//! A copy-on-write byte buffer.

use bytes::Bytes;

/// Copy-on-write bytes: a shared slice before the first edit, an owned buffer after it.
///
/// Loading new bytes keeps the owned buffer, so later edits do not allocate.
#[derive(Clone, Default)]
pub(super) struct CowBuf {
    shared: Bytes,
    owned: Vec<u8>,
    edited: bool,
}

impl CowBuf {
    pub(super) fn new(shared: Bytes) -> Self {
        Self {
            shared,
            owned: Vec::new(),
            edited: false,
        }
    }

    pub(super) fn load(&mut self, shared: Bytes) {
        self.shared = shared;
        self.edited = false;
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        if self.edited {
            &self.owned
        } else {
            &self.shared
        }
    }

    /// Returns the capacity of the owned buffer.
    pub(super) fn capacity(&self) -> usize {
        self.owned.capacity()
    }

    pub(super) fn is_edited(&self) -> bool {
        self.edited
    }

    /// Returns the bytes for editing. The first call copies them.
    pub(super) fn to_mut(&mut self) -> &mut Vec<u8> {
        /// Spare capacity, so that a small edit does not reallocate.
        const SLACK: usize = 64;
        if !self.edited {
            self.owned.clear();
            self.owned.reserve(self.shared.len() + SLACK);
            self.owned.extend_from_slice(&self.shared);
            self.shared = Bytes::new();
            self.edited = true;
        }
        &mut self.owned
    }

    /// Empties the buffer and returns it for editing.
    pub(super) fn clear(&mut self) -> &mut Vec<u8> {
        self.shared = Bytes::new();
        self.edited = true;
        self.owned.clear();
        &mut self.owned
    }
}
