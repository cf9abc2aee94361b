//! A copy-on-write byte buffer.

use std::ops::Range;

use bytes::Bytes;

use super::array_cursor::ArrayCursor;

/// Copy-on-write bytes: a shared slice before the first edit, an owned buffer after it.
///
/// Loading new bytes keeps the owned buffer, so later edits do not allocate.
#[derive(Clone, Default)]
pub(super) struct CowBuf {
    shared: Bytes,
    owned: Vec<u8>,
    /// The bytes are in `owned`.
    is_owned: bool,
    cursor: ArrayCursor,
}

impl CowBuf {
    pub(super) fn new(shared: Bytes) -> Self {
        Self {
            shared,
            owned: Vec::new(),
            is_owned: false,
            cursor: ArrayCursor::default(),
        }
    }

    pub(super) fn load(&mut self, shared: Bytes) {
        self.shared = shared;
        self.is_owned = false;
        self.cursor.reset();
    }

    /// Loads a copy of bytes.
    pub(super) fn load_copy(&mut self, bytes: &[u8]) {
        self.clear().extend_from_slice(bytes);
    }

    /// Returns the cursor of the arrays in these bytes.
    pub(super) fn cursor(&self) -> &ArrayCursor {
        &self.cursor
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        if self.is_owned {
            &self.owned
        } else {
            &self.shared
        }
    }

    /// Returns the capacity of the owned buffer.
    pub(super) fn capacity(&self) -> usize {
        self.owned.capacity()
    }

    /// Replaces a range of the bytes. Moves the bytes after it at most once. Returns `None` if the range is out
    /// of bounds.
    pub(super) fn splice(&mut self, range: Range<usize>, new: &[u8]) -> Option<()> {
        self.cursor.on_edit(range.start);
        let bytes = self.to_mut();
        if range.len() == new.len() {
            bytes.get_mut(range)?.copy_from_slice(new);
            return Some(());
        }
        let old_len = bytes.len();
        bytes.get(range.clone())?;
        let end = range.start + new.len();
        let len = old_len - range.len() + new.len();
        if len > old_len {
            bytes.resize(len, 0);
        }
        if end != range.end {
            bytes.copy_within(range.end..old_len, end);
        }
        bytes.truncate(len);
        bytes.get_mut(range.start..end)?.copy_from_slice(new);
        Some(())
    }

    /// Returns the bytes for editing, except for changes of a text that [`splice`](Self::splice) makes. The
    /// first call copies them.
    #[inline]
    pub(super) fn to_mut(&mut self) -> &mut Vec<u8> {
        if !self.is_owned {
            self.copy_shared();
        }
        &mut self.owned
    }

    #[inline(never)]
    fn copy_shared(&mut self) {
        /// Spare capacity, so that a small edit does not reallocate.
        const SLACK: usize = 64;
        self.owned.clear();
        self.owned.reserve(self.shared.len() + SLACK);
        self.owned.extend_from_slice(&self.shared);
        self.shared = Bytes::new();
        self.is_owned = true;
    }

    /// Empties the buffer and returns it for editing.
    pub(super) fn clear(&mut self) -> &mut Vec<u8> {
        if !self.is_owned {
            self.shared = Bytes::new();
            self.is_owned = true;
        }
        self.cursor.reset();
        self.owned.clear();
        &mut self.owned
    }
}
