//! A directory for one input, in memory if the system has such a file system.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A directory that is removed on drop.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        };
        let directory = base.join(format!("hyper-session-fuzz-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        Self(directory)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
