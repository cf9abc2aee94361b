//! Session files of AdonisJS.
//!
//! A file is named after the session's id. It holds the JSON text
//! `{"message":{...},"purpose":"<the id>"}`, where `message` is the data, with the flash messages
//! under one key.

use bytes::Bytes;

use super::ImportedFile;
use crate::{
    document::Document,
    id::StoreKey,
    wire::{Lifetime, native},
};

/// The member of `message` that holds the flash messages.
const FLASH: &str = "__flash__";

/// Decodes a session file of AdonisJS, for [`Importer::run`](super::Importer::run).
///
/// Returns the store key and the record, or `None` if the file does not contain the session that it
/// is named after. The session keeps its data and its remaining lifetime. Its creation time is the
/// file's modification time, because AdonisJS stores no other time. Flash messages are dropped,
/// because they were meant for the next request.
///
/// The visitor's cookie is **not** imported. AdonisJS signed it, and this crate never accepts an id
/// that it did not issue. The imported session is stored under [`StoreKey::from_foreign_id`] of its
/// old id until it expires. To keep visitors signed in, a handler copies it into each new session.
/// The handler checks the signature of the old cookie, merges the data, and destroys the old session.
///
/// ```
/// # use hyper_session::{Session, SessionError, id::StoreKey, session::SessionCollection};
/// /// `old_id` comes from a cookie whose signature was checked with the old `APP_KEY`.
/// async fn take_over(
///     session: &Session,
///     all: &SessionCollection,
///     old_id: &str,
/// ) -> Result<(), SessionError> {
///     let key = StoreKey::from_foreign_id(old_id);
///     if let Some(old) = all.get(&key).await? {
///         session.merge(old.all::<serde_json::Value>()?)?;
///         all.destroy(&key).await?;
///     }
///     Ok(())
/// }
/// ```
///
/// # Examples
/// Import once, before the service starts:
///
/// ```
/// use hyper_session::{import::{Importer, adonis}, store::FileStore};
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
/// let report = Importer::new(old, age).run(&store, adonis::read_session).await?;
/// println!("{} imported, {} expired, {} refused", report.imported, report.expired, report.refused);
/// # assert_eq!(report.imported, 1);
/// # store.close().await?;
/// # std::fs::remove_dir_all(base)?;
/// # Ok(())
/// # }
/// ```
pub fn read_session(file: ImportedFile<'_>) -> Option<(StoreKey, Bytes)> {
    let data = read_data(file.name, file.content)?;
    let lifetime = Lifetime::from_creation(file.changed);
    let record = native::encode_record(&lifetime, &data, &Document::new(), None);
    Some((StoreKey::from_foreign_id(file.name), record))
}

/// Returns the data of session `id` without its flash messages.
fn read_data(id: &str, content: &[u8]) -> Option<Document> {
    let envelope = Document::parse(content.trim_ascii()).ok()?;
    let purpose: String = envelope.get("purpose").ok()??.deserialize().ok()?;
    // AdonisJS uses the same envelope for other values, some with an expiry date. Sessions have no expiry date.
    if purpose != id || envelope.has("expiryDate").ok()? {
        return None;
    }
    let mut data = Document::new();
    data.load_object(envelope.get("message").ok()??).ok()?;
    data.forget(FLASH).ok()?;
    Some(data)
}
