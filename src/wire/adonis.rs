//! How AdonisJS writes a session into a file, as far as it takes to bring its sessions over.
//!
//! A file is named after the session's id and holds the JSON text
//! `{"message":{...},"purpose":"<the id>"}`: the data, with the flash messages among it under one
//! key.

use crate::document::Document;

const FLASH: &str = "__flash__";

/// The data of the session `id`, without its flash messages; `None` where `content` is not its file.
pub(crate) fn read_file(id: &str, content: &[u8]) -> Option<Document> {
    let envelope = Document::parse(content.trim_ascii()).ok()?;
    let purpose: String = envelope.get("purpose").ok()??.deserialize().ok()?;
    // Other things are written in the same way, and some of them with a date; a session is not.
    if purpose != id || envelope.has("expiryDate").ok()? {
        return None;
    }
    let mut data = Document::new();
    data.load_object(envelope.get("message").ok()??).ok()?;
    data.forget(FLASH).ok()?;
    Some(data)
}
