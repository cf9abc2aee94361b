//! The broken stores' tags: some break those of the sound store, some keep a book of their own.

use hyper_session::{
    id::StoreKey,
    store::{ReadOutcome, StoreError, StoreFuture, Tag, TagStore},
};

use super::{Broken, Flaw};

impl Broken {
    fn tag_of(&self, tag: &Tag) -> Tag {
        match self.flaw {
            Flaw::TagsIgnoreCase => Tag::new(tag.as_str().to_lowercase()).unwrap(),
            _ => tag.clone(),
        }
    }

    fn keeps_a_book(&self) -> bool {
        matches!(
            self.flaw,
            Flaw::TagsOutliveSessions
                | Flaw::TagsAnything
                | Flaw::TagsUnlimited
                | Flaw::TagsTwice
                | Flaw::TagsWrittenBack
        )
    }

    async fn lives(&self, key: &StoreKey) -> bool {
        matches!(self.look(key).await, ReadOutcome::Found(_))
    }

    async fn note(self, key: StoreKey, tag: Tag) -> bool {
        if self.flaw != Flaw::TagsAnything && !self.lives(&key).await {
            return false;
        }
        let mut keys = self.noted(&tag);
        if self.flaw == Flaw::TagsWrittenBack {
            tokio::task::yield_now().await;
        }
        if self.flaw == Flaw::TagsTwice || !keys.contains(&key) {
            keys.push(key);
        }
        self.book.lock().unwrap().insert(tag, keys);
        true
    }

    async fn copy(self, from: StoreKey, to: StoreKey) -> Result<(), StoreError> {
        let tags: Vec<Tag> = self.book.lock().unwrap().keys().cloned().collect();
        for tag in &tags {
            if self.sound.tagged(tag).await?.contains(&from) {
                self.sound.tag(&to, tag).await?;
            }
        }
        Ok(())
    }

    fn noted(&self, tag: &Tag) -> Vec<StoreKey> {
        self.book
            .lock()
            .unwrap()
            .get(tag)
            .cloned()
            .unwrap_or_default()
    }
}

impl TagStore for Broken {
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        let tag = self.tag_of(tag);
        if self.keeps_a_book() {
            let (this, key) = (self.clone(), *key);
            return StoreFuture::new(async move { Ok(this.note(key, tag).await) });
        }
        self.book.lock().unwrap().entry(tag.clone()).or_default();
        self.sound.tag(key, &tag)
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        let tag = self.tag_of(tag);
        if let Some(keys) = self.book.lock().unwrap().get_mut(&tag) {
            keys.retain(|noted| noted != key);
        }
        if self.flaw != Flaw::UntagsAll {
            return self.sound.untag(key, &tag);
        }
        let (this, key) = (self.clone(), *key);
        let tags: Vec<Tag> = self.book.lock().unwrap().keys().cloned().collect();
        StoreFuture::new(async move {
            for tag in &tags {
                this.sound.untag(&key, tag).await?;
            }
            Ok(())
        })
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = self.tag_of(tag);
        if !self.keeps_a_book() {
            return self.sound.tagged(&tag);
        }
        let (this, keys) = (self.clone(), self.noted(&tag));
        StoreFuture::new(async move {
            let lists_all = matches!(this.flaw, Flaw::TagsOutliveSessions | Flaw::TagsAnything);
            let mut listed = Vec::new();
            for key in keys {
                if lists_all || this.lives(&key).await {
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
            Flaw::TagsCopied => StoreFuture::new(self.clone().copy(*from, *to)),
            _ => self.sound.move_tags(from, to),
        }
    }
}
