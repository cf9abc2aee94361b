//! The store contract.

use std::{any::Any, time::Duration};

use super::{
    ClientSideStore, ReadOutcome, ScanStore, StoreFuture, TagStore, WriteOutcome, WriteRequest,
};
use crate::id::StoreKey;

/// Storage for session records.
///
/// A store keeps one record under each [`StoreKey`]: opaque bytes, [`Tags`](super::Tags), a
/// [`Version`](super::Version) and an expiry. To write a store, implement [`read`](Self::read), [`write`](Self::write),
/// [`destroy`](Self::destroy) and [`touch`](Self::touch), and run the conformance suite
/// (`store::conformance`, feature `testing`) in a test. `examples/custom_store.rs` is a complete store
/// over an embedded database.
///
/// # The contract
///
/// 1. **A version never repeats.** Every successful write gives the record a version that its key has
///    never had, even if the key expired or was destroyed in between.
/// 2. **Writes are conditional.** A write changes nothing unless the stored state matches its
///    [`Expected`](super::Expected) state. If a live record does not match, the outcome is
///    [`Conflict`](WriteOutcome::Conflict) with that record. If a write expects a version and there is
///    no live record, the outcome is [`Gone`](WriteOutcome::Gone).
/// 3. **Operations on one key are linearizable.** Reads, writes, touches and destroys of one key take
///    effect one after the other, whichever tasks, processes or machines they come from.
/// 4. **A destroyed key is fenced.** [`destroy`](Self::destroy) leaves a tombstone under the key for
///    the store's tombstone TTL (usually 60 s; it must exceed the longest request). Until it ends,
///    every write returns `Gone` and creates nothing.
/// 5. **An expired record is absent.** No read returns it, no touch revives it, no write matches it.
///    The store removes expired records and tombstones by itself.
/// 6. **Data and tags are opaque.** A read returns both exactly as they were written, together.
/// 7. **A touch changes only the expiry.** A write with [`Expiry::Keep`](super::Expiry::Keep) changes
///    everything else.
///
/// The conformance suite checks each promise. A store that cannot keep one reports this in its
/// [`Capabilities`]: the suite then skips those checks.
///
/// # Concurrency
///
/// Many tasks call one store at the same time. A method returns a [`StoreFuture`] that borrows
/// nothing, so an implementation clones its handle into the future.
#[doc(alias = "SessionStore")]
pub trait Store: Any + Send + Sync {
    /// Returns the record under `key`.
    ///
    /// With `touch`, also sets the expiry of a live record to that long from now, like
    /// [`touch`](Self::touch). A store should do both in one round trip.
    ///
    /// # Errors
    /// If the store cannot answer. An absent record is not an error.
    #[doc(alias = "load")]
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome>;

    /// Writes a record, if the stored state matches the request's
    /// [`expected`](WriteRequest#structfield.expected) state. Data, tags and version of the record
    /// change together.
    ///
    /// # Errors
    /// If the store cannot answer. The write may have been applied then. Retrying it with
    /// [`Expected::Absent`](super::Expected::Absent) or [`Expected::Version`](super::Expected::Version)
    /// cannot apply it twice.
    ///
    /// A store that retries a write itself, because an answer was lost, must recognize its own write. It then returns
    /// `Done`, never `Conflict` with the record that it has written: the session would take that for the record of
    /// another request and apply its changes again. If the store cannot tell, because the record has changed since,
    /// it fails.
    ///
    /// A store that limits the size of one record rejects a larger one with
    /// [`TooLarge`](super::TooLarge) as the error's source, and stores nothing. Sessions then follow
    /// [`OnTooLarge`](crate::session::OnTooLarge).
    #[doc(alias = "save")]
    #[doc(alias = "create")]
    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome>;

    /// Destroys the record under `key` and leaves a tombstone. Also leaves a tombstone if there is no
    /// record. Destroying again renews the tombstone.
    ///
    /// # Errors
    /// If the store cannot answer.
    #[doc(alias = "delete")]
    fn destroy(&self, key: &StoreKey) -> StoreFuture<()>;

    /// Sets the expiry of a live record to `ttl` from now. Returns `false` if there is no live
    /// record.
    ///
    /// # Errors
    /// If the store cannot answer.
    #[doc(alias = "update_ttl")]
    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool>;

