//! Tests of what cannot be seen from outside: crashes at every operation of the disk.

mod cache;
mod crash;
mod disk;
mod format;
mod group;
mod hanging;
mod pace;
mod state;
mod tags;
mod workload;
