//! The place of a write in the text, and the text that the write inserts there.

use std::ops::Range;

use super::{
    EditError, KeyPath, MAX_GAP, MalformedDocument,
    array_cursor::{ArrayCursor, ArrayWalk},
    error::path_for_display,
    escape::EscapedKey,
    path::index_of,
    scan::{self, Items},
};

/// The bytes that a write replaces.
pub(super) struct InsertionPoint {
    pub(super) range: Range<usize>,
    pub(super) kind: InsertionKind,
    /// The number of keys of the path that lead to existing values.
    pub(super) matched_keys: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum InsertionKind {
    /// The range is an existing value.
    Value,
    /// The range is empty, before an object's closing brace. `first` if the object is empty.
    Member { first: bool },
    /// The range is empty, before an array's closing bracket. `first` if the array is empty; `gap` is
    /// the number of elements of `null` to write first.
    Element { first: bool, gap: usize },
}

/// The reason why a path has no insertion point.
pub(super) enum InsertError {
    Damaged,
    NotAnIndex,
    IndexTooLarge(u64),
}

impl InsertError {
    pub(super) fn into_edit_error(self, path: &KeyPath<'_>) -> EditError {
        match self {
            Self::Damaged => MalformedDocument::DAMAGED.into(),
            Self::NotAnIndex => EditError::NotAnIndex {
                path: path_for_display(path),
            },
            Self::IndexTooLarge(index) => EditError::IndexTooLarge {
                path: path_for_display(path),
                index,
                max: MAX_GAP,
            },
        }
    }
}

/// Follows `keys` from the value at `value`, as far as there are values.
pub(super) fn locate(
    text: &[u8],
    cursor: &ArrayCursor,
    value: Range<usize>,
    keys: &[EscapedKey<'_>],
) -> Result<InsertionPoint, InsertError> {
    let mut start = value.start;
    for (matched_keys, key) in keys.iter().enumerate() {
        let next = match text.get(start) {
            Some(b'{') => find_in_object(text, start, key),
            Some(b'[') => find_in_array(text, cursor, start, key),
            _ => {
                let end = scan::value_end(text, start).ok_or(InsertError::Damaged)?;
                Ok(Err((start..end, InsertionKind::Value)))
            }
        };
        match next? {
            Ok(value) => start = value,
            Err((range, kind)) => {
                return Ok(InsertionPoint {
                    range,
                    kind,
                    matched_keys,
                });
            }
        }
    }
    let end = match keys {
        [] => value.end,
        _ => scan::value_end(text, start).ok_or(InsertError::Damaged)?,
    };
    Ok(InsertionPoint {
        range: start..end,
        kind: InsertionKind::Value,
        matched_keys: keys.len(),
    })
}

/// The start of the value under a key, or the place for a new value.
type ValueOrInsertion = Result<usize, (Range<usize>, InsertionKind)>;

fn find_in_object(text: &[u8], at: usize, key: &[u8]) -> Result<ValueOrInsertion, InsertError> {
    let mut items = Items::new(text, at);
    if let Some(value) = items.seek(key).ok_or(InsertError::Damaged)? {
        return Ok(Ok(value));
    }
    let close = items.close_offset();
    let first = close == at + 1;
    Ok(Err((close..close, InsertionKind::Member { first })))
}

fn find_in_array(
    text: &[u8],
    cursor: &ArrayCursor,
    at: usize,
    key: &[u8],
) -> Result<ValueOrInsertion, InsertError> {
    let index = index_of(key).ok_or(InsertError::NotAnIndex)?;
    let walk = cursor.walk(text, at, index);
    match walk.ok_or(InsertError::Damaged)? {
        ArrayWalk::Found(start) => Ok(Ok(start)),
        ArrayWalk::End { len, close } => {
            let gap = check_gap(index, len)?;
            let first = len == 0;
            Ok(Err((close..close, InsertionKind::Element { first, gap })))
        }
    }
}

/// Returns the number of missing elements between an array's end and `index`.
///
/// # Errors
/// If it is above [`MAX_GAP`].
pub(super) fn check_gap(index: u64, len: u64) -> Result<usize, InsertError> {
    usize::try_from(index - len)
        .ok()
        .filter(|gap| *gap <= MAX_GAP)
        .ok_or(InsertError::IndexTooLarge(index))
}

/// Writes the text for `point`: the value `json`, inside new containers for the keys that have no
/// value yet.
pub(super) fn write_insertion(
    point: &InsertionPoint,
    keys: &[EscapedKey<'_>],
    json: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), InsertError> {
    let mut new_keys = keys.get(point.matched_keys..).unwrap_or_default();
    let (first, gap) = match point.kind {
        InsertionKind::Value => return write_nested(new_keys, json, out),
        InsertionKind::Member { first } => (first, None),
        InsertionKind::Element { first, gap } => (first, Some(gap)),
    };
    if !first {
        out.push(b',');
    }
    if let Some((key, rest)) = new_keys.split_first() {
        match gap {
            Some(gap) => write_nulls(gap, out),
            None => write_key(key, out),
        }
        new_keys = rest;
    }
    write_nested(new_keys, json, out)
}

/// Writes `json` inside new containers: an array if the key is an index, otherwise an object.
fn write_nested(
    keys: &[EscapedKey<'_>],
    json: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), InsertError> {
    for key in keys {
        match index_of(key) {
            Some(index) => {
                out.push(b'[');
                write_nulls(check_gap(index, 0)?, out);
            }
            None => {
                out.push(b'{');
                write_key(key, out);
            }
        }
    }
    out.extend_from_slice(json);
    let close = |key: &EscapedKey<'_>| if index_of(key).is_some() { b']' } else { b'}' };
    out.extend(keys.iter().rev().map(close));
    Ok(())
}

fn write_nulls(count: usize, out: &mut Vec<u8>) {
    out.extend(b"null,".iter().cycle().take(5 * count));
}

fn write_key(key: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(key);
    out.extend_from_slice(b"\":");
}
