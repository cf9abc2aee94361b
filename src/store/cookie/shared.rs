//! Keys, settings and backing stores that all requests of one service share.

use std::sync::Arc;

use super::{
    CookieStore, CookieStoreError, MAX_CHUNKS, SEAL_PURPOSE, STORE_NAME,
    cache::DataCookieCache,
    chunks::Chunks,
    payload::{Payload, VersionClock},
    revocation::RevocationList,
};
use crate::{
    clock::Clock,
    cookie::MAX_PAIR_LEN,
    id::StoreKey,
    seal::Codec,
    store::{Capabilities, CookieContext, Store, StoreError, StoreFuture, Tag, TagStore, TooLarge},
};

/// A cookie store's settings, bound to the keys and cookie names of one service.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) codec: Codec,
    pub(super) chunks: Chunks,
    pub(super) versions: VersionClock,
    pub(super) cache: DataCookieCache,
    max_chunks: usize,
    pub(super) overflow: Option<Arc<dyn Store>>,
    pub(super) revocation: Option<RevocationList>,
}

/// Returns the key of a session's record in the overflow store.
///
/// It differs from the session's key, because the same store may also hold sessions.
pub(super) fn overflow_key(key: &StoreKey) -> StoreKey {
    StoreKey::derive("overflow", key.as_bytes())
}

impl Shared {
    pub(super) fn new(
        store: &CookieStore,
        context: &CookieContext<'_>,
    ) -> Result<Self, StoreError> {
        if !(1..=MAX_CHUNKS).contains(&store.max_chunks) {
            let error = CookieStoreError::InvalidMaxChunks(store.max_chunks);
            return Err(error.into_store_error("open"));
        }
        if let Some(list) = &store.revocation
            && list.capabilities().evicts
        {
            let error = CookieStoreError::EvictingRevocationList(list.name());
            return Err(error.into_store_error("open"));
        }
        let name = format!("{}-data", context.name);
        let chunks = Chunks::new(&name, context.attributes)?;
        let codec = context.keys.codec(SEAL_PURPOSE, &name);
        let revocation = store.revocation.clone();
        Ok(Self {
            clock: store.clock.clone(),
            codec: codec.with_max_text_len(chunks.capacity(MAX_CHUNKS)),
            chunks,
            versions: VersionClock::default(),
            cache: DataCookieCache::default(),
            max_chunks: store.max_chunks,
            overflow: store.overflow.clone(),
            revocation: revocation.map(|list| RevocationList::new(list, context.max_ttl)),
        })
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional_writes: false,
            tombstones: self.revocation.is_some(),
            tombstone_ttl: None,
            persistent: true,
            shared: true,
            list_by_tag: false,
            // A commit to a store without conditional writes never retries.
            operation_timeout: None,
            // Sessions in the overflow store may be evicted.
            evicts: self
                .overflow
                .as_ref()
                .is_some_and(|it| it.capabilities().evicts),
        }
    }

    /// Returns the overflow store if the payload's record does not fit into the cookies, or `None` if
    /// it does.
    ///
    /// # Errors
    /// If the record does not fit and there is no overflow store, or if the tags alone do not fit.
    pub(super) fn overflow_for(
        &self,
        payload: &Payload,
    ) -> Result<Option<Arc<dyn Store>>, StoreError> {
        let Err(too_large) = self.check_size(payload.len()) else {
            return Ok(None);
        };
        match &self.overflow {
            Some(overflow) if self.check_size(payload.len_without_record()).is_ok() => {
                Ok(Some(overflow.clone()))
            }
            _ => Err(StoreError::new(STORE_NAME, "write", too_large)),
        }
    }

    /// Fails if a payload of this length does not fit into the permitted number of cookies.
    fn check_size(&self, payload: usize) -> Result<(), TooLarge> {
        let text = Codec::sealed_len(payload);
        if text <= self.chunks.capacity(self.max_chunks) {
            return Ok(());
        }
        Err(TooLarge::new(
            self.chunks.total_size(text, self.max_chunks),
            MAX_PAIR_LEN * self.max_chunks,
        ))
    }

    /// Returns the stores that this store uses.
    pub(super) fn backing_stores(&self) -> Vec<Arc<dyn Store>> {
        let revocation = self.revocation.as_ref().map(RevocationList::store);
        revocation
            .into_iter()
            .chain(self.overflow.clone())
            .collect()
    }

    /// Destroys a session in the backing stores: adds it to the revocation list and destroys its
    /// overflow record.
    pub(super) async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        if let Some(revocation) = &self.revocation {
            revocation.revoke(key).await?;
        }
        if let Some(overflow) = &self.overflow {
            overflow.destroy(&overflow_key(key)).await?;
        }
        Ok(())
    }
}

impl TagStore for Shared {
    fn tagged(&self, _: &Tag) -> StoreFuture<Vec<StoreKey>> {
        CookieStoreError::ListingUnsupported.into_future("tagged")
    }

    /// Revokes all sessions with `tag`, except the one under `except`.
    fn destroy_tagged(&self, tag: &Tag, except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        let Some(revocation) = self.revocation.clone() else {
            return Some(CookieStoreError::NoRevocationList.into_future("destroy_tagged"));
        };
        let (tag, except, now) = (tag.clone(), except.copied(), self.clock.now());
        Some(StoreFuture::new(async move {
            revocation.revoke_tagged(&tag, except, now).await
        }))
    }
}
