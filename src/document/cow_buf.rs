//! Bytes that are shared until the first change.

use bytes::Bytes;

/// A reference-counted slice, or a buffer of one's own once something was edited.
///
/// The buffer is kept when new bytes are loaded, so a warm one is edited without allocating.
#[derive(Clone, Default)]
pub(super) struct CowBuf {
    shared: Bytes,
    own: Vec<u8>,
    edited: bool,
}

impl CowBuf {
    pub(super) fn new(shared: Bytes) -> Self {
        Self {
            shared,
            own: Vec::new(),
            edited: false,
        }
    }

    pub(super) fn load(&mut self, shared: Bytes) {
        self.shared = shared;
        self.edited = false;
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        if self.edited { &self.own } else { &self.shared }
    }

    pub(super) fn is_edited(&self) -> bool {
        self.edited
    }

    /// The bytes for editing, copied on the first call.
    pub(super) fn to_mut(&mut self) -> &mut Vec<u8> {
        /// Room for a small edit, so that it does not move the copy at once.
        const SLACK: usize = 64;
        if !self.edited {
            self.own.clear();
            self.own.reserve(self.shared.len() + SLACK);
            self.own.extend_from_slice(&self.shared);
            self.shared = Bytes::new();
            self.edited = true;
        }
        &mut self.own
    }

    /// The buffer, empty.
    pub(super) fn cleared(&mut self) -> &mut Vec<u8> {
        self.shared = Bytes::new();
        self.edited = true;
        self.own.clear();
        &mut self.own
    }
}
