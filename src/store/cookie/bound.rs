//! What all requests of one service share.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;

use super::{
    CookieStore, CookieStoreError, MAX_CHUNKS, PURPOSE, contents::Contents, memo::Memo,
    pieces::Pieces, revoked::Revoked, stamps::Stamps, there::over, visit::Visit,
};
use crate::{
    clock::Clock,
    cookie::MAX_PAIR_LEN,
    id::StoreKey,
    seal::Codec,
    store::{
        BoundStore, Capabilities, CookieContext, Expected, ReadOutcome, RequestStore, Store,
        StoreError, StoreFuture, Tag, TagStore, TooLarge, WriteOutcome,
    },
};

/// A cookie store that knows its keys and its cookies' names.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) codec: Codec,
    pub(super) pieces: Pieces,
    pub(super) stamps: Stamps,
    pub(super) memo: Memo,
    pub(super) clear_with_browser: bool,
    max_chunks: usize,
    pub(super) overflow: Option<Arc<dyn Store>>,
    pub(super) revoked: Option<Revoked>,
}

impl Shared {
    pub(super) fn new(
        store: &CookieStore,
        binding: &CookieContext<'_>,
    ) -> Result<Self, StoreError> {
        if !(1..=MAX_CHUNKS).contains(&store.max_chunks) {
            return Err(CookieStoreError::MaxChunks(store.max_chunks).of("open"));
        }
        let name = format!("{}-data", binding.name);
        let pieces = Pieces::new(&name, binding.attributes)?;
        let codec = binding.keys.codec(PURPOSE, &name);
        let revoked = store.revocation.clone();
        Ok(Self {
            clock: store.clock.clone(),
            codec: codec.with_max_text_len(pieces.capacity(MAX_CHUNKS)),
            pieces,
            stamps: Stamps::default(),
            memo: Memo::default(),
            clear_with_browser: binding.clear_with_browser,
            max_chunks: store.max_chunks,
            overflow: store.overflow.clone(),
            revoked: revoked.map(|list| Revoked::new(list, binding.max_ttl)),
        })
    }

    /// Whether the contents fit into the cookies that may be set, or by how much not.
    pub(super) fn fits(&self, contents: &Contents) -> Result<(), TooLarge> {
        let text = Codec::sealed_len(contents.len());
        if text <= self.pieces.capacity(self.max_chunks) {
            return Ok(());
        }
        Err(TooLarge {
            size: self.pieces.size(text, self.max_chunks),
            limit: MAX_PAIR_LEN * self.max_chunks,
        })
    }
}

/// The store without a request.
pub(super) struct Service(pub(super) Arc<Shared>);

impl BoundStore for Service {
    fn attach(&self, lines: &[HeaderValue]) -> Arc<dyn RequestStore> {
        Visit::new(self.0.clone(), lines)
    }
}

impl Store for Service {
    fn read(&self, _: &StoreKey, _: Option<Duration>) -> StoreFuture<ReadOutcome> {
        CookieStoreError::WithTheVisitor.answer("read")
    }

    fn write(&self, _: &StoreKey, _: Bytes, _: Duration, _: Expected) -> StoreFuture<WriteOutcome> {
        CookieStoreError::WithTheVisitor.answer("write")
    }

    /// Puts the session on the revocation list.
    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let (shared, key) = (self.0.clone(), *key);
        if shared.revoked.is_none() {
            return CookieStoreError::NoRevocation.answer("destroy");
        }
        StoreFuture::new(async move { shared.end(&key).await })
    }

    fn touch(&self, _: &StoreKey, _: Duration) -> StoreFuture<bool> {
        CookieStoreError::WithTheVisitor.answer("touch")
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }

    /// Waits for the stores behind it.
    fn ready(&self) -> StoreFuture<()> {
        let shared = self.0.clone();
        StoreFuture::new(async move {
            if let Some(revoked) = &shared.revoked {
                revoked.ready().await?;
            }
            match &shared.overflow {
                Some(overflow) => overflow.ready().await,
                None => Ok(()),
            }
        })
    }
}

impl TagStore for Service {
    fn tag(&self, _: &StoreKey, _: &Tag) -> StoreFuture<bool> {
        CookieStoreError::WithTheVisitor.answer("tag")
    }

    fn untag(&self, _: &StoreKey, _: &Tag) -> StoreFuture<()> {
        CookieStoreError::WithTheVisitor.answer("untag")
    }

    fn tagged(&self, _: &Tag) -> StoreFuture<Vec<StoreKey>> {
        CookieStoreError::Unlisted.answer("tagged")
    }

    fn tags_of(&self, _: &StoreKey) -> StoreFuture<Vec<Tag>> {
        CookieStoreError::WithTheVisitor.answer("tags_of")
    }

    fn copy_tags(&self, _: &StoreKey, _: &StoreKey) -> StoreFuture<()> {
        CookieStoreError::WithTheVisitor.answer("copy_tags")
    }

    fn move_tags(&self, _: &StoreKey, _: &StoreKey) -> StoreFuture<()> {
        CookieStoreError::WithTheVisitor.answer("move_tags")
    }

    fn destroy_tagged(&self, tag: &Tag, but: Option<&StoreKey>) -> Option<StoreFuture<()>> {
        Some(self.0.end_tagged(tag, but))
    }
}

impl Shared {
    pub(super) fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional_writes: false,
            tombstones: self.revoked.is_some(),
            persistent: true,
            shared: true,
            list_by_tag: false,
        }
    }

    /// Ends a session at the server, as far as the server knows of sessions.
    pub(super) async fn end(&self, key: &StoreKey) -> Result<(), StoreError> {
        if let Some(revoked) = &self.revoked {
            revoked.end(key).await?;
        }
        if let Some(overflow) = &self.overflow {
            overflow.destroy(&over(key)).await?;
        }
        Ok(())
    }

    pub(super) fn end_tagged(&self, tag: &Tag, but: Option<&StoreKey>) -> StoreFuture<()> {
        let Some(revoked) = self.revoked.clone() else {
            return CookieStoreError::NoRevocation.answer("destroy_tagged");
        };
        let (tag, but, now) = (tag.clone(), but.copied(), self.clock.now());
        StoreFuture::new(async move { revoked.end_tagged(&tag, but, now).await })
    }
}
