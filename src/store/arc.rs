//! `Store` for `Arc<S>`.

use std::{sync::Arc, time::Duration};

use super::{
    Capabilities, ClientSideStore, ReadOutcome, ScanStore, Store, StoreFuture, StoreStat, TagStore,
    WriteOutcome, WriteRequest,
};
use crate::id::StoreKey;

/// Forwards every method, so that a shared or type-erased store is a store.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        (**self).read(key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        (**self).write(request)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        (**self).destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        (**self).touch(key, ttl)
    }

    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn report_stats(&self, report: &mut dyn FnMut(&'static str, StoreStat)) {
        (**self).report_stats(report);
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        (**self).tags()
    }

    fn client_side(&self) -> Option<&dyn ClientSideStore> {
        (**self).client_side()
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        (**self).count()
    }

    fn scan(&self) -> Option<&dyn ScanStore> {
        (**self).scan()
    }

    fn time_to_live(&self, key: &StoreKey) -> StoreFuture<Option<Duration>> {
        (**self).time_to_live(key)
    }

    fn is_available(&self, key: &StoreKey) -> bool {
        (**self).is_available(key)
    }

    fn ready(&self) -> StoreFuture<()> {
        (**self).ready()
    }

    fn flush(&self) -> StoreFuture<()> {
        (**self).flush()
    }

    fn close(&self) -> StoreFuture<()> {
        (**self).close()
    }
}
