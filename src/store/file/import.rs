//! Bringing over sessions from one file a session.

use std::{
    error::Error,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;

use super::{FileError, FileStore};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    seal::SealError,
    store::{Expected, Store, StoreError, WriteOutcome},
};

/// A directory with one file a session, named after the session with one ending, whose time of
/// last change says when the session was last used.
///
/// What is in the files is not known here: the caller says which session a file stands for and
/// what its record is. For the files of AdonisJS, [`adonis_file`](crate::session::adonis_file) says
/// it. Nothing in the directory is changed. Sessions that the store has already are left as they
/// are, so an import that was cut short can be done again; but not much later, since what has been
/// imported and ended since would come a second time once its tombstone is gone.
#[derive(Clone, Debug)]
#[must_use = "an import does nothing until run() is called"]
pub struct Importer {
    directory: PathBuf,
    ending: String,
    age: Duration,
    longest: u64,
}

/// One file of the directory.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ImportedFile<'a> {
    /// The file's name without its ending.
    pub name: &'a str,
    /// What is in it.
    pub content: &'a [u8],
    /// When it was last changed; now, where the file says a time to come.
    pub changed: Timestamp,
}

/// What came of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Sessions that are now in the store.
    pub imported: u64,
    /// Files whose session has expired.
    pub expired: u64,
    /// Sessions that the store had already, or that were destroyed in it.
    pub present: u64,
    /// Files that the caller did not recognise, that are too long, or whose record is too long for
    /// the store, or that could not be read.
    pub refused: u64,
}

impl ImportReport {
    /// What became of one session. Only what would meet the next one too is an error.
    fn count(&mut self, written: Result<WriteOutcome, StoreError>) -> Result<(), StoreError> {
        let counter = match written {
            Ok(WriteOutcome::Done(_)) => &mut self.imported,
            Ok(WriteOutcome::Conflict(_) | WriteOutcome::Gone) => &mut self.present,
            Err(error) if is_too_long(&error) => &mut self.refused,
            Err(error) => return Err(error),
        };
        *counter += 1;
        Ok(())
    }
}

fn is_too_long(error: &StoreError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    matches!(
        cause,
        Some(FileError::TooLong { .. } | FileError::Seal(SealError::TooLong { .. }))
    )
}

impl Importer {
    /// Sessions from `directory`, in files whose names end in `.txt`, each living for `age` from
    /// the time its file was last changed.
    pub fn from(directory: impl AsRef<Path>, age: Duration) -> Self {
        Self {
            directory: directory.as_ref().to_path_buf(),
            ending: "txt".to_owned(),
            age,
            longest: 1 << 20,
        }
    }

    /// The ending of the files' names, without the dot (default `txt`).
    pub fn ending(mut self, ending: impl Into<String>) -> Self {
        self.ending = ending.into();
        self
    }

    /// The longest file that is read, in bytes (default 1 MiB).
    pub const fn longest(mut self, bytes: u64) -> Self {
        self.longest = bytes;
        self
    }

    /// Imports into `store`. `read` says which key and data a file stands for, or `None` where it
    /// does not recognise it. One file is in memory at a time. Reading the directory blocks.
    ///
    /// # Errors
    /// When the directory cannot be read or the store cannot write. A file that cannot be read, or
    /// whose session is too long for the store, is counted as refused.
    pub async fn run(
        &self,
        store: &FileStore,
        mut read: impl FnMut(ImportedFile<'_>) -> Option<(StoreKey, Bytes)>,
    ) -> Result<ImportReport, StoreError> {
        let mut imported = ImportReport::default();
        for entry in self
            .directory
            .read_dir()
            .map_err(|error| self.fail(error))?
        {
            let path = entry.map_err(|error| self.fail(error))?.path();
            let Some(name) = self.session_of(&path) else {
                continue;
            };
            let Some((content, changed)) = self.content(&path) else {
                imported.refused += 1;
                continue;
            };
            let now = store.clock().now();
            // Some clock was wrong: no session lives longer than its age.
            let changed = changed.min(now);
            let left = changed.saturating_add(self.age).duration_since(now);
            if left.is_zero() {
                imported.expired += 1;
                continue;
            }
            let file = ImportedFile {
                name,
                content: &content,
                changed,
            };
            match read(file) {
                None => imported.refused += 1,
                Some((key, data)) => {
                    let written = store.write(&key, data, left, Expected::Absent).await;
                    imported.count(written)?;
                }
            }
        }
        Ok(imported)
    }

    fn session_of<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let ending = path.extension()?.to_str()?;
        (ending == self.ending).then(|| path.file_stem()?.to_str())?
    }

    fn content(&self, path: &Path) -> Option<(Vec<u8>, Timestamp)> {
        let metadata = fs::metadata(path).ok()?;
        if !metadata.is_file() || metadata.len() > self.longest {
            return None;
        }
        // What was changed before there were Unix clocks has expired.
        let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH);
        let changed = Timestamp::default().saturating_add(since.unwrap_or_default());
        // It may grow while it is read.
        let mut file = File::open(path).ok()?.take(self.longest.saturating_add(1));
        let mut content = Vec::new();
        file.read_to_end(&mut content).ok()?;
        (content.len() as u64 <= self.longest).then_some((content, changed))
    }

    fn fail(&self, error: io::Error) -> StoreError {
        let error = FileError::io("read", self.directory.clone(), error);
        StoreError::new("file", "import", error)
    }
}
