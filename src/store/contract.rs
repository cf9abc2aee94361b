//! What a store promises.

use std::{error::Error as StdError, fmt, num::NonZeroU64, time::Duration};

use bytes::Bytes;

use super::{ClientSideStore, StoreFuture};
use crate::id::StoreKey;

/// A place where session records live.
///
/// # What a store promises
///
/// - **Versions.** Every successful write gives the record a version that this key has not had
///   before, not even before it was destroyed. A write that expects another version than the
///   stored one changes nothing and is answered [`WriteOutcome::Conflict`] with the newer record.
/// - **One at a time.** Reads, writes, touches and destroys of one key behave as if they happened
///   one after the other, whichever tasks, processes or machines they came from.
/// - **No return from the dead.** After [`destroy`](Self::destroy) a tombstone stays under the key
///   for the store's tombstone time (60 s unless configured; longer than the longest request). As
///   long as it stands, every write is answered [`WriteOutcome::Gone`] and creates nothing. A write that
///   expects a version is answered `Gone` whenever there is no live record, tombstone or not.
/// - **Expiry.** An expired record is never read, touched or matched by a write; it is as absent.
///   Expired records and tombstones go away by themselves.
/// - **Bytes are bytes.** Data is returned exactly as written, whatever it holds.
///
/// The public conformance suite (`store::conformance`, feature `testing`) checks all of this.
///
/// A store that cannot keep a promise says so in its [`Capabilities`].
pub trait Store: Send + Sync + 'static {
    /// The record under `key`. With `touch`, a live record's expiry is also set to that long from
    /// now, as [`touch`](Self::touch) would, in the same round trip.
    ///
    /// # Errors
    /// When the store cannot answer. An absent record is not an error.
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome>;

    /// Writes `data` under `key`, to live for `ttl` from now, if the stored state is as `expected`.
    ///
    /// # Errors
    /// When the store cannot answer; whether the write was applied is then unknown, and a second
    /// attempt with the same expectation cannot apply it twice.
    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome>;

    /// Ends the record under `key`, whether there is one or not, leaves a tombstone, and drops the
    /// key's tags. Destroying twice is the same as once, and renews the tombstone.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn destroy(&self, key: &StoreKey) -> StoreFuture<()>;

    /// Sets the expiry of a live record to `ttl` from now. `false` when there is no live record.
    /// The version stays.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool>;

    /// What this store can do beyond the contract, and what it cannot keep of it.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// The tag extension, where the store has it.
    fn tags(&self) -> Option<&dyn TagStore> {
        None
    }

    /// The client-side extension: where the store's records travel with the visitor.
    fn client_side(&self) -> Option<&dyn ClientSideStore> {
        None
    }

    /// The number of live records, or `None` where the store cannot say. Records that have expired
    /// but are not yet collected may be counted.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn count(&self) -> StoreFuture<Option<u64>> {
        StoreFuture::ready(Ok(None))
    }

    /// Waits until the store can answer, for as long as it thinks right; a store that needs nobody
    /// else is ready at once. For the start of a service: see
    /// [`Sessions::ready`](crate::Sessions::ready).
    ///
    /// # Errors
    /// When it cannot, with the reason.
    fn ready(&self) -> StoreFuture<()> {
        StoreFuture::ready(Ok(()))
    }
}

/// The tag extension: which sessions belong to a user, and log them out together.
///
/// A tag holds only live sessions: one that expired or was destroyed is not listed, and its entry
/// goes away by itself. One session may carry several tags, at most
/// [`MAX_TAGS`].
pub trait TagStore: Send + Sync {
    /// Adds `tag` to the live session under `key`; `false` when there is none. Adding it again
    /// changes nothing.
    ///
    /// # Errors
    /// When the store cannot answer, or the session has [`MAX_TAGS`] tags already.
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool>;

    /// Takes `tag` off the session under `key`; nothing happens where it was not there.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()>;

    /// The live sessions that carry `tag`, in no particular order.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>>;

    /// The tags of the live session under `key`, in no particular order; none where there is none.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>>;

    /// Gives every tag of the session under `from` to the live session under `to` as well; nothing
    /// happens where either is not live. Used when an id is regenerated: until the old id is dead,
    /// both are found by their tags, so that nobody escapes a log-out by stopping half way.
    ///
    /// # Errors
    /// As [`move_tags`](Self::move_tags).
    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()>;

    /// Moves every tag of the session under `from` to the live session under `to`, which may have
    /// some of them; nothing happens where either is not live. Used when the old id is dead.
    ///
    /// # Errors
    /// When the store cannot answer, or the session under `to` would have more than [`MAX_TAGS`]
    /// tags; nothing is moved then.
    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()>;

