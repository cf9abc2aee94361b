//! The environment in which this program runs under valgrind.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{self, Command},
};

/// The name of the link to this program.
const PROGRAM: &str = "./row";

/// A folder with a link to this program. It is removed when the value is dropped.
///
/// The lengths of the program's name and of its environment move its stack and its allocations, which changes the counts.
/// So they are the same on every machine.
pub(crate) struct WorkFolder {
    pub(crate) path: PathBuf,
}

impl WorkFolder {
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let path = env::temp_dir().join(format!("instructions-{}-{name}", process::id()));
        // The folder is removed also if it has no link.
        let folder = Self { path };
        let create = || {
            fs::create_dir_all(&folder.path)?;
            symlink(env::current_exe()?, folder.path.join(PROGRAM))
        };
        create().map_err(|error| format!("{}: {error}", folder.path.display()))?;
        Ok(folder)
    }

    /// Returns a command that runs this program in the folder under valgrind.
    pub(crate) fn valgrind(&self, options: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new("valgrind");
        command
            .args(options)
            .arg(PROGRAM)
            .args(arguments)
            .current_dir(&self.path)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("TMPDIR", env::temp_dir());
        command
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
