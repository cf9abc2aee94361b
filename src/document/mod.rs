//! Session data as JSON text: key paths, numbers, raw values, and their errors.
//!
//! A `Document` is a JSON object, stored as compact text with a root index. The root index holds the
//! offset of each member of the root object. Text and index are stored together, so loading a record
//! parses nothing. A read finds its root member through the index and scans that one value. An edit
//! splices the text and shifts the index.
//!
//! # Why a root index
//!
//! `cargo bench --bench paths` compares ways to read one nested number in the middle of a session of
//! many members, and to increment it and write the record. The factor is the time relative to the
//! root index, in one run:
//!
//! | | 200 B | 1 KB | 4 KB | 64 KB |
//! |---|---|---|---|---|
//! | read: scan without an index | 1.7 | 4.4 | 14 | 89 |
//! | read: simd-json tape, reused buffers | 4.4 | 15 | 48 | 350 |
//! | read: `serde_json::Value` | 11 | 52 | 180 | 1400 |
//! | write: simd-json value, reused buffers | 5.9 | 21 | 57 | 120 |
//! | write: `serde_json::Value` | 11 | 30 | 87 | 190 |
//!
//! A whole tape, stored with the bytes, would read as fast. But a tape is several times the size of
//! the text, and every edit would have to rebuild it. The index takes 4 bytes per root member, and an
//! edit only adds to the offsets after it.
//!
//! The read time depends a little on the size of the document: 64 KB took 3.3 times as long as
//! 200 B, because the lookup compares 800 index entries, 16 at a time. A document with all its data
//! under one root key is read by a scan of that member, which is 2.6 to 4 times as fast as the tape.
//!
//! simd-json parses and validates whole documents: text from outside, and documents that are
//! deserialized as one type. serde_json deserializes single values, because it needs no writable
//! copy.

mod array;
mod array_cursor;
mod canonical;
mod cow_buf;
mod date;
mod diff;
mod edit;
mod equal;
mod error;
mod escape;
mod fields;
mod index;
mod insertion;
mod kind;
mod merge;
mod number;
mod path;
mod raw_value;
mod read;
mod scan;
mod selection;
mod serde_impl;
mod strict;
mod typed_key;

use std::{fmt, ops::Range};

use bytes::Bytes;
use cow_buf::CowBuf;
pub use date::IsoDate;
#[cfg(feature = "testing")]
pub(crate) use equal::is_equal;
pub use error::{EditError, MalformedDocument, ReadError, SerializeError};
pub(crate) use error::{name_for_display, path_for_display};
pub(crate) use fields::apply_fields;
pub use kind::ValueKind;
pub use number::{Number, ParseNumberError};
pub use path::KeyPath;
pub use raw_value::RawValue;
// Public for the benches and fuzz targets only.
#[doc(hidden)]
pub use read::Members;
pub(crate) use serde_impl::{ValueCopy, from_document, to_json, with_buffer, with_json};
pub use typed_key::{ListPath, NumberPath, ReadPath, TypedKey, WritePath};

/// Maximum depth of a document. The root object is level one.
pub const MAX_DEPTH: usize = 100;

/// Maximum length of a document's text in bytes.
pub const MAX_TEXT: usize = index::MAX_TEXT;

/// Maximum number of elements of `null` that a write past the end of an array may add.
pub const MAX_GAP: usize = 1024;

/// A session's data: one JSON object.
///
/// # Invariants
/// `text` is compact JSON in which each string has its canonical spelling and no object has equal
/// keys. `index` is the index of `text`. Both hold for everything that this type writes. Stored
/// bytes may be damaged. Reads and edits that find the damage return [`MalformedDocument`]; none
/// panics.
///
/// [`reset`](Self::reset) and [`load`](Self::load) keep the buffers for the next document.
/// Two documents are equal if their texts are equal, so the order of members counts.
// Public for the tests, benches and fuzz targets only.
#[doc(hidden)]
#[derive(Clone)]
pub struct Document {
    text: CowBuf,
    index: CowBuf,
    /// Both are ready for edits: owned, and the index was checked.
    is_editable: bool,
    /// The buffer in which an edit builds new text. It also lends memory to the check for equal keys.
    scratch: Vec<u8>,
    limit: usize,
    reserved: usize,
}

const EMPTY: Bytes = Bytes::from_static(b"{}");

impl Document {
    /// Creates an empty object.
    pub fn new() -> Self {
        Self {
            text: CowBuf::new(EMPTY),
            index: CowBuf::default(),
            is_editable: false,
            scratch: Vec::new(),
            limit: MAX_TEXT,
            reserved: 0,
        }
    }

