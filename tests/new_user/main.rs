//! A new user's project: made from the packaged crate, with the programs of the README and the guide.
//!
//! The project is in the folder `new_user` of cargo's target folder. Its crates have the versions of this
//! repository's lock file, and nothing is downloaded. `curl` drives the programs.

mod package;
mod programs;
mod project;
#[path = "../support/scratch.rs"]
#[allow(dead_code, reason = "a part of the helpers")]
mod scratch;
