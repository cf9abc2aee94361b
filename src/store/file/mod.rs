//! A store that keeps sessions in an append-only log in a local directory.
//!
//! Use it on one machine, for sessions that outlive the process, without another server. One process
//! at a time has the directory open. If several machines share sessions, use another store.
//!
//! # Guarantees
//!
//! - The store keeps the whole [store contract](super::Store), tags included, also across restarts.
//! - **Acknowledged writes are kept.** They survive the end of the process, `kill -9` included, in
//!   every mode. [`Durability`] sets what a power failure can take: nothing, the writes of an
//!   interval, or the writes that the operating system had not written yet. If data cannot be written
//!   to the disk, the content of the disk is unknown. The store then accepts no more writes until it
//!   is opened again ([`FileError::Poisoned`]).
//! - **Damage is never served.** Every frame has checksums, and every segment names the end of the one
//!   before it. If durable data is damaged or missing, the store does not open by default. With
//!   [`OnDamage::DropUncertain`] it opens without each session of which the damage may hide a newer
//!   state; the program `session-file repair` does the same. Only with [`OnDamage::AllowDataLoss`] an
//!   older state may be served. A record that is damaged later, or whose segment was read from a hint
//!   file, is found when it is read: the session is lost, which [`FileEvent::Damaged`] reports.
//! - **The directory stays the same one.** All files are used through one handle of the directory,
//!   which is locked. A symbolic link in its path that is switched later has no effect. If the
//!   directory, the lock file or a segment is moved, deleted, replaced or made inaccessible, every call
//!   fails with [`FileError::PathChanged`]. With [`Durability::Always`], a group commit is acknowledged
//!   only if all of them are in place. Two changes may be noticed 10 ms later: a move of a directory above them, and
//!   a truncation of the active segment. If look-ups are interrupted or find no memory, the commit waits. After
//!   about a second it fails, and the store accepts no more writes ([`FileError::Poisoned`]). A change
//!   that a remote file system hides from this machine's caches cannot be seen. In the other modes, the store
//!   checks at least once a second. A truncation is not found if only bytes were cut off that are newer than the
//!   last check, and writes have extended the file again. All files must be regular ones
//!   ([`FileError::NotRegularFile`]). Symbolic links to them are not followed.
//! - **The clock may be set back.** After a restart, a session that had expired at the newest time in the log does
//!   not return. While the store is open, expiry follows the clock. The newest time is that of the last opening,
//!   close or compaction. While sessions expire, the time is also recorded every 10 seconds, since a record for each
//!   expiry would double the writes. So if the process is killed
//!   and the clock is also set back, a session that expired in about the last 15 seconds may return. If there is no
//!   room for such a record, because compaction fails, that is the time since there was room. If the
//!   clock is behind the newest time in the log, the store's time continues from there. That is also so
//!   after a start with a clock that was far ahead. Sessions then still expire after their lifetime, except
//!   that the time while the store is closed does not count. [`FileEvent::ClockBehind`] reports it.
//! - **A full disk** is an error of the write that found it ([`FileError::Full`]). The write changes
//!   nothing, and reads continue. Compaction continues too, but it needs space for the live data of
//!   the oldest segment. It frees space by itself only if all of that data has expired.
//! - **Bounded disk space.** The files take at most twice the live data and one segment (16 MiB by
//!   default). This also holds under a load of touches, overwrites or logouts, on any machine. A
//!   mutation is appended only if the compaction still has room afterwards. Otherwise it waits for
//!   the compaction, at most 10 seconds, and then fails with [`FileError::DiskLimit`]. The store checks
//!   the limit after each mutation ([`FileError::LimitExceeded`]). If much data
//!   expires at once, it is collected in steps, as compaction frees space. Only damage can exceed the
//!   limit, until it is compacted. [`FileStats::live_bytes`] counts the live data: for each session
//!   its data, 68 bytes, and its tags with 2 bytes, if any.
//! - **Bounded memory.** With [`Durability::Always`], writes that wait for a slow or hanging disk take
//!   at most 64 MiB by default; writes above that fail with [`FileError::Backlog`]. Writes that wait for a compaction
//!   to make room are not counted. They end with their futures, or after 10 seconds. At most 64
//!   operations wait for reads from the device at a time; further ones are queued.
//!
//! # Costs
//!
//! On disk, a record takes its data and 68 bytes, and a touch takes 68 bytes until it is compacted.
//!
//! In memory, an index entry takes 64 bytes, key included. With the spare capacity of the hash map
//! that is 75 to 150 bytes per session. A session with one tag takes about 160 bytes more. The cache
//! holds the session data that was written or read last, up to 16 MiB by default.
//!
//! Each segment takes one file descriptor: about 64 for each GiB of the files by default
//! ([`FileStoreBuilder::segment_bytes`]).
//!
//! # How it works
//!
//! A write is one append to the log (`write` to the page cache) and one change of the index. Both
//! happen in the call, under one lock. The future is ready at once, unless it must wait for a sync, or
//! for a compaction that makes room. As with every file, the operating system can delay the append if
//! it has too much to write.
//!
//! A read looks up the index and copies one frame from the page cache, without a lock on the log. On
//! Linux the call never waits for the device. Data that is not in the page cache is read on the
//! runtime's blocking threads (`preadv2` with `RWF_NOWAIT`). On other systems the call reads it.
//!
//! With [`Durability::Always`], a thread commits the waiting writes as a group, with one append and
//! one sync, and then answers them. The log file grows in advance by up to 256 KiB of zeros if there is
//! room, because a sync takes longer after a file has grown. Reads of data that is not durable yet wait, too, so no
//! reader sees data that could still be lost.
//!
//! The maintenance thread collects expired entries, compacts the oldest segments and deletes them,
//! and writes hint files. With hint files, a million sessions of 256 bytes are opened in about 0.3
//! seconds. 200,000 sessions with a tag each take about 0.13 seconds, and 0.7 if they are encrypted. The thread
//! sleeps if there is nothing to do.
//! Both threads end when the store is closed or its last handle is dropped.
//!
#![doc = include_str!("FORMAT.md")]

mod async_ops;
mod builder;
mod compact;
mod disk;
mod encryption;
mod error;
mod event;
mod finding;
mod format;
mod log;
mod monotonic_time;
mod options;
mod recover;
mod stats;
mod store;

#[cfg(test)]
mod tests;

pub use builder::FileStoreBuilder;
pub use error::FileError;
pub use event::{FileEvent, FileEventListener};
pub use finding::{Finding, FindingKind};
pub use format::segment_head::FORMAT_VERSION;
pub use options::{Durability, OnDamage, ParseOnDamageError};
pub use recover::{
    inspect::{Inspection, SessionEntry},
    report::SegmentReport,
};
pub use stats::FileStats;
pub use store::FileStore;