    /// Parses the JSON text of an object, validates all of it, and makes it canonical. If keys are
    /// equal, the last value is kept.
    ///
    /// # Errors
    /// If the text is not one JSON object, nests deeper than [`MAX_DEPTH`], is longer than
    /// [`MAX_TEXT`] in compact form, or has a number that is no [`Number`]: an integer below
    /// `i128::MIN` or above `u128::MAX`, or a float that is not finite.
    pub fn parse(text: &[u8]) -> Result<Self, MalformedDocument> {
        let mut document = Self::new();
        canonical::write_canonical(text, document.text.clear())?;
        document.reindex()?;
        Ok(document)
    }

    /// Creates a document from its [`text`](Self::text) and its [index](Self::write_index), without
    /// copying or parsing.
    ///
    /// # Errors
    /// If text and index cannot belong together. Other damage is an error of the read that finds it.
    pub fn from_parts(text: Bytes, index: Bytes) -> Result<Self, MalformedDocument> {
        let mut document = Self::new();
        document.load(text, index)?;
        Ok(document)
    }

    /// Replaces the content, like [`from_parts`](Self::from_parts), and keeps the buffers for edits.
    ///
    /// # Errors
    /// As for `from_parts`. The document is then unchanged.
    pub fn load(&mut self, text: Bytes, index: Bytes) -> Result<(), MalformedDocument> {
        if !index::fits(&index, &text) {
            return Err(MalformedDocument::DAMAGED);
        }
        if index.is_empty() {
            self.reset();
            return Ok(());
        }
        self.text.load(text);
        self.index.load(index);
        self.is_editable = false;
        Ok(())
    }

    /// Replaces the content with a text and an index that are ranges of `record`, like [`load`](Self::load).
    pub(crate) fn load_ranges(
        &mut self,
        record: &Bytes,
        text: Range<usize>,
        index: Range<usize>,
    ) -> Result<(), MalformedDocument> {
        /// Maximum size of a text that is copied. A copy takes less time than the reference counts of shared
        /// bytes, and an edit needs it anyway.
        const MAX_COPY: usize = 512;
        if text.len() > MAX_COPY {
            return self.load(record.slice(text), record.slice(index));
        }
        let bytes = |range| record.get(range).ok_or(MalformedDocument::DAMAGED);
        let (text, index) = (bytes(text)?, bytes(index)?);
        if !index::fits(index, text) {
            return Err(MalformedDocument::DAMAGED);
        }
        if index.is_empty() {
            self.reset();
            return Ok(());
        }
        self.text.load_copy(text);
        self.index.load_copy(index);
        self.is_editable = false;
        Ok(())
    }

    /// Replaces the content with a copy of an object of another document.
    ///
    /// # Errors
    /// If the value is not an object, or is damaged. The document is then empty.
    pub fn load_object(&mut self, object: RawValue<'_>) -> Result<(), MalformedDocument> {
        self.text.clear().extend_from_slice(object.as_bytes());
        self.reindex()
    }

    /// Replaces the content with an empty object, and keeps the buffers.
    #[inline]
    pub fn reset(&mut self) {
        // Flash messages usually are empty. Without members, the text is `{}`.
        if !self.is_empty() {
            self.clear();
        }
    }

    /// Limits the text to `bytes` bytes: later edits that would exceed the limit fail. The default
    /// and the maximum is [`MAX_TEXT`].
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes.min(MAX_TEXT);
    }

    /// Reserves `bytes` bytes of the limit for text outside of this document. The default is 0.
    pub(crate) fn set_reserved(&mut self, bytes: usize) {
        self.reserved = bytes;
    }

    /// Returns the number of bytes that the buffers can hold.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity() + self.index.capacity() + self.scratch.capacity()
    }

    /// Returns the compact JSON text.
    pub fn text(&self) -> &[u8] {
        self.text.as_slice()
    }

    /// Appends the root index to `out`: 4 bytes per root member.
    pub fn write_index(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.index());
    }

    /// Returns the root index.
    pub(crate) fn index(&self) -> &[u8] {
        self.index.as_slice()
    }

    /// Returns `true` if the document is the empty object.
    pub fn is_empty(&self) -> bool {
        self.index.as_slice().is_empty()
    }

    /// Returns the number of root members.
    pub fn len(&self) -> usize {
        index::len(self.index.as_slice())
    }

    /// Rebuilds the index from the text in the edit buffer. If the text is damaged, clears the document.
    fn reindex(&mut self) -> Result<(), MalformedDocument> {
        let built = index::build(self.text.as_slice(), self.index.clear());
        self.is_editable = true;
        if built.is_err() {
            self.clear();
        }
        built
    }
}

impl Default for Document {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Document {}

impl fmt::Debug for Document {
    /// Shows sizes only, because the data belongs to the visitor.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("members", &self.len())
            .field("bytes", &self.text().len())
            .finish_non_exhaustive()
    }
}
