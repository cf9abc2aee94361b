//! Import of sessions that another framework stored, one file for each session.
//!
//! [`Importer`] copies the files of a directory into a [`FileStore`]. The caller decodes the files;
//! [`adonis`] does that for AdonisJS.

pub mod adonis;

use std::{
    error::Error,
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;

use crate::{
    clock::Timestamp,
    id::StoreKey,
    seal::SealError,
    store::{Expected, FileStore, Store, StoreError, WriteOutcome, WriteRequest, file::FileError},
};

/// An import of session files from a directory.
///
/// The directory has one file for each session. A file's name is the session's name and the
/// extension; its modification time is the time of the last use. Nothing in the directory is changed.
///
/// Sessions that exist in the store are not overwritten, so an interrupted import can be repeated.
/// Repeat it soon. Once the tombstone of an imported session has expired, a repeated import would
/// bring the session back.
#[derive(Clone, Debug)]
#[must_use = "an import does nothing until run() is called"]
pub struct Importer {
    directory: PathBuf,
    extension: String,
    age: Duration,
    max_file_bytes: u64,
}

/// A session file.
///
/// `Debug` shows neither the name, which may be the session's id, nor the content.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ImportedFile<'a> {
    /// The file's name without the extension.
    pub name: &'a str,
    /// The file's content.
    pub content: &'a [u8],
    /// The file's modification time, or the current time if that is earlier.
    pub changed: Timestamp,
}

impl fmt::Debug for ImportedFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportedFile")
            .field("bytes", &self.content.len())
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

/// The result of an import: the number of files by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Files whose session was written to the store.
    pub imported: u64,
    /// Files whose session has expired.
    pub expired: u64,
    /// Files whose session exists in the store, or was destroyed in it.
    pub present: u64,
    /// Files that were refused: the caller did not recognize the file, it cannot be read, or the file
    /// or its record is too long.
    pub refused: u64,
}

impl ImportReport {
    /// Counts the result of one write. Returns an error that would also affect the next session.
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
    let source = error.source().and_then(|source| source.downcast_ref());
    matches!(
        source,
        Some(FileError::TooLong { .. } | FileError::Seal(SealError::TooLong { .. }))
    )
}

impl Importer {
    /// Creates an import of the `.txt` files in `directory`. Each session lives for `age` from the
    /// modification time of its file.
    pub fn new(directory: impl AsRef<Path>, age: Duration) -> Self {
        Self {
            directory: directory.as_ref().to_path_buf(),
            extension: "txt".to_owned(),
            age,
            max_file_bytes: 1 << 20,
        }
    }

    /// Sets the extension of the session files, without the dot (default `txt`). Other files are
    /// ignored.
    pub fn extension(mut self, extension: impl Into<String>) -> Self {
        self.extension = extension.into();
        self
    }

    /// Sets the maximum length of a session file in bytes (default 1 MiB). Longer files are refused.
    pub const fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    /// Imports the sessions into `store`.
    ///
    /// `decode` returns the store key and the record of a file, or `None` if it does not recognize the
    /// file. One file at a time is in memory. Reading the directory and the files blocks.
    ///
    /// # Errors
    /// If the directory cannot be read, or the store cannot write. A file that cannot be read, or whose
    /// session is too long for the store, is counted as refused.
    pub async fn run(
        &self,
        store: &FileStore,
        mut decode: impl FnMut(ImportedFile<'_>) -> Option<(StoreKey, Bytes)>,
    ) -> Result<ImportReport, StoreError> {
        let mut report = ImportReport::default();
        let entries = self.directory.read_dir();
        for entry in entries.map_err(|error| self.read_error(error))? {
            let path = entry.map_err(|error| self.read_error(error))?.path();
            let Some(name) = self.session_name(&path) else {
                continue;
            };
            let Some((content, changed)) = self.read_file(&path) else {
                report.refused += 1;
                continue;
            };
            let now = store.clock().now();
            // A file from the future must not live longer than its age.
            let changed = changed.min(now);
            let ttl = changed.saturating_add(self.age).duration_since(now);
            if ttl.is_zero() {
                report.expired += 1;
                continue;
            }
            let file = ImportedFile {
                name,
                content: &content,
                changed,
            };
            match decode(file) {
                None => report.refused += 1,
                Some((key, data)) => {
                    let request = WriteRequest::new(&key, data, ttl, Expected::Absent);
                    report.count(store.write(request).await)?;
                }
            }
        }
        Ok(report)
    }

    fn session_name<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let extension = path.extension()?.to_str()?;
        (extension == self.extension).then(|| path.file_stem()?.to_str())?
    }

    fn read_file(&self, path: &Path) -> Option<(Vec<u8>, Timestamp)> {
        let metadata = fs::metadata(path).ok()?;
        if !metadata.is_file() || metadata.len() > self.max_file_bytes {
            return None;
        }
        // A time before the Unix epoch counts as the epoch, which has expired.
        let since_epoch = metadata.modified().ok()?.duration_since(UNIX_EPOCH);
        let changed = Timestamp::default().saturating_add(since_epoch.unwrap_or_default());
        // The file may grow while it is read.
        let mut file = File::open(path)
            .ok()?
            .take(self.max_file_bytes.saturating_add(1));
        let mut content = Vec::new();
        file.read_to_end(&mut content).ok()?;
        (content.len() as u64 <= self.max_file_bytes).then_some((content, changed))
    }

    fn read_error(&self, error: io::Error) -> StoreError {
        let error = FileError::io("read", self.directory.clone(), error);
        StoreError::new("file", "import", error)
    }
}
