//! Tests of internals, with a simulated disk that fails at every single operation.

mod cache;
mod chain;
mod clock;
mod crash;
#[cfg(target_os = "linux")]
mod dir_lock;
mod disk;
mod format;
mod group_commit;
mod hanging;
mod path_checks;
mod room;
mod space;
mod state;
mod version_1;
mod workload;
