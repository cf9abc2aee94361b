//! Session data as JSON text: paths, reads and edits.
//!
//! A [`Document`] is a JSON object, kept as compact text beside a root index: where each member of
//! the root object begins. Both are stored together, so that reading a record parses nothing. A read
//! goes to its root member by the index and walks inside that one value; an edit splices the text
//! and moves the index.

mod buf;
mod date;
mod edit;
mod error;
mod index;
mod json;
mod merge;
mod number;
mod parse;
mod path;
mod place;
mod raw;
mod read;
mod scan;

use std::fmt;

use buf::Buf;
use bytes::Bytes;
pub use date::IsoDate;
pub use error::{EditError, Malformed, ReadError, Unserializable};
pub use json::to_json;
pub use number::Number;
pub use path::Path;
pub use raw::{Kind, Raw};
pub use read::Members;

/// How deep a document may nest: the root object is level one.
pub const MAX_DEPTH: usize = 100;

/// The longest text that a document can have, in bytes.
pub const MAX_TEXT: usize = index::MAX_TEXT;

/// How many elements of null a write past the end of an array may add.
pub const MAX_GAP: usize = 1024;

/// A session's data: one JSON object.
///
/// # Invariants
/// `text` is compact JSON, each string in its one canonical spelling; `index` belongs to it. They hold
/// for what this type wrote itself. Stored bytes may be damaged: then reads and edits that come
/// across the damage answer [`Malformed`], and none panics.
///
/// A document is cheap to reuse: [`reset`](Self::reset) and [`load`](Self::load) keep its buffers.
/// Two documents are equal when their texts are, so the order of members counts.
#[derive(Clone)]
pub struct Document {
    text: Buf,
    index: Buf,
    /// Where new text is put together before it is spliced in.
    scratch: Vec<u8>,
    limit: usize,
}

const EMPTY: Bytes = Bytes::from_static(b"{}");

impl Document {
    /// The empty object.
    pub fn new() -> Self {
        Self {
            text: Buf::new(EMPTY),
            index: Buf::default(),
            scratch: Vec::new(),
            limit: MAX_TEXT,
        }
    }

    /// Reads any JSON text of an object: validates all of it, and makes it canonical. Of equal keys
    /// the last one's value counts.
    ///
    /// # Errors
    /// When the text is not one JSON object, nests deeper than [`MAX_DEPTH`] or, compact, is longer
    /// than [`MAX_TEXT`].
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let mut document = Self::new();
        parse::canonical(text, document.text.cleared())?;
        document.reindex()?;
        Ok(document)
    }

    /// Takes what [`text`](Self::text) and [`write_index`](Self::write_index) gave, as it is: no
    /// byte is copied or parsed.
    ///
    /// # Errors
    /// When the two cannot belong together. Damage further inside is found by the read that meets
    /// it.
    pub fn from_parts(text: Bytes, index: Bytes) -> Result<Self, Malformed> {
        let mut document = Self::new();
        document.load(text, index)?;
        Ok(document)
    }

    /// Becomes another document, as [`from_parts`](Self::from_parts) makes it, and keeps its buffers
    /// for edits.
    ///
    /// # Errors
    /// As `from_parts`; this document is then as it was.
    pub fn load(&mut self, text: Bytes, index: Bytes) -> Result<(), Malformed> {
        if !index::fits(&index, &text) {
            return Err(Malformed::DAMAGED);
        }
        self.text.load(text);
        self.index.load(index);
        Ok(())
    }

    /// Becomes a copy of an object inside another document.
    ///
    /// # Errors
    /// When the value is not an object, or damaged; this document is then empty.
    pub fn load_object(&mut self, object: Raw<'_>) -> Result<(), Malformed> {
        self.text.cleared().extend_from_slice(object.as_bytes());
        self.reindex()
    }

    /// Becomes the empty object, and keeps its buffers.
    pub fn reset(&mut self) {
        self.text.load(EMPTY);
        self.index.load(Bytes::new());
    }

    /// Edits that would make the text longer than `bytes` are refused from now on. Without this,
    /// and at most, it is [`MAX_TEXT`].
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes.min(MAX_TEXT);
    }

    /// The compact JSON text.
    pub fn text(&self) -> &[u8] {
        self.text.as_slice()
    }

    /// Appends the root index: 4 bytes for each root member.
    pub fn write_index(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.index.as_slice());
    }

    /// Whether it is the empty object.
    pub fn is_empty(&self) -> bool {
        self.index.as_slice().is_empty()
    }

    /// The number of root members.
    pub fn len(&self) -> usize {
        index::len(self.index.as_slice())
    }

    /// Makes the index anew, from a text that is in the edit buffer.
    fn reindex(&mut self) -> Result<(), Malformed> {
        let indexed = index::build(self.text.as_slice(), self.index.cleared());
        if indexed.is_err() {
            self.reset();
        }
        indexed
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
    /// Sizes only: the data is the visitor's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("members", &self.len())
            .field("bytes", &self.text().len())
            .finish_non_exhaustive()
    }
}
