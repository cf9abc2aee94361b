//! Tags of a session in a cookie, sealed with it.

use super::{
    CookieStoreError,
    payload::{Payload, SealedTag},
    request::CookieRequestStore,
    shared::Placement,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{MAX_TAGS, StoreError, StoreFuture, Tag, TagStore},
};

impl TagStore for CookieRequestStore {
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        // A tag that the session already has keeps its time. So a request that runs while its user
        // logs out everywhere does not undo the logout.
        let now = self.shared.clock.now();
        let Some(mut payload) = self.payload(key, now) else {
            return StoreFuture::ready(Ok(false));
        };
        if payload.add_tag(SealedTag::new(tag, now)).is_err() {
            return CookieStoreError::TooManyTags.into_future("tag");
        }
        self.set_tagged(payload, now, "tag", true)
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        if let Some(mut payload) = self.payload(key, self.shared.clock.now()) {
            payload.tags.retain(|sealed| !sealed.is(tag));
            self.set_payload(payload);
        }
        StoreFuture::ready(Ok(()))
    }

    fn tagged(&self, _: &Tag) -> StoreFuture<Vec<StoreKey>> {
        CookieStoreError::ListingUnsupported.into_future("tagged")
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        let payload = self.payload(key, self.shared.clock.now());
        let tags = payload.map(|payload| payload.tags).unwrap_or_default();
        StoreFuture::ready(Ok(tags.iter().filter_map(SealedTag::to_tag).collect()))
    }

    /// Copies the tags if both keys belong to this request. Otherwise does nothing.
    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let now = self.shared.clock.now();
        let previous = self.state().previous.as_deref().cloned();
        let previous = previous.filter(|previous| previous.key == *from);
        let (Some(previous), Some(payload)) = (previous, self.payload(to, now)) else {
            return StoreFuture::ready(Ok(()));
        };
        if previous.tags.is_empty() {
            return StoreFuture::ready(Ok(()));
        }
        if self.shared.revocation.is_none() {
            return self.copy_tags_from(&previous, payload, now);
        }
        self.with_self(
            move |this| async move { this.copy_checked_tags(previous, payload, now).await },
        )
    }

    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        self.copy_tags(from, to)
    }

    fn destroy_tagged(&self, tag: &Tag, except: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        Some(self.shared.destroy_tagged(tag, except))
    }
}

impl CookieRequestStore {
    /// Copies tags after a lookup in the revocation list.
    ///
    /// The lookup updates the tags of an exempt session, so that it stays valid under its new key.
    /// Tags of a revoked session are copied unchanged, and stay revoked.
    async fn copy_checked_tags(
        &self,
        mut previous: Payload,
        payload: Payload,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if let Some(revocation) = &self.shared.revocation {
            let _ = revocation.status(&mut previous).await?;
        }
        self.copy_tags_from(&previous, payload, now).await
    }

    fn copy_tags_from(
        &self,
        previous: &Payload,
        mut payload: Payload,
        now: Timestamp,
    ) -> StoreFuture<()> {
        for tag in &previous.tags {
            if payload.add_tag(tag.clone()).is_err() {
                return CookieStoreError::TooManyTags.into_future("copy_tags");
            }
        }
        self.set_tagged(payload, now, "copy_tags", ())
    }

    /// Sets a payload that has grown by tags, and moves its record to the overflow store if it no
    /// longer fits.
    fn set_tagged<T>(
        &self,
        payload: Payload,
        now: Timestamp,
        operation: &'static str,
        output: T,
    ) -> StoreFuture<T>
    where
        T: Send + 'static,
    {
        match self.shared.placement(&payload, operation) {
            Placement::Inline => {
                self.set_payload(payload);
                StoreFuture::ready(Ok(output))
            }
            Placement::TooLarge(error) => StoreFuture::ready(Err(error)),
            Placement::Overflow => self.with_self(move |this| async move {
                if let Some(payload) = this.place_record(payload, now, operation).await? {
                    this.set_payload(payload);
                }
                Ok(output)
            }),
        }
    }
}

/// The session has [`MAX_TAGS`] tags.
struct TagsFull;

impl Payload {
    /// Adds a tag, unless the session has it already.
    fn add_tag(&mut self, tag: SealedTag) -> Result<(), TagsFull> {
        if self.tags.iter().any(|existing| existing.name == tag.name) {
            return Ok(());
        }
        if self.tags.len() >= MAX_TAGS {
            return Err(TagsFull);
        }
        self.tags.push(tag);
        Ok(())
    }
}