    /// Ends every session that carries `tag`, but the one under `but`, for a store that can do so
    /// without listing them. `None`: list them, and destroy each.
    fn destroy_tagged(&self, _tag: &Tag, _but: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        None
    }
}

/// How many tags one session may carry.
pub const MAX_TAGS: usize = 64;

/// The name that sessions of one owner share, usually a user's id: 1 to 256 bytes of text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX_LEN: usize = 256;

    /// A tag of this name.
    ///
    /// # Errors
    /// When `name` is empty or longer than [`MAX_LEN`](Self::MAX_LEN) bytes.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self, TagError> {
        let name = name.into();
        match name.len() {
            1..=Self::MAX_LEN => Ok(Self(name)),
            len => Err(TagError(len)),
        }
    }

    /// The tag's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Tag {
    /// A tag names a person: it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag(…)")
    }
}

/// A tag's name was empty or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag is 1 to {max} bytes long, this one has {0}", max = Tag::MAX_LEN)]
pub struct TagError(usize);

/// The state of a record, as a number that a key never sees twice.
///
/// Stores number below 2⁶³: every database can hold such a number, and a store that stands in front
/// of two others ([`MigratingStore`](super::MigratingStore)) marks by the highest bit whose version it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(NonZeroU64);

impl Version {
    /// The first of all versions.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The version with this number; `None` for zero.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The version's number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No live record.
    Absent,
    /// The live record of this version.
    Version(Version),
    /// Anything but a tombstone: the write replaces what is there.
    Any,
}

/// A live record, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The bytes as they were written.
    pub data: Bytes,
    /// The version that a write must expect to replace this record.
    pub version: Version,
}

/// The answer to [`Store::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// A live record.
    Found(Record),
    /// Nothing is known of this key, or what was is expired.
    Absent,
    /// The session was destroyed, and its tombstone still stands.
    Gone,
}

/// The answer to [`Store::write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Written, under this version.
    Done(Version),
    /// Not written: this is the record that stands there instead of the expected one.
    Conflict(Record),
    /// Not written: the session was destroyed, or the expected record is no longer there.
    Gone,
}

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Conditional writes hold: no write is lost between concurrent requests.
    pub conditional_writes: bool,
    /// Destroyed keys are fenced by a tombstone.
    pub tombstones: bool,
    /// Data outlives this process.
    pub persistent: bool,
    /// Several machines may use the same data.
    pub shared: bool,
    /// The sessions that carry a tag can be listed, where the store has tags.
    pub list_by_tag: bool,
}

impl Default for Capabilities {
    /// The whole contract, in this process only.
    fn default() -> Self {
        Self {
            conditional_writes: true,
            tombstones: true,
            persistent: false,
            shared: false,
            list_by_tag: true,
        }
    }
}

/// A store could not answer.
#[derive(Debug, thiserror::Error)]
#[error("session store {store}: {operation} failed: {source}")]
pub struct StoreError {
    store: &'static str,
    operation: &'static str,
    is_outage: bool,
    source: Box<dyn StdError + Send + Sync>,
}

impl StoreError {
    /// The failure `source` of `operation` (a verb such as "read") in the store named `store`.
    ///
    /// The source's text is shown to operators: it must hold no session data, id or password.
    pub fn new(
        store: &'static str,
        operation: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            store,
            operation,
            is_outage: false,
            source: source.into(),
        }
    }

    /// The same, as one failure of an outage that the store tells of when it begins and when it ends.
    #[must_use]
    pub const fn with_outage(mut self) -> Self {
        self.is_outage = true;
        self
    }

    /// Whether it is one failure of an outage that the store tells of by itself, once when it begins
    /// and once when it ends: a log needs no line of it.
    pub const fn is_outage(&self) -> bool {
        self.is_outage
    }

    /// The store's name.
    pub const fn store(&self) -> &'static str {
        self.store
    }

    /// What the store was asked to do.
    pub const fn operation(&self) -> &'static str {
        self.operation
    }

    /// The limit that was exceeded, where a record was refused for its size. Nothing was stored then.
    pub fn too_large(&self) -> Option<TooLarge> {
        self.source.downcast_ref().copied()
    }
}

/// A record is larger than the store takes: the source of the [`StoreError`] that refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record takes {size} bytes as it is stored, and the limit is {limit}")]
pub struct TooLarge {
    /// The bytes that it takes as the store keeps it.
    pub size: usize,
    /// The most that it may take.
    pub limit: usize,
}
