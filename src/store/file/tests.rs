//! Tests of internals, with a simulated disk that fails at every single operation.

mod cache;
mod chain;
mod clock;
mod crash;
#[cfg(target_os = "linux")]
mod dir_lock;
mod disk;
mod encryption;
mod format;
mod group_commit;
mod hanging;
mod hint;
mod index_batch;
mod maintenance;
mod next_segment;
mod panics;
mod path_checks;
mod recovery;
mod room;
mod space;
mod start;
mod state;
mod touch;
mod version_1;
mod workload;
