//! Tests of the file store: contract, limits, and failures of the disk or the process.
#![cfg(unix)]

#[path = "../support/mod.rs"]
mod support;

mod backup;
mod configured;
#[cfg(feature = "testing")]
mod conformance;
mod damage;
mod directory;
#[cfg(target_os = "linux")]
mod full;
mod hot_session;
mod import;
mod key_rotation;
mod kill;
mod model;
#[cfg(target_os = "linux")]
mod readonly;
mod sealed;
mod special_files;
mod storm;
#[cfg(target_os = "linux")]
mod system_calls;
#[cfg(feature = "cli")]
mod tool;
mod trouble;
mod two_processes;
mod version_1;
