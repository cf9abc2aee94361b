//! The folder of the same name in `src`, as far as the targets need it. Private files of the library are
//! compiled as modules of a target, so each needs a place with the path that it names.

pub mod redis;
