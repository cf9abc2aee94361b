//! Reading a document.

use std::{borrow::Cow, ops::Range};

use serde::de::DeserializeOwned;

use super::{
    Document, KeyPath, MalformedDocument, RawValue, ReadError, index,
    path::{Key, index_of},
    scan::{self, Items},
    serde_impl::{self, unescape_key},
};

/// A root member: its number, and where its value is.
pub(super) struct Root {
    pub(super) member: usize,
    pub(super) value: Range<usize>,
}

impl Document {
    /// The value at `path`, if there is one; `null` is one.
    ///
    /// The time does not depend on the size of the document, only on the number of root members and
    /// on the size of the one that the path goes into.
    ///
    /// # Errors
    /// When the document is damaged on the way.
    pub fn get<'p>(
        &self,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<Option<RawValue<'_>>, MalformedDocument> {
        self.get_path(&path.into())
    }

    /// Whether there is a value at `path` other than `null`. `0`, `false`, `""` and `[]` are values.
    ///
    /// # Errors
    /// When the document is damaged on the way.
    pub fn has<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<bool, MalformedDocument> {
        Ok(self.get(path)?.is_some_and(|value| !value.is_null()))
    }

    /// The root members, in the order of the text.
    pub fn members(&self) -> Members<'_> {
        Members {
            document: self,
            next: 0,
        }
    }

    /// The keys of the root members, in the order of the text.
    ///
    /// # Errors
    /// An item is an error where the document is damaged.
    pub fn keys(&self) -> impl Iterator<Item = Result<Cow<'_, str>, MalformedDocument>> {
        self.members().map(|member| Ok(member?.0))
    }

    /// Reads the whole document as `T`.
    ///
    /// # Errors
    /// When it is not a `T`, or damaged.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        serde_impl::from_document(self.text())
    }

    pub(super) fn get_path(
        &self,
        path: &KeyPath<'_>,
    ) -> Result<Option<RawValue<'_>>, MalformedDocument> {
        let Some((root, keys)) = self.root_of(path)? else {
            return Ok(None);
        };
        let found = descend(self.text(), root.value, keys).ok_or(MalformedDocument::DAMAGED)?;
        Ok(found
            .and_then(|value| self.text().get(value))
            .map(RawValue::new))
    }

    /// The root member that `path` goes into, and the keys that lead on from its value.
    pub(super) fn root_of<'k, 'a>(
        &self,
        path: &'k KeyPath<'a>,
    ) -> Result<Option<(Root, &'k [Key<'a>])>, MalformedDocument> {
        if let Some(whole) = path.whole()
            && let Some(root) = self.root(whole)?
        {
            return Ok(Some((root, &[])));
        }
        let Some((first, keys)) = path.keys().split_first() else {
            return Ok(None);
        };
        Ok(self.root(first)?.map(|root| (root, keys)))
    }

    /// The root member with this key.
    pub(super) fn root(&self, key: &[u8]) -> Result<Option<Root>, MalformedDocument> {
        let text = self.text();
        let found = index::find(self.index.as_slice(), index::tag(key), |offset| {
            scan::value_of(text, offset, key)
        });
        let Some((member, start)) = found else {
            return Ok(None);
        };
        let end = self.member_end(member).filter(|end| start < *end);
        let end = end.ok_or(MalformedDocument::DAMAGED)?;
        Ok(Some(Root {
            member,
            value: start..end,
        }))
    }

    /// Where a root member ends: before its comma or the closing brace.
    pub(super) fn member_end(&self, member: usize) -> Option<usize> {
        let behind = index::offset(self.index.as_slice(), member + 1);
        behind.unwrap_or(self.text().len()).checked_sub(1)
    }

    /// The bytes of a root member: its key between the quotes, and its value.
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

/// The value that `keys` lead to from the one at `value`.
pub(super) fn descend(
    text: &[u8],
    value: Range<usize>,
    keys: &[Key<'_>],
) -> Option<Option<Range<usize>>> {
    let mut start = value.start;
    for key in keys {
        match step(text, start, key)? {
            Some(next) => start = next,
            None => return Some(None),
        }
    }
    let end = if keys.is_empty() {
        value.end
    } else {
        scan::value_end(text, start)?
    };
    Some(Some(start..end))
}

/// Where the value under `key` begins, in the container that opens at `at`.
pub(super) fn step(text: &[u8], at: usize, key: &[u8]) -> Option<Option<usize>> {
    match text.get(at)? {
        b'{' => Items::new(text, at).seek(key),
        b'[' => match index_of(key) {
            Some(index) => element(text, at, index),
            None => Some(None),
        },
        _ => Some(None),
    }
}

fn element(text: &[u8], at: usize, index: u64) -> Option<Option<usize>> {
    let mut items = Items::new(text, at);
    let mut nth = 0;
    while let Some(element) = items.element()? {
        if nth == index {
            return Some(Some(element.start));
        }
        nth += 1;
    }
    Some(None)
}

/// The root members of a document: each its key and its value.
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
        let left = self.document.len().saturating_sub(self.next);
        (left, Some(left))
    }
}
