//! Errors of the memory store.

/// The source of a [`StoreError`](crate::store::StoreError): the store is full, and
/// [refuses](super::MemoryStoreBuilder::refuse_when_full) records then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "store has {records} of {max_records} records and {bytes} of {max_bytes} bytes; raise `max_records` or \
     `max_bytes`, or retry when records have expired"
)]
#[non_exhaustive]
pub struct StoreFull {
    /// The number of records, including expired records that are not freed yet.
    pub records: u64,
    /// The maximum number of records.
    pub max_records: u64,
    /// The bytes of data and tags.
    pub bytes: u64,
    /// The maximum number of bytes of data and tags.
    pub max_bytes: u64,
}
