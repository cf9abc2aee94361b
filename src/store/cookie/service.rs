//! The cookie store outside a request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;

use super::{CookieStoreError, request::CookieRequestStore, shared::Shared};
use crate::{
    id::StoreKey,
    store::{
        BoundStore, Capabilities, Expected, ReadOutcome, RequestStore, Store, StoreFuture, Tag,
        TagStore, WriteOutcome,
    },
};

/// The cookie store of one service, outside a request.
///
/// Only the revocation list can be used, because there are no cookies without a request.
pub(super) struct BoundCookieStore(pub(super) Arc<Shared>);

impl BoundStore for BoundCookieStore {
    fn attach(&self, lines: &[HeaderValue]) -> Arc<dyn RequestStore> {
        CookieRequestStore::new(self.0.clone(), lines)
    }
}

impl Store for BoundCookieStore {
    fn read(&self, _: &StoreKey, _: Option<Duration>) -> StoreFuture<ReadOutcome> {
        CookieStoreError::OutsideRequest.into_future("read")
    }

    fn write(&self, _: &StoreKey, _: Bytes, _: Duration, _: Expected) -> StoreFuture<WriteOutcome> {
        CookieStoreError::OutsideRequest.into_future("write")
    }

    /// Adds the session to the revocation list.
    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let (shared, key) = (self.0.clone(), *key);
        if shared.revocation.is_none() {
            return CookieStoreError::NoRevocationList.into_future("destroy");
        }
        StoreFuture::new(async move { shared.destroy(&key).await })
    }

    fn touch(&self, _: &StoreKey, _: Duration) -> StoreFuture<bool> {
        CookieStoreError::OutsideRequest.into_future("touch")
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }

    /// Waits for the backing stores.
    fn ready(&self) -> StoreFuture<()> {
        let shared = self.0.clone();
        StoreFuture::new(async move {
            if let Some(revocation) = &shared.revocation {
                revocation.ready().await?;
            }
            match &shared.overflow {
                Some(overflow) => overflow.ready().await,
                None => Ok(()),
            }
        })
    }
}

impl TagStore for BoundCookieStore {
    fn tag(&self, _: &StoreKey, _: &Tag) -> StoreFuture<bool> {
        CookieStoreError::OutsideRequest.into_future("tag")
    }

    fn untag(&self, _: &StoreKey, _: &Tag) -> StoreFuture<()> {
        CookieStoreError::OutsideRequest.into_future("untag")
    }

    fn tagged(&self, _: &Tag) -> StoreFuture<Vec<StoreKey>> {
        CookieStoreError::ListingUnsupported.into_future("tagged")
    }

    fn tags_of(&self, _: &StoreKey) -> StoreFuture<Vec<Tag>> {
        CookieStoreError::OutsideRequest.into_future("tags_of")
    }

    fn copy_tags(&self, _: &StoreKey, _: &StoreKey) -> StoreFuture<()> {
        CookieStoreError::OutsideRequest.into_future("copy_tags")
    }

    fn move_tags(&self, _: &StoreKey, _: &StoreKey) -> StoreFuture<()> {
        CookieStoreError::OutsideRequest.into_future("move_tags")
    }

    fn destroy_tagged(&self, tag: &Tag, except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        Some(self.0.destroy_tagged(tag, except))
    }
}