    /// Returns the name of this kind of store in logs and metrics. Default: the name of the type,
    /// without its path.
    fn name(&self) -> &'static str {
        let name = std::any::type_name::<Self>();
        let name = name.split('<').next().unwrap_or(name);
        name.rsplit("::").next().unwrap_or(name)
    }

    /// Reports the size of the store and its counters, for metrics: calls `report` with the store's
    /// [`name`](Self::name) and each number. A store that consists of other stores reports theirs. Must return
    /// at once. Default: reports nothing.
    fn report_stats(&self, _report: &mut dyn FnMut(&'static str, StoreStat)) {}

    /// Returns the promises that the store keeps. Default: [`Capabilities::default`].
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Returns the tag extension, or `None` if the store has no index of tags. Sessions then cannot be
    /// tagged. Default: `None`.
    fn tags(&self) -> Option<&dyn TagStore> {
        None
    }

    /// Returns the client-side extension if the store keeps records in cookies. Default: `None`.
    fn client_side(&self) -> Option<&dyn ClientSideStore> {
        None
    }

    /// Returns the number of live records, or `None` if the store cannot count them. Fences are records. The
    /// count may include expired records that the store has not removed yet. Default: `None`.
    ///
    /// # Errors
    /// If the store cannot answer.
    fn count(&self) -> StoreFuture<Option<u64>> {
        StoreFuture::ready(Ok(None))
    }

    /// Returns the scan extension, or `None` if the store cannot list all its sessions. Default: `None`.
    fn scan(&self) -> Option<&dyn ScanStore> {
        None
    }

    /// Returns the remaining time to live of a live record, or `None` if there is none, or if the store does not
    /// know it. A collection computes from it when a session was last seen. Default: `None`.
    ///
    /// # Errors
    /// If the store cannot answer.
    fn time_to_live(&self, _key: &StoreKey) -> StoreFuture<Option<Duration>> {
        StoreFuture::ready(Ok(None))
    }

    /// Returns `false` if the store knows that it cannot answer for this key now. A renewal of a session
    /// that the request did not load is then left out; everything else is tried. Must return at once.
    /// Default: `true`.
    fn is_available(&self, _key: &StoreKey) -> bool {
        true
    }

    /// Waits until the store can answer. The store chooses the timeout. A service calls this at its
    /// start, through [`Sessions::ready`](crate::Sessions::ready). Default: ready at once.
    ///
    /// # Errors
    /// If the store is not ready within its timeout, with the reason.
    fn ready(&self) -> StoreFuture<()> {
        StoreFuture::ready(Ok(()))
    }

    /// Makes every acknowledged write as durable as the store can. Default: does nothing.
    ///
    /// # Errors
    /// If that failed. Acknowledged writes may be lost in a power failure then.
    fn flush(&self) -> StoreFuture<()> {
        StoreFuture::ready(Ok(()))
    }

    /// Closes the store. A service calls this at its end, through
    /// [`Sessions::close`](crate::Sessions::close). Default: does nothing.
    ///
    /// Afterwards, all other operations of a store that was closed fail. Further calls succeed.
    ///
    /// # Errors
    /// If acknowledged writes could not be made durable. The store is closed even then.
    fn close(&self) -> StoreFuture<()> {
        StoreFuture::ready(Ok(()))
    }
}

/// A number about a store, for metrics.
///
/// The metric is called `hyper_session_` and the name. A name follows the conventions of Prometheus:
/// snake case, with a unit, and with `_total` for a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreStat {
    /// A number that rises and falls.
    Gauge(&'static str, u64),
    /// A number that only rises while the process runs.
    Counter(&'static str, u64),
}

/// The promises that a store keeps.
///
/// ```
/// use hyper_session::store::Capabilities;
///
/// let capabilities = Capabilities::default().persistent(true).shared(true);
/// assert!(capabilities.conditional_writes && capabilities.persistent);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Writes are conditional, so concurrent requests lose no write. Default: on.
    pub conditional_writes: bool,
    /// Destroyed keys are fenced by a tombstone. Default: on.
    pub tombstones: bool,
    /// The time for which a destroyed key keeps its tombstone, if it is known. The commit of a
    /// [`regenerate`](crate::Session::regenerate) whose new record is missing writes it again only within this
    /// time, since it was evicted then. Otherwise the session ends: the record may have been destroyed. Default: none.
    pub tombstone_ttl: Option<Duration>,
    /// Records outlive this process. Default: off.
    pub persistent: bool,
    /// Several machines may use the same records. Default: off.
    pub shared: bool,
    /// If the store has the tag extension, it can list the sessions of a tag. Default: on.
    pub list_by_tag: bool,
    /// The time after which an operation fails, if there is a limit. It must be less than
    /// [`commit_timeout`](crate::SessionConfig::commit_timeout). Default: none.
    pub operation_timeout: Option<Duration>,
    /// The store may evict live records to make room for others. A store that does is no
    /// [revocation list](crate::CookieStore::with_revocation). Default: off.
    pub evicts: bool,
}

impl Default for Capabilities {
    /// Returns the whole contract for one process: no persistence, no sharing.
    fn default() -> Self {
        Self {
            conditional_writes: true,
            tombstones: true,
            tombstone_ttl: None,
            persistent: false,
            shared: false,
            list_by_tag: true,
            operation_timeout: None,
            evicts: false,
        }
    }
}

/// Each method sets the field of its name.
impl Capabilities {
    /// Sets [`conditional_writes`](#structfield.conditional_writes).
    #[must_use]
    pub const fn conditional_writes(mut self, enabled: bool) -> Self {
        self.conditional_writes = enabled;
        self
    }

    /// Sets [`tombstones`](#structfield.tombstones).
    #[must_use]
    pub const fn tombstones(mut self, enabled: bool) -> Self {
        self.tombstones = enabled;
        self
    }

    /// Sets [`tombstone_ttl`](#structfield.tombstone_ttl).
    #[must_use]
    pub const fn tombstone_ttl(mut self, ttl: Option<Duration>) -> Self {
        self.tombstone_ttl = ttl;
        self
    }

    /// Sets [`persistent`](#structfield.persistent).
    #[must_use]
    pub const fn persistent(mut self, enabled: bool) -> Self {
        self.persistent = enabled;
        self
    }

    /// Sets [`shared`](#structfield.shared).
    #[must_use]
    pub const fn shared(mut self, enabled: bool) -> Self {
        self.shared = enabled;
        self
    }

    /// Sets [`list_by_tag`](#structfield.list_by_tag).
    #[must_use]
    pub const fn list_by_tag(mut self, enabled: bool) -> Self {
        self.list_by_tag = enabled;
        self
    }

    /// Sets [`operation_timeout`](#structfield.operation_timeout).
    #[must_use]
    pub const fn operation_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// Sets [`evicts`](#structfield.evicts).
    #[must_use]
    pub const fn evicts(mut self, enabled: bool) -> Self {
        self.evicts = enabled;
        self
    }
}
