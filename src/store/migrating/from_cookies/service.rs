//! The migrating store outside a request: sessions at the server.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{
    migration::{NewStoreEntry, combine_capabilities, session_outcome},
    request::MigratingRequestStore,
    tags::{destroy_tagged, tagged},
};
use crate::{
    cookie::CookieName,
    id::StoreKey,
    store::{
        BoundStore, Capabilities, Expected, ReadOutcome, RequestStore, Store, StoreFuture,
        StoreStat, Tag, TagStore, WriteOutcome, WriteRequest,
        migrating::{error::MigratingResult, versions::StoreSide},
    },
};

/// The migrating store of one service, outside a request.
pub(in crate::store::migrating) struct BoundMigratingStore {
    old: Arc<dyn BoundStore>,
    new: Arc<dyn Store>,
    migrates: bool,
}

impl BoundMigratingStore {
    pub(in crate::store::migrating) fn new(
        old: Box<dyn BoundStore>,
        new: Arc<dyn Store>,
        migrates: bool,
    ) -> Self {
        let old = old.into();
        Self { old, new, migrates }
    }
}

impl BoundStore for BoundMigratingStore {
    fn attach(&self, lines: &[HeaderValue]) -> Arc<dyn RequestStore> {
        Arc::new(MigratingRequestStore::new(
            self.old.attach(lines),
            self.new.clone(),
            self.migrates,
        ))
    }

    fn cookie_names(&self) -> Vec<CookieName> {
        self.old.cookie_names()
    }

    /// Returns `true` if the old store has one. The tombstones of the new store are not a revocation list.
    fn has_revocation_list(&self) -> bool {
        self.old.has_revocation_list()
    }
}

impl Store for BoundMigratingStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let reading = self.new.read(key, touch);
        StoreFuture::new(async move {
            Ok(match NewStoreEntry::from_read(reading.await?)? {
                NewStoreEntry::Session(record) => ReadOutcome::Found(record),
                NewStoreEntry::Gone => ReadOutcome::Gone,
                NewStoreEntry::Reserved(_) | NewStoreEntry::Absent => ReadOutcome::Absent,
            })
        })
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        match request.expected {
            Expected::Version(version)
                if matches!(StoreSide::from_version(version), StoreSide::Old(_)) =>
            {
                self.old.write(request)
            }
            _ => {
                let writing = self.new.write(request);
                StoreFuture::new(async move { session_outcome(writing.await?) })
            }
        }
    }

    /// Destroys a session at the server, and in its cookie if there is a revocation list.
    ///
    /// # Errors
    /// If one of the stores fails, or if there is no list and the session is not at the server.
    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let (key, old, new) = (*key, self.old.clone(), self.new.clone());
        StoreFuture::new(async move { destroy_in_both(&key, &*old, &*new).await })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.new.touch(key, ttl)
    }

    fn name(&self) -> &'static str {
        "migrating"
    }

    fn report_stats(&self, report: &mut dyn FnMut(&'static str, StoreStat)) {
        self.old.report_stats(report);
        self.new.report_stats(report);
    }

    fn capabilities(&self) -> Capabilities {
        combine_capabilities(
            self.old.capabilities(),
            self.new.capabilities(),
            self.migrates,
        )
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        let have_tags = self.old.tags().is_some() && self.new.tags().is_some();
        have_tags.then_some(self as &dyn TagStore)
    }

    fn time_to_live(&self, key: &StoreKey) -> StoreFuture<Option<Duration>> {
        self.new.time_to_live(key)
    }

    fn ready(&self) -> StoreFuture<()> {
        let (old, new) = (self.old.clone(), self.new.clone());
        StoreFuture::new(async move {
            old.ready().await?;
            new.ready().await
        })
    }

    fn flush(&self) -> StoreFuture<()> {
        let (old, new) = (self.old.clone(), self.new.clone());
        StoreFuture::new(async move {
            old.flush().await?;
            new.flush().await
        })
    }

    /// Closes both stores, also if one fails.
    fn close(&self) -> StoreFuture<()> {
        let (old, new) = (self.old.clone(), self.new.clone());
        StoreFuture::new(async move {
            let old = old.close().await;
            new.close().await.and(old)
        })
    }
}

async fn destroy_in_both(
    key: &StoreKey,
    old: &dyn BoundStore,
    new: &dyn Store,
) -> MigratingResult<()> {
    let entry = NewStoreEntry::from_read(new.read(key, None).await?)?;
    new.destroy(key).await?;
    match (old.destroy(key).await, entry) {
        // Without a list, the old store fails. But the session was not in its cookie any more.
        (Err(_), NewStoreEntry::Session(_) | NewStoreEntry::Gone)
            if !old.capabilities().tombstones =>
        {
            Ok(())
        }
        (destroyed, _) => destroyed,
    }
}

impl TagStore for BoundMigratingStore {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        tagged(&*self.new, tag)
    }

    fn destroy_tagged(&self, tag: &Tag, except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        let revoking = self.old.tags()?.destroy_tagged(tag, except);
        let (new, tag, except) = (self.new.clone(), tag.clone(), except.copied());
        Some(StoreFuture::new(destroy_tagged(revoking, new, tag, except)))
    }
}
