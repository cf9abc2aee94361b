//! From Rust values to JSON text and back.

use std::{any::type_name, borrow::Cow, cell::Cell};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use simd_json::Buffers;

use super::{ReadError, SerializeError, path::Key, raw_value::RawValue};

/// Appends the JSON text of `value` to `out`: compact, in UTF-8, escaping only what JSON must.
///
/// Floats that are not finite become `null`. Integers keep all their digits, 128-bit ones too. Dates
/// are what their type's `Serialize` makes of them: ISO 8601 text for the usual crates, and
/// [`IsoDate`](super::IsoDate) gives it to a `SystemTime`.
///
/// # Errors
/// When the value's `Serialize` fails; `out` is then as it was.
pub fn to_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), SerializeError> {
    let start = out.len();
    serde_json::to_writer(&mut *out, value).map_err(|_| {
        out.truncate(start);
        SerializeError::new()
    })
}

/// The value that the text is, read as `T`.
pub(super) fn from_json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ReadError> {
    serde_json::from_slice(text).map_err(|error| read_error::<T>(text, error.column()))
}

fn read_error<T>(text: &[u8], at: usize) -> ReadError {
    ReadError {
        found: RawValue::new(text).kind(),
        expected: type_name::<T>(),
        at,
    }
}

/// A key in the form in which it stands between quotes.
pub(super) fn escape_key(key: Cow<'_, str>) -> Key<'_> {
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    match key {
        Cow::Borrowed(key) if key.as_bytes().iter().all(plain) => Cow::Borrowed(key.as_bytes()),
        Cow::Owned(key) if key.as_bytes().iter().all(plain) => Cow::Owned(key.into_bytes()),
        key => {
            let mut text = Vec::new();
            // Writing text into memory cannot fail.
            let _ = to_json(&*key, &mut text);
            text.pop();
            text.drain(..text.len().min(1));
            Cow::Owned(text)
        }
    }
}

/// The key that stands between quotes at `start`..`end`.
pub(super) fn unescape_key(text: &[u8], start: usize, end: usize) -> Option<Cow<'_, str>> {
    let key = text.get(start..end)?;
    if memchr::memchr(b'\\', key).is_none() {
        return std::str::from_utf8(key).ok().map(Cow::Borrowed);
    }
    let quoted = text.get(start.checked_sub(1)?..end + 1)?;
    serde_json::from_slice(quoted).ok().map(Cow::Owned)
}

/// What parsing a whole document needs, kept by each thread for the next one.
#[derive(Default)]
struct Scratch {
    text: Vec<u8>,
    buffers: Buffers,
}

/// Scratch space above this is given back.
const KEPT: usize = 1 << 20;

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Runs `with` on a copy of `text` that the parser may write to.
///
/// A call from inside another one finds the space taken, and gets its own.
pub(super) fn with_copy<T>(text: &[u8], with: impl FnOnce(&mut [u8], &mut Buffers) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    scratch.text.clear();
    scratch.text.extend_from_slice(text);
    let result = with(&mut scratch.text, &mut scratch.buffers);
    if scratch.text.capacity() <= KEPT {
        SCRATCH.set(Some(scratch));
    }
    result
}

/// The whole text read as `T`, at most 127 levels deep.
///
/// A `T` without 128-bit integers may refuse the one that the first parser hands it; the second one
/// gives it a float then.
pub(super) fn from_document<T: DeserializeOwned>(text: &[u8]) -> Result<T, ReadError> {
    let read = with_copy(text, |copy, buffers| {
        simd_json::serde::from_slice_with_buffers(copy, buffers).ok()
    });
    read.map_or_else(|| from_json(text), Ok)
}
