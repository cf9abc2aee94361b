//! The file store: sessions in an append-only log in one directory of this machine.
//!
//! For one machine that wants its sessions to outlive the process, and nothing to install. One
//! process at a time has the directory open. Where several machines share sessions, use another
//! store.
//!
//! # What it promises
//!
//! - The whole [store contract](super::Store), tags included, also across restarts.
//! - **What was acknowledged is kept.** It survives the end of the process, `kill -9` included, in
//!   every mode; [`Durability`] says what a power failure can take: nothing, an interval, or what
//!   the operating system had not written yet. If data cannot be brought to the disk, the store
//!   takes no more writes until it is opened again ([`FileError::Poisoned`]), since nobody knows
//!   any more what the disk holds.
//! - **Damage is never served.** Every frame has check sums. A damaged record is skipped, counted
//!   and reported by [`FileEvent::Damaged`]; no older state of its session is served instead.
//! - **A full disk** is a clear error of the write that met it. Nothing is changed then, and reading
//!   goes on. The cleaner goes on too, but needs room for what is live in the oldest segment: it
//!   makes room by itself only where that has all expired.
//! - **Bounded.** The files take at most twice the live data and one segment (16 MiB unless
//!   configured), also under a load of touches, overwrites or logouts: a mutation that leaves
//!   garbage faster than the cleaner can follow waits for it. Live data is what
//!   [`FileStats::live_bytes`] counts: 68 bytes a session and its data, and tags where there are
//!   some.
//!   With [`Durability::Always`], writes that wait for a disk that is slow or hangs take at most
//!   64 MiB of memory unless configured, and those beyond are refused ([`FileError::Backlog`]).
//!   Of reads that have to wait for the device, 64 do so at a time, and the others for their turn.
//!
//! # What it costs
//!
//! A record takes its data and 68 bytes on disk, a touch 68 bytes until it is cleaned away. The
//! index takes 64 bytes of memory a session, key included, and what a hash map needs beside its
//! entries: 75 to 150 in all, depending on how full the map happens to be. Tags take more, for
//! those sessions that have some. Of session data, what was written or read last is kept in memory,
//! up to 16 MiB unless configured.
//!
//! # How it goes about it
//!
//! A write is one append to the log (`write` to the page cache) and one entry in the index, done
//! in the call, under one lock; its future is ready at once unless it has to wait for the disk or
//! for the cleaner. Like every write to a file, it can be held up by the operating system when
//! that has too much to write. A read looks up the index and copies one frame out of the page
//! cache, without a lock. On Linux it never waits for the device in the call: what is not in the
//! page cache is read on the runtime's blocking threads (`preadv2` with `RWF_NOWAIT`). On other
//! systems such a read is done in the call.
//!
//! With [`Durability::Always`], writes go to a thread that does all those which wait at that moment
//! by one append and one sync, and answers them then; the log's file grows ahead of what is written,
//! by up to 256 KiB of zeros, since a sync takes longer where a file has grown. Reads of what is not
//! durable yet wait too, so that nothing is shown that could still be lost.
//!
//! A second thread collects what has expired, copies what is live out of the oldest segments and
//! deletes them, and writes hint files, from which a million sessions are opened in about a
//! second. It sleeps when there is nothing to do, and both threads end when the store is closed or
//! its last handle is dropped.
//!
//! The format, byte by byte:
//!
#![doc = include_str!("FORMAT.md")]

#[path = "log/cache.rs"]
mod cache;
#[path = "compact/segment.rs"]
mod clean;
#[path = "log/group_commit.rs"]
mod commit;
#[path = "async_ops.rs"]
mod core;
mod disk;
#[path = "log/engine.rs"]
mod engine;
mod error;
#[path = "event.rs"]
mod events;
#[path = "format/frame.rs"]
mod frame;
#[path = "format/hint.rs"]
mod hint;
mod import;
#[path = "log/index.rs"]
mod index;
#[path = "recover/inspect.rs"]
mod inspect;
#[path = "compact/maintenance.rs"]
mod keeper;
#[path = "disk/dir_lock.rs"]
mod lock;
#[path = "log/append_log.rs"]
mod log;
#[path = "format/file_names.rs"]
mod names;
#[path = "log/wakeup.rs"]
mod nudge;
#[path = "log/read.rs"]
mod ops;
mod options;
#[path = "log/space.rs"]
mod pace;
#[path = "recover/open.rs"]
mod recover;
#[path = "recover/replay.rs"]
mod replay;
mod resume;
#[path = "format/frames.rs"]
mod scan;
#[path = "log/segment.rs"]
mod segment;
mod stats;
mod store;
mod tagging;
#[path = "log/tag_table.rs"]
mod tags;
#[path = "log/encryption.rs"]
mod vault;
mod waiting;
#[path = "log/write.rs"]
mod write;

#[cfg(test)]
mod tests;

pub use error::FileError;
pub use events::{FileEvent, FileEventListener};
pub use import::{ImportReport, ImportedFile, Importer};
pub use inspect::{FORMAT_VERSION, Inspection, SegmentReport, SessionEntry};
pub use options::{Durability, FileStoreBuilder};
pub use stats::FileStats;
pub use store::FileStore;
