//! Session data as JSON text: paths, reads and edits.
//!
//! A [`Document`] is a JSON object, kept as compact text beside a root index: where each member of
//! the root object begins. Both are stored together, so that reading a record parses nothing. A read
//! goes to its root member by the index and walks inside that one value; an edit splices the text
//! and moves the index.
//!
//! # Why a root index
//!
//! `cargo bench --bench paths` reads one nested number in the middle of a session of many members,
//! and counts it up and writes the record. How many times longer each way took than the root index,
//! in one run:
//!
//! | | 200 B | 1 KB | 4 KB | 64 KB |
//! |---|---|---|---|---|
//! | read: walk without an index | 1.7 | 4.4 | 14 | 89 |
//! | read: simd-json tape, reused buffers | 4.4 | 15 | 48 | 350 |
//! | read: `serde_json::Value` | 11 | 52 | 180 | 1400 |
//! | write: simd-json value, reused buffers | 5.9 | 21 | 57 | 120 |
//! | write: `serde_json::Value` | 11 | 30 | 87 | 190 |
//!
//! A whole tape beside the stored bytes would read as fast, but is several times the size of the
//! text, has to be stored with it, and every edit would have to make it anew; the index is 4 bytes
//! for each root member, and an edit adds to the offsets behind it. The read itself is not quite
//! independent of the document's size (64 KB took 3.3 times as long as 200 B): the index of 800
//! members is looked through, 16 of them at a time. A document whose data all stands under one root
//! key is read by the walk, which is still 2.6 to 4 times as fast as the tape.
//!
//! Whole documents, from outside or out to a type, go through simd-json, which validates all of the
//! text; one value out of a document goes through serde_json, which needs no copy to write to.

mod canonical;
mod cow_buf;
mod date;
mod diff;
mod edit;
mod error;
mod index;
mod insertion;
mod merge;
mod number;
mod path;
mod raw_value;
mod read;
mod scan;
mod serde_impl;

use std::fmt;

use bytes::Bytes;
use cow_buf::CowBuf;
pub use date::IsoDate;
pub use error::{EditError, MalformedDocument, ReadError, SerializeError};
pub use number::{Number, ParseNumberError};
pub use path::KeyPath;
pub use raw_value::{RawValue, ValueKind};
pub use read::Members;
pub use serde_impl::to_json;

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
/// across the damage answer [`MalformedDocument`], and none panics.
///
/// A document is cheap to reuse: [`reset`](Self::reset) and [`load`](Self::load) keep its buffers.
/// Two documents are equal when their texts are, so the order of members counts.
#[derive(Clone)]
pub struct Document {
    text: CowBuf,
    index: CowBuf,
    /// Where new text is put together before it is spliced in.
    scratch: Vec<u8>,
    limit: usize,
}

const EMPTY: Bytes = Bytes::from_static(b"{}");

impl Document {
    /// The empty object.
    pub fn new() -> Self {
        Self {
            text: CowBuf::new(EMPTY),
            index: CowBuf::default(),
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
    pub fn parse(text: &[u8]) -> Result<Self, MalformedDocument> {
        let mut document = Self::new();
        canonical::canonical(text, document.text.cleared())?;
        document.reindex()?;
        Ok(document)
    }

    /// Takes what [`text`](Self::text) and [`write_index`](Self::write_index) gave, as it is: no
    /// byte is copied or parsed.
    ///
    /// # Errors
    /// When the two cannot belong together. Damage further inside is found by the read that meets
    /// it.
    pub fn from_parts(text: Bytes, index: Bytes) -> Result<Self, MalformedDocument> {
        let mut document = Self::new();
        document.load(text, index)?;
        Ok(document)
    }

    /// Becomes another document, as [`from_parts`](Self::from_parts) makes it, and keeps its buffers
    /// for edits.
    ///
    /// # Errors
    /// As `from_parts`; this document is then as it was.
    pub fn load(&mut self, text: Bytes, index: Bytes) -> Result<(), MalformedDocument> {
        if !index::fits(&index, &text) {
            return Err(MalformedDocument::DAMAGED);
        }
        self.text.load(text);
        self.index.load(index);
        Ok(())
    }

    /// Becomes a copy of an object inside another document.
    ///
    /// # Errors
    /// When the value is not an object, or damaged; this document is then empty.
    pub fn load_object(&mut self, object: RawValue<'_>) -> Result<(), MalformedDocument> {
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
    fn reindex(&mut self) -> Result<(), MalformedDocument> {
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
