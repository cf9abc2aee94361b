//! A store behind a pointer is a store.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Capabilities, ClientSide, Expected, Read, Store, StoreFuture, TagStore, Written};
use crate::id::Key;

/// A shared store, of a type that may be known only when the program runs.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn read(&self, key: &Key, touch: Option<Duration>) -> StoreFuture<Read> {
        (**self).read(key, touch)
    }

    fn write(
        &self,
        key: &Key,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<Written> {
        (**self).write(key, data, ttl, expected)
    }

    fn destroy(&self, key: &Key) -> StoreFuture<()> {
        (**self).destroy(key)
    }

    fn touch(&self, key: &Key, ttl: Duration) -> StoreFuture<bool> {
        (**self).touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        (**self).tags()
    }

    fn client_side(&self) -> Option<&dyn ClientSide> {
        (**self).client_side()
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        (**self).count()
    }

    fn ready(&self) -> StoreFuture<()> {
        (**self).ready()
    }
}
