//! Object keys in the escaped form of JSON text.

use std::borrow::Cow;

/// An object key as it is written in JSON text, escaped, without the quotes.
pub(super) type EscapedKey<'a> = Cow<'a, [u8]>;

/// Escapes a key. Borrows it if there is nothing to escape.
pub(super) fn escape_key(key: Cow<'_, str>) -> EscapedKey<'_> {
    let is_plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    match key {
        Cow::Borrowed(key) if key.as_bytes().iter().all(is_plain) => Cow::Borrowed(key.as_bytes()),
        Cow::Owned(key) if key.as_bytes().iter().all(is_plain) => Cow::Owned(key.into_bytes()),
        key => {
            let mut text = Vec::new();
            // Writing a string into memory cannot fail.
            let _ = serde_json::to_writer(&mut text, &*key);
            text.pop();
            text.drain(..text.len().min(1));
            Cow::Owned(text)
        }
    }
}

/// Unescapes the key between the quotes at `start..end`. Returns `None` if it is damaged.
pub(super) fn unescape_key(text: &[u8], start: usize, end: usize) -> Option<Cow<'_, str>> {
    let key = text.get(start..end)?;
    if memchr::memchr(b'\\', key).is_none() {
        return std::str::from_utf8(key).ok().map(Cow::Borrowed);
    }
    let quoted = text.get(start.checked_sub(1)?..end + 1)?;
    serde_json::from_slice(quoted).ok().map(Cow::Owned)
}
