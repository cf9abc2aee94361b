//! Reads of a document.

use std::{borrow::Cow, ops::Range};

use serde::de::DeserializeOwned;

use super::{
    Document, KeyPath, MalformedDocument, RawValue, ReadError,
    array_cursor::ArrayWalk,
    escape::{EscapedKey, unescape_key},
    index,
    path::index_of,
    scan::{self, Items},
    serde_impl::from_document,
};

/// The position of a root member in the index, and the range of its value.
pub(super) struct RootMember {
    pub(super) member: usize,
    pub(super) value: Range<usize>,
}

impl Document {
    /// Returns the value at `path`, or `None` if it is absent. `null` is a value.
    ///
    /// The time depends on the number of root members and on the size of the member that holds the
    /// value, not on the size of the document. A lookup of an element continues at the one that was found last,
    /// if it is the same or a later one of that array.
    ///
    /// # Errors
    /// If the document is damaged at a place that the lookup reads.
    pub fn get<'p>(
        &self,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<Option<RawValue<'_>>, MalformedDocument> {
        self.get_path(&path.into())
    }

    /// Returns `true` if there is a value other than `null` at `path`. `0`, `false`, `""` and `[]` are
    /// values.
    ///
    /// # Errors
    /// If the document is damaged at a place that the lookup reads.
    pub fn has<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<bool, MalformedDocument> {
        Ok(self.get(path)?.is_some_and(|value| !value.is_null()))
    }

    /// Returns an iterator over the root members, in the order of the text.
    pub fn members(&self) -> Members<'_> {
        Members {
            document: self,
            next: 0,
        }
    }

    /// Returns an iterator over the keys of the root members, in the order of the text.
    ///
    /// # Errors
    /// Each item is an error if its member is damaged.
    pub fn keys(&self) -> impl Iterator<Item = Result<Cow<'_, str>, MalformedDocument>> {
        self.members().map(|member| Ok(member?.0))
    }

    /// Deserializes the whole document as `T`.
    ///
    /// # Errors
    /// If the document is not a `T`, or is damaged.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        from_document(self.text())
    }

    /// Returns the value at `path`, like [`get`](Self::get).
    pub(crate) fn get_path(
        &self,
        path: &KeyPath<'_>,
    ) -> Result<Option<RawValue<'_>>, MalformedDocument> {
        let Some((root, keys)) = self.resolve_root(path)? else {
            return Ok(None);
        };
        let value = self.value_range(root, keys);
        Ok(value
            .ok_or(MalformedDocument::DAMAGED)?
            .and_then(|value| self.text().get(value))
            .map(RawValue::new))
    }

    /// Returns the root member that `path` leads into, and the remaining keys of the path.
    pub(super) fn resolve_root<'k, 'a>(
        &self,
        path: &'k KeyPath<'a>,
    ) -> Result<Option<(RootMember, &'k [EscapedKey<'a>])>, MalformedDocument> {
        let Some((first, keys)) = path.keys().split_first() else {
            return Ok(None);
        };
        let first = (&**first, keys);
        let mut tried = match path.whole() {
            Some(whole) => (whole, &[][..]),
            None => first,
        };
        let mut is_last = path.whole().is_none();
        loop {
            if let Some(root) = self.find_root(tried.0)? {
                return Ok(Some((root, tried.1)));
            }
            if is_last {
                return Ok(None);
            }
            (tried, is_last) = (first, true);
        }
    }

    /// Returns the root member with this key.
    pub(super) fn find_root(&self, key: &[u8]) -> Result<Option<RootMember>, MalformedDocument> {
        let (text, index) = (self.text(), self.index.as_slice());
        let entry = index::find(index, index::tag(key), |offset| {
            scan::match_key(text, offset, key)
        });
        let Some((member, start)) = entry else {
            return Ok(None);
        };
        let end = index::member_end(index, text, member).filter(|end| start < *end);
        let end = end.ok_or(MalformedDocument::DAMAGED)?;
        Ok(Some(RootMember {
            member,
            value: start..end,
        }))
    }

    /// Returns the range of the value under `keys` in a root member. Returns `Some(None)` if there is no such
    /// value, and `None` if the text is damaged.
    pub(super) fn value_range(
        &self,
        root: RootMember,
        keys: &[EscapedKey<'_>],
    ) -> Option<Option<Range<usize>>> {
        if keys.is_empty() {
            return Some(Some(root.value));
        }
        let Some(start) = self.descend(root.value.start, keys)? else {
            return Some(None);
        };
        Some(Some(start..scan::value_end(self.text(), start)?))
    }

    /// Follows `keys` from the value at `start`. Returns `Some(None)` if there is no such value, and `None` if
    /// the text is damaged.
    pub(super) fn descend(
        &self,
        mut start: usize,
        keys: &[EscapedKey<'_>],
    ) -> Option<Option<usize>> {
        for key in keys {
            match self.step(start, key)? {
                Some(next) => start = next,
                None => return Some(None),
            }
        }
        Some(Some(start))
    }

    /// Returns the start of the value under `key` in the container that opens at `at`.
    pub(super) fn step(&self, at: usize, key: &[u8]) -> Option<Option<usize>> {
        let text = self.text();
        match text.get(at)? {
            b'{' => Items::new(text, at).seek(key),
            b'[' => match index_of(key) {
                Some(index) => Some(match self.text.cursor().walk(text, at, index)? {
                    ArrayWalk::Found(start) => Some(start),
                    ArrayWalk::End { .. } => None,
                }),
                None => Some(None),
            },
            _ => Some(None),
        }
    }

    /// Returns the end of a root member, which is before its comma or the closing brace.
    pub(super) fn member_end(&self, member: usize) -> Option<usize> {
        index::member_end(self.index.as_slice(), self.text(), member)
    }

    /// Returns the byte ranges of a root member: its key without the quotes, and its value.
    pub(super) fn member(&self, member: usize) -> Option<scan::Member> {
        let start = index::offset(self.index.as_slice(), member)?;
        let (key, value) = scan::key_at(self.text(), start)?;
        let end = self.member_end(member).filter(|end| value < *end)?;
        self.text().get(value..end)?;
        Some(scan::Member {
            key,
            value: value..end,
        })
    }
}

/// An iterator over the root members of a document: pairs of a key and a value.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    document: &'a Document,
    next: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(Cow<'a, str>, RawValue<'a>), MalformedDocument>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.next;
        if at >= self.document.len() {
            return None;
        }
        self.next += 1;
        let text = self.document.text();
        let member = self.document.member(at).and_then(|member| {
            let key = unescape_key(text, member.key.start, member.key.end)?;
            Some((key, RawValue::new(text.get(member.value)?)))
        });
        Some(member.ok_or(MalformedDocument::DAMAGED))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let remaining = self.document.len().saturating_sub(self.next);
        (remaining, Some(remaining))
    }
}
