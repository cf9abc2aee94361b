//! Tags: the names under which sessions are listed and destroyed together.

use std::fmt;

use super::StoreFuture;
use crate::id::StoreKey;

/// The tag extension of a store: lists the sessions of a user, and destroys them together.
///
/// 1. A tag lists only live sessions. When a session expires or is destroyed, the store removes its
///    tags.
/// 2. Writes and touches keep the tags of a session.
/// 3. A session has at most [`MAX_TAGS`] tags.
/// 4. Tagging is atomic with the other operations on the same key: concurrent calls lose no tag and
///    no write.
pub trait TagStore: Send + Sync {
    /// Adds `tag` to the live session under `key`. Returns `false` if there is none. Adding a tag
    /// that the session has changes nothing.
    ///
    /// # Errors
    /// If the store cannot answer, or the session has [`MAX_TAGS`] other tags.
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool>;

    /// Removes `tag` from the session under `key`, if it has that tag.
    ///
    /// # Errors
    /// If the store cannot answer.
    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()>;

    /// Returns the keys of the live sessions that have `tag`, each once, in no particular order.
    ///
    /// # Errors
    /// If the store cannot answer.
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>>;

    /// Returns the tags of the live session under `key`, each once, in no particular order; an empty
    /// list if there is no live session.
    ///
    /// # Errors
    /// If the store cannot answer.
    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>>;

    /// Adds every tag of the session under `from` to the session under `to`. Does nothing unless
    /// both are live.
    ///
    /// Regenerating an id calls this before it destroys the old id. Both ids have the tags until
    /// then, so a logout that runs at the same time finds the session.
    ///
    /// # Errors
    /// As [`move_tags`](Self::move_tags).
    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()>;

    /// Moves every tag of the session under `from` to the session under `to`, which may have some of
    /// them already. Does nothing unless both are live.
    ///
    /// # Errors
    /// If the store cannot answer, or the session under `to` would have more than [`MAX_TAGS`] tags.
    /// No tag is moved then.
    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()>;

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
