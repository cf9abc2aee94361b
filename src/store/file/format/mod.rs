//! The byte format: `FORMAT.md` as code. Nothing in this folder does I/O.

pub(crate) mod damaged_places;
pub(crate) mod file_names;
pub(crate) mod frame;
pub(crate) mod frames;
pub(crate) mod hint;
pub(crate) mod hint_entry;
pub(crate) mod payload;
pub(crate) mod segment_end;
pub(crate) mod segment_head;
pub(crate) mod version_1;
