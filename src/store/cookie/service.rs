//! The cookie store outside a request.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{CookieStoreError, STORE_NAME, request::CookieRequestStore, shared::Shared};
use crate::{
    cookie::CookieName,
    id::StoreKey,
    store::{
        BoundStore, Capabilities, ReadOutcome, RequestStore, Store, StoreFuture, StoreStat,
        TagStore, WriteOutcome, WriteRequest,
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

    fn cookie_names(&self) -> Vec<CookieName> {
        self.0.chunks.names()
    }
}

impl Store for BoundCookieStore {
    fn read(&self, _: &StoreKey, _: Option<Duration>) -> StoreFuture<ReadOutcome> {
        CookieStoreError::OutsideRequest.into_future("read")
    }

    fn write(&self, _: WriteRequest) -> StoreFuture<WriteOutcome> {
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

    fn name(&self) -> &'static str {
        STORE_NAME
    }

    fn report_stats(&self, report: &mut dyn FnMut(&'static str, StoreStat)) {
        for store in self.0.backing_stores() {
            store.report_stats(report);
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(&*self.0)
    }

    /// Waits for the backing stores.
    fn ready(&self) -> StoreFuture<()> {
        let stores = self.0.backing_stores();
        StoreFuture::new(async move {
            for store in stores {
                store.ready().await?;
            }
            Ok(())
        })
    }

    fn flush(&self) -> StoreFuture<()> {
        let stores = self.0.backing_stores();
        StoreFuture::new(async move {
            for store in stores {
                store.flush().await?;
            }
            Ok(())
        })
    }

    /// Closes the backing stores, also if one fails.
    fn close(&self) -> StoreFuture<()> {
        let stores = self.0.backing_stores();
        StoreFuture::new(async move {
            let mut closed = Ok(());
            for store in stores {
                closed = store.close().await.and(closed);
            }
            closed
        })
    }
}
