//! The open store without futures and threads: the log, its index in memory, and the operations on
//! both.

pub(crate) mod append_log;
pub(crate) mod cache;
mod clock_lag;
pub(crate) mod engine;
pub(crate) mod group_commit;
mod hints;
pub(crate) mod index;
pub(crate) mod known_entries;
pub(crate) mod log_writer;
mod path_checks;
pub(crate) mod read;
mod roll;
pub(crate) mod segment;
pub(crate) mod segment_map;
pub(crate) mod space;
pub(crate) mod tagged_keys;
mod wakeup;
pub(crate) mod write;
