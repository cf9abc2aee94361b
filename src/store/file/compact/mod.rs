//! Compaction, and the thread that runs it.

pub(crate) mod maintenance;
pub(crate) mod segment;
