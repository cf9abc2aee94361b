//! Where a write goes, and the text that it puts there.

use std::ops::Range;

use super::{
    EditError, KeyPath, MAX_GAP, MalformedDocument,
    error::name,
    path::{Key, index_of},
    scan::{self, Items},
};

/// The bytes that a write replaces, and how far the path's keys lead to values that are there.
pub(super) struct Place {
    pub(super) range: Range<usize>,
    pub(super) kind: PlaceKind,
    /// How many keys were followed to get here.
    pub(super) followed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceKind {
    /// The range is a value to be replaced.
    Value,
    /// The range is empty, before an object's closing brace.
    Member { first: bool },
    /// The range is empty, before an array's closing bracket.
    Element { first: bool, gap: usize },
}

/// Why there is no place.
pub(super) enum NoPlace {
    Damaged,
    NotAnIndex,
    TooFar(u64),
}

impl NoPlace {
    pub(super) fn at(self, path: &KeyPath<'_>) -> EditError {
        match self {
            Self::Damaged => MalformedDocument::DAMAGED.into(),
            Self::NotAnIndex => EditError::NotAnIndex { path: name(path) },
            Self::TooFar(index) => EditError::IndexTooLarge {
                path: name(path),
                index,
                max: MAX_GAP,
            },
        }
    }
}

/// Follows `keys` from `value` as far as there are values.
pub(super) fn locate(text: &[u8], value: Range<usize>, keys: &[Key<'_>]) -> Result<Place, NoPlace> {
    let mut start = value.start;
    for (followed, key) in keys.iter().enumerate() {
        let next = match text.get(start) {
            Some(b'{') => in_object(text, start, key),
            Some(b'[') => in_array(text, start, key),
            _ => {
                let end = scan::value_end(text, start).ok_or(NoPlace::Damaged)?;
                Ok(Err((start..end, PlaceKind::Value)))
            }
        };
        match next? {
            Ok(value) => start = value,
            Err((range, kind)) => {
                return Ok(Place {
                    range,
                    kind,
                    followed,
                });
            }
        }
    }
    let end = match keys {
        [] => value.end,
        _ => scan::value_end(text, start).ok_or(NoPlace::Damaged)?,
    };
    Ok(Place {
        range: start..end,
        kind: PlaceKind::Value,
        followed: keys.len(),
    })
}

/// The start of the value that a key leads to, or the place for a new one.
type Step = Result<usize, (Range<usize>, PlaceKind)>;

fn in_object(text: &[u8], at: usize, key: &[u8]) -> Result<Step, NoPlace> {
    let mut items = Items::new(text, at);
    if let Some(value) = items.seek(key).ok_or(NoPlace::Damaged)? {
        return Ok(Ok(value));
    }
    let close = items.close();
    let first = close == at + 1;
    Ok(Err((close..close, PlaceKind::Member { first })))
}

fn in_array(text: &[u8], at: usize, key: &[u8]) -> Result<Step, NoPlace> {
    let index = index_of(key).ok_or(NoPlace::NotAnIndex)?;
    let mut items = Items::new(text, at);
    let mut len = 0;
    while let Some(element) = items.element().ok_or(NoPlace::Damaged)? {
        if len == index {
            return Ok(Ok(element.start));
        }
        len += 1;
    }
    let close = items.close();
    let gap = small_gap(index, len)?;
    let first = len == 0;
    Ok(Err((close..close, PlaceKind::Element { first, gap })))
}

/// How many elements are missing between an array's end and `index`, if they are few enough.
pub(super) fn small_gap(index: u64, len: u64) -> Result<usize, NoPlace> {
    usize::try_from(index - len)
        .ok()
        .filter(|gap| *gap <= MAX_GAP)
        .ok_or(NoPlace::TooFar(index))
}

/// Writes the text for `place`: `json`, inside what the keys that lead on from there make.
pub(super) fn write(
    place: &Place,
    keys: &[Key<'_>],
    json: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), NoPlace> {
    let mut rest = keys.get(place.followed..).unwrap_or_default();
    let (first, gap) = match place.kind {
        PlaceKind::Value => return write_nested(rest, json, out),
        PlaceKind::Member { first } => (first, None),
        PlaceKind::Element { first, gap } => (first, Some(gap)),
    };
    if !first {
        out.push(b',');
    }
    if let Some((key, behind)) = rest.split_first() {
        match gap {
            Some(gap) => write_nulls(gap, out),
            None => write_key(key, out),
        }
        rest = behind;
    }
    write_nested(rest, json, out)
}

/// Writes `json` inside new containers: an array where the key is an index, or else an object.
fn write_nested(keys: &[Key<'_>], json: &[u8], out: &mut Vec<u8>) -> Result<(), NoPlace> {
    for key in keys {
        match index_of(key) {
            Some(index) => {
                out.push(b'[');
                write_nulls(small_gap(index, 0)?, out);
            }
            None => {
                out.push(b'{');
                write_key(key, out);
            }
        }
    }
    out.extend_from_slice(json);
    let close = |key: &Key<'_>| if index_of(key).is_some() { b']' } else { b'}' };
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
