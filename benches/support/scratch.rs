//! A temporary directory for the files of a benchmark.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// A directory that is removed when this is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Creates a directory in `FILE_BENCH_DIR`, or in `target`.
    ///
    /// # Panics
    /// If it cannot be created.
    pub(crate) fn new(bench: &str) -> Self {
        let folder = env::var_os("FILE_BENCH_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let folder = folder.join(format!("{bench}-{}", std::process::id()));
        let made = fs::create_dir_all(&folder);
        made.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}
