//! Input limits of one request.

/// Limits on the input of one request. Input over a limit is rejected with status 413.
///
/// ```
/// use hyper_session::form::InputLimits;
///
/// const UPLOAD: InputLimits = InputLimits::new().files(1).file_bytes(100 << 20);
/// assert_eq!(UPLOAD.fields, 1000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputLimits {
    /// Bytes of the query, and separately bytes of the body without the contents of files. Default:
    /// 1 MiB.
    pub bytes: u64,
    /// Number of fields, including values inside JSON and fields for files. Default: 1000.
    pub fields: usize,
    /// Nesting depth of field names (`a[b][c]` has depth 3) and of JSON. Default: 16, at most 100.
    pub depth: usize,
    /// Number of files in one form. Default: 16.
    pub files: usize,
    /// Total bytes of all files. Default: 8 MiB.
    pub file_bytes: u64,
}

impl Default for InputLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl InputLimits {
    /// Returns the default limits.
    pub const fn new() -> Self {
        Self {
            bytes: 1024 * 1024,
            fields: 1000,
            depth: 16,
            files: 16,
            file_bytes: 8 * 1024 * 1024,
        }
    }

    /// Sets [`bytes`](Self#structfield.bytes).
    #[must_use]
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets [`fields`](Self#structfield.fields).
    #[must_use]
    pub const fn fields(mut self, fields: usize) -> Self {
        self.fields = fields;
        self
    }

    /// Sets [`depth`](Self#structfield.depth).
    #[must_use]
    pub const fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets [`files`](Self#structfield.files).
    #[must_use]
    pub const fn files(mut self, files: usize) -> Self {
        self.files = files;
        self
    }

    /// Sets [`file_bytes`](Self#structfield.file_bytes).
    #[must_use]
    pub const fn file_bytes(mut self, file_bytes: u64) -> Self {
        self.file_bytes = file_bytes;
        self
    }

    /// Returns the depth limit, capped so that the flashed input fits into a session.
    pub(super) fn effective_depth(&self) -> usize {
        self.depth.min(crate::document::MAX_DEPTH)
    }
}
