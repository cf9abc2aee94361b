//! Sessions that another framework has written.

use bytes::Bytes;

use crate::{
    document::Document,
    id::StoreKey,
    store::file::ImportedFile,
    wire::{adonis, native},
};

/// Reads a session file of AdonisJS: what [`Importer::run`](crate::store::file::Importer::run) wants to
/// know of it.
///
/// The session's data comes over, and so does the time it has left. It counts as begun when its file
/// was last changed, since the file does not tell more. Flash messages stay behind: they were for
/// the next request. A file is refused whose content is not that of a session of its name.
///
/// The visitor's cookie does **not** come over: it was signed by AdonisJS, and an id that this
/// service did not issue is never taken up. The session stands in the store under
/// [`StoreKey::from_foreign_id`] of its old id, and waits there, until it expires, to be fetched. To keep
/// visitors signed in, check the old cookie's signature where a session is new, take the data over,
/// and end the old session:
///
/// ```
/// # use hyper_session::{Session, SessionError, id::StoreKey, session::SessionCollection};
/// /// `old_id` is out of a cookie whose signature was checked with the old `APP_KEY`.
/// async fn take_over(
///     session: &Session,
///     all: &Collection,
///     old_id: &str,
/// ) -> Result<(), SessionError> {
///     let key = Key::from_foreign_id(old_id);
///     if let Some(old) = all.get(&key).await? {
///         session.merge(&old.all::<serde_json::Value>()?)?;
///         all.destroy(&key).await?;
///     }
///     Ok(())
/// }
/// ```
///
/// Importing, once and before the service starts:
///
/// ```
/// use hyper_session::{session::adonis_file, store::{FileStore, file::Import}};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let base = std::env::temp_dir().join(format!("import-doc-{}", std::process::id()));
/// # let (old, new) = (base.join("old"), base.join("new"));
/// # std::fs::create_dir_all(&old)?;
/// # std::fs::write(old.join("4ed63daf.txt"), r#"{"message":{"n":4},"purpose":"4ed63daf"}"#)?;
/// let store = FileStore::open(new)?;
/// let age = Duration::from_secs(2 * 60 * 60);
/// let came = Import::from(old, age).run(&store, adonis_file).await?;
/// println!("{} sessions, {} expired, {} refused", came.imported, came.expired, came.refused);
/// # assert_eq!(came.imported, 1);
/// # store.close().await?;
/// # std::fs::remove_dir_all(base)?;
/// # Ok(())
/// # }
/// ```
pub fn adonis_file(file: ImportedFile<'_>) -> Option<(StoreKey, Bytes)> {
    let data = adonis::read_file(file.name, file.content)?;
    let record = native::record(file.changed, &data, &Document::new());
    Some((StoreKey::from_foreign_id(file.name), record))
}
