//! Tests of internals, with a simulated disk that fails at every single operation.

mod cache;
mod crash;
mod disk;
mod format;
mod group_commit;
mod hanging;
mod space;
mod state;
mod workload;
