//! Tests of what cannot be seen from outside: crashes at every operation of the disk.

mod cache;
mod crash;
mod disk;
mod format;
#[path = "tests/group_commit.rs"]
mod group;
mod hanging;
#[path = "tests/space.rs"]
mod pace;
mod state;
mod tags;
mod workload;
