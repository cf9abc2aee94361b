//! Tags of the broken stores. Some alter the tags of the wrapped store, others keep lists of their own.

use hyper_session::{
    id::StoreKey,
    store::{ReadOutcome, StoreError, StoreFuture, Tag, TagStore},
};

use super::{BrokenStore, Flaw};

impl BrokenStore {
    fn altered_tag(&self, tag: &Tag) -> Tag {
        match self.flaw {
            Flaw::TagsIgnoreCase => Tag::new(tag.as_str().to_lowercase()).unwrap(),
            _ => tag.clone(),
        }
    }

    fn keeps_own_tags(&self) -> bool {
        matches!(
            self.flaw,
            Flaw::TagsOutliveSessions
                | Flaw::TagsAnyKey
                | Flaw::TagsUnlimited
                | Flaw::TagsListTwice
                | Flaw::TagsWrittenBack
        )
    }

    async fn is_live(&self, key: &StoreKey) -> bool {
        matches!(self.read_sound(key).await, ReadOutcome::Found(_))
    }

    async fn add_own_tag(self, key: StoreKey, tag: Tag) -> bool {
        if self.flaw != Flaw::TagsAnyKey && !self.is_live(&key).await {
            return false;
        }
        let mut keys = self.own_keys(&tag);
        if self.flaw == Flaw::TagsWrittenBack {
            tokio::task::yield_now().await;
        }
        if self.flaw == Flaw::TagsListTwice || !keys.contains(&key) {
            keys.push(key);
        }
        self.own_tags.lock().unwrap().insert(tag, keys);
        true
    }

    async fn copy_sound_tags(self, from: StoreKey, to: StoreKey) -> Result<(), StoreError> {
        let tags: Vec<Tag> = self.own_tags.lock().unwrap().keys().cloned().collect();
        for tag in &tags {
            if self.sound.tagged(tag).await?.contains(&from) {
                self.sound.tag(&to, tag).await?;
            }
        }
        Ok(())
    }

    fn own_keys(&self, tag: &Tag) -> Vec<StoreKey> {
        self.own_tags
            .lock()
            .unwrap()
            .get(tag)
            .cloned()
            .unwrap_or_default()
    }
}

impl TagStore for BrokenStore {
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        let tag = self.altered_tag(tag);
        if self.keeps_own_tags() {
            let (this, key) = (self.clone(), *key);
            return StoreFuture::new(async move { Ok(this.add_own_tag(key, tag).await) });
        }
        self.own_tags
            .lock()
            .unwrap()
            .entry(tag.clone())
            .or_default();
        self.sound.tag(key, &tag)
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        let tag = self.altered_tag(tag);
        if let Some(keys) = self.own_tags.lock().unwrap().get_mut(&tag) {
            keys.retain(|other| other != key);
        }
        if self.flaw != Flaw::UntagsEverything {
            return self.sound.untag(key, &tag);
        }
        let (this, key) = (self.clone(), *key);
        let tags: Vec<Tag> = self.own_tags.lock().unwrap().keys().cloned().collect();
        StoreFuture::new(async move {
            for tag in &tags {
                this.sound.untag(&key, tag).await?;
            }
            Ok(())
        })
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = self.altered_tag(tag);
        if !self.keeps_own_tags() {
            return self.sound.tagged(&tag);
        }
        let (this, keys) = (self.clone(), self.own_keys(&tag));
        StoreFuture::new(async move {
            let lists_all = matches!(this.flaw, Flaw::TagsOutliveSessions | Flaw::TagsAnyKey);
            let mut listed = Vec::new();
            for key in keys {
                if lists_all || this.is_live(&key).await {
                    listed.push(key);
                }
            }
            Ok(listed)
        })
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        match self.flaw {
            Flaw::TagsForgotten => StoreFuture::ready(Ok(Vec::new())),
            _ => self.sound.tags_of(key),
        }
    }

    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        self.sound.copy_tags(from, to)
    }

    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        match self.flaw {
            Flaw::TagsStayBehind => StoreFuture::ready(Ok(())),
            Flaw::TagsCopied => StoreFuture::new(self.clone().copy_sound_tags(*from, *to)),
            _ => self.sound.move_tags(from, to),
        }
    }
}
