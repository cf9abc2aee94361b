//! The file store: sessions in an append-only log in one directory of this machine.

mod clean;
mod commit;
mod core;
mod disk;
mod engine;
mod error;
mod events;
mod frame;
mod hint;
mod import;
mod index;
mod inspect;
mod keeper;
mod lock;
mod log;
mod names;
mod nudge;
mod ops;
mod options;
mod pace;
mod recover;
mod replay;
mod resume;
mod scan;
mod segment;
mod stats;
mod store;
mod tagging;
mod tags;
mod vault;

#[cfg(test)]
mod tests;

pub use error::FileError;
pub use events::{FileEvent, FileEvents};
pub use import::{Import, Imported, SessionFile};
pub use inspect::{FORMAT_VERSION, Inspection, SegmentReport, SessionEntry};
pub use options::{Durability, FileStoreBuilder};
pub use stats::FileStats;
pub use store::FileStore;
