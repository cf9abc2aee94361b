//! Conversion between Rust values and JSON text, through serde.

use std::{any::type_name, cell::Cell, mem};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use simd_json::Buffers;

use super::{
    EditError, KeyPath, RawValue, ReadError, SerializeError, ValueKind, scan,
    strict::{RefusedValue, StrictSerializer},
};

/// Appends the JSON text of `value`, which a write stores at `path`, to `out`: compact UTF-8, with
/// only the escapes that JSON requires.
///
/// Integers keep all their digits, including 128-bit integers. Dates follow the `Serialize` of their
/// type, which is ISO 8601 text for the usual crates; [`IsoDate`](super::IsoDate) does it for a
/// `SystemTime`. Keys may occur twice in an object.
///
/// # Errors
/// If the `Serialize` implementation of `value` fails, a float is not finite, or the value contains a
/// bare `SystemTime`. `out` is then unchanged.
#[inline]
pub(crate) fn to_json<T: Serialize + ?Sized>(
    path: &KeyPath<'_>,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EditError> {
    let start = out.len();
    let refused = Cell::new(None);
    let mut serializer = serde_json::Serializer::new(&mut *out);
    let result = value.serialize(StrictSerializer::new(&mut serializer, &refused));
    // A `Serialize` that ignores the error leaves a gap in the text.
    if result.is_ok() && refused.get().is_none() {
        return Ok(());
    }
    Err(discard_text(path, out, start, refused.get()))
}

/// Serializes `value` and calls `write` with its JSON text. See [`to_json`].
///
/// # Errors
/// As for `to_json`. `write` is not called then.
#[inline]
pub(crate) fn with_json<T: Serialize + ?Sized, R, E: From<EditError>>(
    path: &KeyPath<'_>,
    value: &T,
    write: impl FnOnce(RawValue<'_>) -> Result<R, E>,
) -> Result<R, E> {
    with_buffer(|buffer| {
        to_json(path, value, buffer)?;
        write(RawValue::new(buffer))
    })
}

/// Removes the text that a failed [`to_json`] appended from `start` on, and returns the error.
#[cold]
fn discard_text(
    path: &KeyPath<'_>,
    out: &mut Vec<u8>,
    start: usize,
    refused: Option<RefusedValue>,
) -> EditError {
    let error = match refused {
        None => EditError::unserializable(path, SerializeError::new()),
        Some(value) => {
            let written = out.get(start..).unwrap_or_default();
            EditError::refused(value, path, &scan::open_keys(written))
        }
    };
    out.truncate(start);
    error
}

/// A larger buffer is freed after use.
const MAX_KEPT_BUFFER: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `run` with an empty buffer, which each thread keeps for the next call.
///
/// A nested call gets a new buffer, so `run` may call code of users. If it panics, the buffer is freed.
#[inline]
pub(crate) fn with_buffer<R>(run: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let result = run(&mut buffer);
    return_buffer(buffer);
    result
}

#[inline]
fn return_buffer(buffer: Vec<u8>) {
    if buffer.capacity() <= MAX_KEPT_BUFFER {
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
}

/// A copy of the JSON text of one value: a short one in place, a longer one in the thread's buffer.
pub(crate) struct ValueCopy {
    short: [u8; Self::MAX_SHORT],
    short_len: usize,
    long: Vec<u8>,
    is_long: bool,
}

impl ValueCopy {
    const MAX_SHORT: usize = 32;

    pub(crate) const fn new() -> Self {
        Self {
            short: [0; Self::MAX_SHORT],
            short_len: 0,
            long: Vec::new(),
            is_long: false,
        }
    }

    /// Replaces the copy.
    pub(crate) fn set(&mut self, value: RawValue<'_>) {
        let text = value.as_bytes();
        self.is_long = text.len() > Self::MAX_SHORT;
        if let Some(short) = self.short.get_mut(..text.len()) {
            short.copy_from_slice(text);
            self.short_len = text.len();
            return;
        }
        if self.long.capacity() == 0 {
            self.long = BUFFER.try_with(Cell::take).unwrap_or_default();
        }
        self.long.clear();
        self.long.extend_from_slice(text);
    }

    /// Returns the value.
    pub(crate) fn get(&self) -> RawValue<'_> {
        RawValue::new(match self.is_long {
            true => &self.long,
            false => self.short.get(..self.short_len).unwrap_or_default(),
        })
    }
}

impl Drop for ValueCopy {
    #[inline]
    fn drop(&mut self) {
        if self.long.capacity() > 0 {
            return_buffer(mem::take(&mut self.long));
        }
    }
}

/// Deserializes the text of one value as `T`.
pub(super) fn from_json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ReadError> {
    serde_json::from_slice(text).map_err(|error| read_error::<T>(text, error.column()))
}

fn read_error<T>(text: &[u8], at: usize) -> ReadError {
    ReadError {
        actual: ValueKind::from_text(text),
        expected: type_name::<T>(),
        at,
    }
}

/// Buffers for parsing a whole document. Each thread keeps one for the next document.
#[derive(Default)]
struct ParseScratch {
    text: Vec<u8>,
    buffers: Buffers,
}

/// A larger scratch buffer is freed after use.
const MAX_KEPT_SCRATCH: usize = 1 << 20;

thread_local! {
    static SCRATCH: Cell<Option<Box<ParseScratch>>> = const { Cell::new(None) };
}

/// Calls `parse` with a copy of `text` that the parser may write to.
///
/// A nested call finds the thread's scratch buffers in use and allocates its own.
pub(super) fn with_copy<T>(text: &[u8], parse: impl FnOnce(&mut [u8], &mut Buffers) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    scratch.text.clear();
    scratch.text.extend_from_slice(text);
    let result = parse(&mut scratch.text, &mut scratch.buffers);
    if scratch.text.capacity() <= MAX_KEPT_SCRATCH {
        SCRATCH.set(Some(scratch));
    }
    result
}

/// Deserializes the text of a whole document as `T`. The text may nest at most 127 levels.
///
/// simd-json passes a large integer as a 128-bit integer, which a `T` without 128-bit integers may
/// reject. The second attempt, with serde_json, passes it as a float.
pub(crate) fn from_document<T: DeserializeOwned>(text: &[u8]) -> Result<T, ReadError> {
    let value = with_copy(text, |copy, buffers| {
        simd_json::serde::from_slice_with_buffers(copy, buffers).ok()
    });
    value.map_or_else(|| from_json(text), Ok)
}
