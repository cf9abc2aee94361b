//! Tags of the broken stores. Some alter the tags of a write, others have an index of their own.

use hyper_session::{
    id::StoreKey,
    store::{Expiry, ReadOutcome, Store, StoreFuture, Tag, TagStore, Tags, WriteRequest},
};

use super::{BrokenStore, Flaw};

impl BrokenStore {
    /// Returns the tags that this store writes instead of the request's.
    pub(super) fn altered_tags(&self, request: &WriteRequest, stored: &ReadOutcome) -> Tags {
        let tags = &request.tags;
        let last = self.with_data(&request.key, |data| data.last.clone());
        match (self.flaw, stored) {
            (Flaw::WriteDropsTags, _) => Tags::new(),
            (Flaw::EmptyTagsKeepOld, ReadOutcome::Found(record)) if tags.is_empty() => {
                record.tags.clone()
            }
            (Flaw::TagsSplitAtCommas, _) => collect(tags.iter().flat_map(|name| name.split(','))),
            (Flaw::TagsCutShort, _) => collect(tags.iter().take(4096 / Tag::MAX_LEN)),
            (Flaw::TagsInherited, ReadOutcome::Absent) => {
                let inherited = last.map(|last| last.tags).unwrap_or_default();
                collect(tags.iter().chain(&inherited))
            }
            _ => tags.clone(),
        }
    }

    fn has_own_index(&self) -> bool {
        matches!(
            self.flaw,
            Flaw::IndexMissesOverwrites
                | Flaw::IndexMissesKeep
                | Flaw::IndexKeepsRemoved
                | Flaw::IndexListsTwice
                | Flaw::IndexIgnoresCase
                | Flaw::IndexOutlivesSessions
                | Flaw::IndexWrittenBack
                | Flaw::IndexWrittenLate
        )
    }

    fn index_name(&self, name: &str) -> String {
        match self.flaw {
            Flaw::IndexIgnoresCase => name.to_lowercase(),
            _ => name.to_owned(),
        }
    }

    /// Brings the own index up to date with a write that succeeded.
    pub(super) async fn update_index(&self, request: &WriteRequest, was_live: bool) {
        if self.flaw == Flaw::IndexWrittenLate {
            tokio::task::yield_now().await;
        }
        let key = request.key;
        let names: Vec<String> = request
            .tags
            .iter()
            .map(|name| self.index_name(name))
            .collect();
        if self.flaw != Flaw::IndexKeepsRemoved {
            let mut index = self.own_index.lock().unwrap();
            for (_, keys) in index.iter_mut().filter(|(name, _)| !names.contains(name)) {
                keys.retain(|other| *other != key);
            }
        }
        let misses = match self.flaw {
            Flaw::IndexMissesOverwrites => was_live,
            Flaw::IndexMissesKeep => request.expiry == Expiry::Keep,
            _ => false,
        };
        for name in names.into_iter().filter(|_| !misses) {
            let mut keys = self.own_keys(&name);
            if self.flaw == Flaw::IndexWrittenBack {
                tokio::task::yield_now().await;
            }
            if self.flaw == Flaw::IndexListsTwice || !keys.contains(&key) {
                keys.push(key);
            }
            self.own_index.lock().unwrap().insert(name, keys);
        }
    }

    pub(super) fn remove_from_index(&self, key: &StoreKey) {
        if self.flaw != Flaw::IndexOutlivesSessions {
            let mut index = self.own_index.lock().unwrap();
            index
                .values_mut()
                .for_each(|keys| keys.retain(|other| other != key));
        }
    }

    fn own_keys(&self, name: &str) -> Vec<StoreKey> {
        let index = self.own_index.lock().unwrap();
        index.get(name).cloned().unwrap_or_default()
    }

    /// Returns `true` if a key that the own index has under a tag is listed.
    async fn lists(&self, key: &StoreKey) -> bool {
        match self.flaw {
            Flaw::IndexOutlivesSessions | Flaw::IndexWrittenLate => true,
            Flaw::IndexIgnoresTouches => {
                let now = self.clock.now();
                self.with_data(key, |data| now < data.written_expires)
            }
            _ => matches!(self.read_sound(key).await, ReadOutcome::Found(_)),
        }
    }
}

fn collect<'t>(names: impl Iterator<Item = &'t str>) -> Tags {
    let mut tags = Tags::new();
    for tag in names.filter_map(|name| Tag::new(name).ok()) {
        tags.insert(&tag).unwrap();
    }
    tags
}

impl TagStore for BrokenStore {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let (this, tag) = (self.clone(), tag.clone());
        StoreFuture::new(async move {
            let keys = match this.has_own_index() {
                true => this.own_keys(&this.index_name(tag.as_str())),
                false => this.sound.tagged(&tag).await?,
            };
            let mut listed = Vec::new();
            for key in keys {
                if this.lists(&key).await {
                    listed.push(key);
                }
            }
            Ok(listed)
        })
    }

    fn destroy_tagged(&self, tag: &Tag, except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        let except = match self.flaw {
            Flaw::None => except.copied(),
            Flaw::DestroyTaggedIgnoresException => None,
            _ => return None,
        };
        let (this, tag) = (self.clone(), tag.clone());
        Some(StoreFuture::new(async move {
            for key in this.sound.tagged(&tag).await? {
                if Some(key) != except {
                    this.sound.destroy(&key).await?;
                }
            }
            Ok(())
        }))
    }
}
