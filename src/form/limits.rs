//! How much a request may send.

/// Limits on the input of one request. What goes beyond is answered 413.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputLimits {
    /// Bytes of the query, and as many of the body without the contents of files. Default: 1 MiB.
    pub bytes: u64,
    /// Fields, values in JSON included. Default: 1000.
    pub fields: usize,
    /// How deep names (`a[b][c]` is three deep) and JSON may nest. Default: 16, at most 100.
    pub depth: usize,
    /// Files in one form. Default: 16.
    pub files: usize,
    /// Bytes of all files together. Default: 8 MiB.
    pub file_bytes: u64,
}

impl Default for InputLimits {
    fn default() -> Self {
        Self {
            bytes: 1024 * 1024,
            fields: 1000,
            depth: 16,
            files: 16,
            file_bytes: 8 * 1024 * 1024,
        }
    }
}

impl InputLimits {
    /// The depth that is in force: what is flashed has to fit a session.
    pub(super) fn depth(&self) -> usize {
        self.depth.min(crate::document::MAX_DEPTH)
    }
}
