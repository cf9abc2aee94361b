//! Tags: the names under which sessions are listed and destroyed together.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::StoreFuture;
use crate::id::StoreKey;

/// The tag extension of a store: lists the sessions of a user, and destroys them together.
///
/// The tags of a session are part of its [`Record`](super::Record). A store with this extension also
/// has an index from tags to keys:
///
/// 1. A tag lists a session from the write that adds the tag until the write that removes it, or until
///    the session expires or is destroyed.
/// 2. The index is atomic with the records: a session is listed if and only if its record has the tag.
/// 3. A touch keeps a session listed.
pub trait TagStore: Send + Sync {
    /// Returns the keys of the live sessions that have `tag`, each once, in no particular order.
    ///
    /// # Errors
    /// If the store cannot answer, or cannot list sessions
    /// ([`Capabilities::list_by_tag`](super::Capabilities::list_by_tag)).
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>>;

    /// Destroys every session that has `tag`, except the one under `except`.
    ///
    /// Returns `None` if the store can only do so by listing the sessions. The caller then lists
    /// them with [`tagged`](Self::tagged) and destroys each. This is the default.
    fn destroy_tagged(&self, _tag: &Tag, _except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        None
    }
}

/// The maximum number of tags of one session.
pub const MAX_TAGS: usize = 64;

/// The name of a tag, usually a user id: 1 to 256 bytes of text.
///
/// `Debug` does not show the name, since it may identify a person.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The maximum length of a name, in bytes.
    pub const MAX_LEN: usize = 256;

    /// Returns the tag with this name.
    ///
    /// # Errors
    /// If `name` is empty or longer than [`MAX_LEN`](Self::MAX_LEN) bytes.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self, TagError> {
        let name = name.into();
        match name.len() {
            1..=Self::MAX_LEN => Ok(Self(name)),
            len => Err(TagError(len)),
        }
    }

    /// Returns the tag's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag(…)")
    }
}

/// The error of [`Tag::new`]: the name is empty or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tag name is {0} bytes; use 1 to {max} bytes", max = Tag::MAX_LEN)]
pub struct TagError(usize);

/// The tags of one session: at most [`MAX_TAGS`] names, each once, in byte order.
///
/// It is one [`Bytes`] with the names, each after a byte with its length minus one. A clone shares
/// them and does not allocate; the value without tags has no memory of its own. `Debug` shows only
/// the number of tags.
///
/// ```
/// use hyper_session::store::{Tag, Tags};
///
/// let mut tags = Tags::new();
/// tags.insert(&Tag::new("user-7")?)?;
/// let stored = tags.as_bytes().clone();
/// assert_eq!(Tags::from_bytes(stored), Some(tags));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Tags(
    /// `None` for no tags, which is cheaper to clone and to drop than empty bytes.
    Option<Bytes>,
);

static NO_TAGS: Bytes = Bytes::new();

impl Tags {
    /// The maximum length of [`as_bytes`](Self::as_bytes).
    pub const MAX_BYTES: usize = MAX_TAGS * (1 + Tag::MAX_LEN);

    /// Returns the value without tags.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Returns the tags that [`as_bytes`](Self::as_bytes) returned, or `None` if `bytes` cannot come
    /// from it.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        let (mut rest, mut last, mut count) = (&*bytes, None, 0);
        while !rest.is_empty() {
            let (name, after) = split_name(rest)?;
            if last >= Some(name) || count == MAX_TAGS {
                return None;
            }
            (rest, last, count) = (after, Some(name), count + 1);
        }
        Some(Self::from_encoded(bytes))
    }

    fn from_encoded(bytes: Bytes) -> Self {
        Self((!bytes.is_empty()).then_some(bytes))
    }

    /// Returns the encoded tags, to be stored.
    pub const fn as_bytes(&self) -> &Bytes {
        match &self.0 {
            Some(bytes) => bytes,
            None => &NO_TAGS,
        }
    }

    /// Returns `true` if there is no tag.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the number of tags.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns `true` if `name` is one of the tags.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|tag| tag == name)
    }

    /// Returns an iterator over the names, in byte order.
    pub fn iter(&self) -> TagsIter<'_> {
        TagsIter(self.as_bytes())
    }

    /// Adds a tag. Returns `false` if it is there already.
    ///
    /// # Errors
    /// If there are [`MAX_TAGS`] other tags.
    pub fn insert(&mut self, tag: &Tag) -> Result<bool, TooManyTags> {
        let name = tag.as_str();
        if self.contains(name) {
            return Ok(false);
        }
        if self.len() >= MAX_TAGS {
            return Err(TooManyTags);
        }
        let before: usize = self
            .iter()
            .take_while(|other| *other < name)
            .map(encoded_len)
            .sum();
        let encoded = self.as_bytes();
        let (before, after) = encoded.split_at_checked(before).unwrap_or((encoded, &[]));
        let mut bytes = BytesMut::with_capacity(encoded.len() + encoded_len(name));
        bytes.put_slice(before);
        // A tag has 1 to 256 bytes.
        bytes.put_u8(u8::try_from(name.len().saturating_sub(1)).unwrap_or(u8::MAX));
        bytes.put_slice(name.as_bytes());
        bytes.put_slice(after);
        *self = Self::from_encoded(bytes.freeze());
        Ok(true)
    }

    /// Removes a tag. Returns `false` if it is not there.
    pub fn remove(&mut self, tag: &Tag) -> bool {
        let name = tag.as_str();
        if !self.contains(name) {
            return false;
        }
        let start: usize = self
            .iter()
            .take_while(|other| *other < name)
            .map(encoded_len)
            .sum();
        let end = start + encoded_len(name);
        let kept = [self.as_bytes().get(..start), self.as_bytes().get(end..)];
        *self = Self::from_encoded(kept.map(Option::unwrap_or_default).concat().into());
        true
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tags({})", self.len())
    }
}

impl<'a> IntoIterator for &'a Tags {
    type Item = &'a str;
    type IntoIter = TagsIter<'a>;

    fn into_iter(self) -> TagsIter<'a> {
        self.iter()
    }
}

/// An iterator over the names of [`Tags`].
#[derive(Clone)]
pub struct TagsIter<'a>(&'a [u8]);

impl<'a> Iterator for TagsIter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (name, rest) = split_name(self.0)?;
        self.0 = rest;
        Some(name)
    }
}

impl fmt::Debug for TagsIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagsIter")
    }
}

/// The error of [`Tags::insert`]: the session has [`MAX_TAGS`] other tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session would have more than {MAX_TAGS} tags; remove tags first")]
pub struct TooManyTags;

/// Returns the first name of encoded tags, and the rest.
fn split_name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*len) + 1)?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

const fn encoded_len(name: &str) -> usize {
    1 + name.len()
}
