//! Tags, sealed in with the session.

use super::{
    CookieStoreError,
    contents::{Contents, Marked},
    there::Fit,
    visit::Visit,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{MAX_TAGS, StoreError, StoreFuture, Tag, TagStore},
};

impl TagStore for Visit {
    /// A tag that is there keeps the time at which it was put on: a request that was running while
    /// its owner logged out everywhere does not undo that.
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        let now = self.shared.clock.now();
        let Some(mut contents) = self.current(key, now) else {
            return StoreFuture::ready(Ok(false));
        };
        if contents.put(Marked::new(tag, now)).is_err() {
            return CookieStoreError::TooManyTags.answer("tag");
        }
        self.settle(contents, now, "tag", true)
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        if let Some(mut contents) = self.current(key, self.shared.clock.now()) {
            contents.marks.retain(|marked| !marked.is(tag));
            self.keep(contents);
        }
        StoreFuture::ready(Ok(()))
    }

    fn tagged(&self, _: &Tag) -> StoreFuture<Vec<StoreKey>> {
        CookieStoreError::Unlisted.answer("tagged")
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        let contents = self.current(key, self.shared.clock.now());
        let marks = contents.map(|contents| contents.marks).unwrap_or_default();
        StoreFuture::ready(Ok(marks.iter().filter_map(Marked::tag).collect()))
    }

    /// Both keys are of this request, or there is nothing to do.
    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let now = self.shared.clock.now();
        let before = self.held().before.as_deref().cloned();
        let before = before.filter(|it| it.key == *from);
        let (Some(before), Some(contents)) = (before, self.current(to, now)) else {
            return StoreFuture::ready(Ok(()));
        };
        if before.marks.is_empty() {
            return StoreFuture::ready(Ok(()));
        }
        if self.shared.revoked.is_none() {
            return self.copied(&before, contents, now);
        }
        self.later(move |me| async move { me.copy_there(before, contents, now).await })
    }

    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        self.copy_tags(from, to)
    }

    fn destroy_tagged(&self, tag: &Tag, but: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        Some(self.shared.end_tagged(tag, but))
    }
}

impl Visit {
    /// Tags of a session that its owner's log-out spared count from then on, under its new key too.
    /// Those of one that was not spared are copied as they are, and are refused as they are.
    async fn copy_there(
        &self,
        mut before: Contents,
        contents: Contents,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if let Some(revoked) = &self.shared.revoked {
            let _ = revoked.standing(&mut before).await?;
        }
        self.copied(&before, contents, now).await
    }

    fn copied(&self, before: &Contents, mut contents: Contents, now: Timestamp) -> StoreFuture<()> {
        for marked in &before.marks {
            if contents.put(marked.clone()).is_err() {
                return CookieStoreError::TooManyTags.answer("copy_tags");
            }
        }
        self.settle(contents, now, "copy_tags", ())
    }

    /// Keeps contents that have grown by tags.
    fn settle<T>(
        &self,
        contents: Contents,
        now: Timestamp,
        action: &'static str,
        answer: T,
    ) -> StoreFuture<T>
    where
        T: Send + 'static,
    {
        match self.fits_or_fails(&contents, action) {
            Fit::Here => {
                self.keep(contents);
                StoreFuture::ready(Ok(answer))
            }
            Fit::Nowhere(error) => StoreFuture::ready(Err(error)),
            Fit::Elsewhere => self.later(move |me| async move {
                if let Some(contents) = me.place(contents, now, action).await? {
                    me.keep(contents);
                }
                Ok(answer)
            }),
        }
    }
}

/// There is no room for another tag.
struct Full;

impl Contents {
    /// Puts a tag on, unless it is there.
    fn put(&mut self, marked: Marked) -> Result<(), Full> {
        if self.marks.iter().any(|there| there.name == marked.name) {
            return Ok(());
        }
        if self.marks.len() >= MAX_TAGS {
            return Err(Full);
        }
        self.marks.push(marked);
        Ok(())
    }
}
