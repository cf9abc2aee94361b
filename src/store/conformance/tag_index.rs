//! Checks of the tag extension: the index from tags to sessions.

use super::{
    Harness,
    probe::{CheckResult, Describe, LONG_TTL, Probe},
    tags::NAMES,
};
use crate::{
    id::StoreKey,
    store::{Expected, Expiry, ReadOutcome, Store, Tag, TagStore, Tags, WriteRequest},
};

/// Returns the store's index of tags, or `None` if it cannot list sessions.
pub(super) fn tag_index(store: &impl Store) -> Option<&dyn TagStore> {
    store.tags().filter(|_| store.capabilities().list_by_tag)
}

impl<S: Store> Probe<S> {
    /// Returns the keys that `tag` lists, or `None` if the store has no index.
    pub(super) async fn tagged(&self, tag: &Tag) -> CheckResult<Option<Vec<StoreKey>>> {
        match tag_index(&*self.store) {
            Some(index) => self.require_ok("tagged", index.tagged(tag).await).map(Some),
            None => Ok(None),
        }
    }

    /// Requires that `tag` lists exactly the keys `expected`, if the store has an index.
    pub(super) async fn expect_tagged(
        &self,
        promise: &str,
        tag: &Tag,
        expected: &[StoreKey],
    ) -> CheckResult {
        let Some(mut listed) = self.tagged(tag).await? else {
            return Ok(());
        };
        let mut expected = expected.to_vec();
        listed.sort_unstable();
        expected.sort_unstable();
        let observed = format!("tagged returned {listed:?}, expected {expected:?}");
        self.ensure(promise, listed == expected, observed)
    }

    /// Gives the live session under `key` these tags.
    async fn replace_tags(
        &self,
        key: &StoreKey,
        expiry: impl Into<Expiry>,
        tags: &Tags,
    ) -> CheckResult {
        let request = WriteRequest::new(key, "tagged", expiry, Expected::Any);
        let written = self.send(request.tags(tags.clone())).await?;
        let promise = "a write that expects any state replaces a live record";
        self.expect_done(promise, written).map(drop)
    }
}

/// Checks the index after writes that add, keep and remove tags, and after writes that are rejected.
pub(super) async fn lists_sessions<S: Store>(p: &Probe<S>) -> CheckResult {
    let (one, other) = (p.new_tag()?, p.new_tag()?);
    let (only_one, only_other) = (p.tags([&one])?, p.tags([&other])?);
    let both = p.tags([&one, &other])?;
    p.expect_tagged("a new tag lists no session", &one, &[])
        .await?;
    let (phone, _) = p.new_tagged_record(LONG_TTL, &only_one).await?;
    let (laptop, first) = p.new_tagged_record(LONG_TTL, &both).await?;
    let (tablet, _) = p.new_record(LONG_TTL).await?;
    let promise = "a tag lists exactly the sessions that have it, each once";
    p.expect_tagged(promise, &one, &[phone, laptop]).await?;
    p.expect_tagged(promise, &other, &[laptop]).await?;

    let promise = "a session stays listed after a write that keeps its tag";
    p.replace_tags(&phone, LONG_TTL, &only_one).await?;
    p.replace_tags(&laptop, Expiry::Keep, &both).await?;
    p.expect_tagged(promise, &one, &[phone, laptop]).await?;
    p.expect_tagged(promise, &other, &[laptop]).await?;

    let promise = "a session is listed after a write that adds a tag";
    p.replace_tags(&phone, LONG_TTL, &both).await?;
    p.replace_tags(&tablet, Expiry::Keep, &only_other).await?;
    p.expect_tagged(promise, &one, &[phone, laptop]).await?;
    p.expect_tagged(promise, &other, &[phone, laptop, tablet])
        .await?;

    let promise = "a rejected write changes no index";
    for (key, expected) in [
        (laptop, Expected::Absent),
        (laptop, Expected::Version(first.version)),
        (p.new_key()?, Expected::Version(first.version)),
    ] {
        let request = WriteRequest::new(&key, "refused", LONG_TTL, expected);
        if p.store.capabilities().conditional_writes {
            p.send(request.tags(only_one.clone())).await?;
        }
    }
    let request = WriteRequest::new(&p.new_key()?, "refused", Expiry::Keep, Expected::Any);
    p.send(request.tags(only_one)).await?;
    p.expect_tagged(promise, &one, &[phone, laptop]).await?;
    p.expect_tagged(promise, &other, &[phone, laptop, tablet])
        .await?;

    let promise = "a session is not listed after a write that removes its tag";
    p.replace_tags(&phone, Expiry::Keep, &only_other).await?;
    p.replace_tags(&laptop, LONG_TTL, &Tags::new()).await?;
    p.expect_tagged(promise, &one, &[]).await?;
    p.expect_tagged(promise, &other, &[phone, tablet]).await
}

pub(super) async fn names_are_opaque<S: Store>(p: &Probe<S>) -> CheckResult {
    let unique = p.new_key()?.to_string();
    let longest = "x".repeat(Tag::MAX_LEN - unique.len() - 2);
    let mut tags = Vec::new();
    for name in NAMES.into_iter().chain([&*longest]) {
        tags.push(p.named_tag(format!("{{{unique}}}{name}"))?);
    }
    let (all, _) = p.new_tagged_record(LONG_TTL, &p.tags(&tags)?).await?;
    let mut sessions = Vec::new();
    for tag in &tags {
        sessions.push(p.new_tagged_record(LONG_TTL, &p.tags([tag])?).await?.0);
    }
    for (tag, own) in tags.iter().zip(sessions) {
        p.expect_tagged("tags with different names are distinct", tag, &[all, own])
            .await?;
    }
    Ok(())
}

/// Checks that a session is listed until it expires, whatever moves its expiry.
pub(super) async fn follows_touches<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    /// Number of touches, two in each TTL.
    const TOUCHES: usize = 8;
    let short = harness.short_ttl();
    let tag = p.new_tag()?;
    let tags = p.tags([&tag])?;
    let (touched, _) = p.new_tagged_record(short, &tags).await?;
    let (read, _) = p.new_tagged_record(short, &tags).await?;
    let (kept, _) = p.new_record(short).await?;
    let (shortened, _) = p.new_tagged_record(LONG_TTL, &tags).await?;
    for _ in 0..TOUCHES {
        harness.advance(short / 2).await;
        p.touch(&touched, short).await?;
        p.read_and_touch(&read, short).await?;
        p.touch(&kept, short).await?;
        p.replace_tags(&kept, Expiry::Keep, &tags).await?;
    }
    let promise = "a session that is touched before it expires stays listed";
    p.expect_tagged(promise, &tag, &[touched, read, kept, shortened])
        .await?;
    p.touch(&shortened, short).await?;
    harness.advance(short).await;
    let promise = "a session is not listed after it has expired";
    p.expect_tagged(promise, &tag, &[]).await
}

/// Checks `destroy_tagged`, if the store has it.
pub(super) async fn destroys_sessions<S: Store>(p: &Probe<S>) -> CheckResult {
    let (tag, other) = (p.new_tag()?, p.new_tag()?);
    let (tags, other_tags) = (p.tags([&tag])?, p.tags([&other])?);
    let (current, _) = p.new_tagged_record(LONG_TTL, &tags).await?;
    let (ended, _) = p
        .new_tagged_record(LONG_TTL, &p.tags([&tag, &other])?)
        .await?;
    let (bystander, _) = p.new_tagged_record(LONG_TTL, &other_tags).await?;
    for (except, live) in [(Some(&current), &[current][..]), (None, &[])] {
        let index = tag_index(&*p.store);
        let Some(call) = index.and_then(|index| index.destroy_tagged(&tag, except)) else {
            return Ok(());
        };
        p.require_ok("destroy_tagged", call.await)?;
        let promise = "destroy_tagged destroys all sessions of the tag except one";
        p.expect_tagged(promise, &tag, live).await?;
        let read = p.read(&ended).await?;
        let is_ended = !matches!(read, ReadOutcome::Found(_));
        p.ensure(
            promise,
            is_ended,
            format!("read returned {}", read.describe()),
        )?;
        p.expect_tagged(promise, &other, &[bystander]).await?;
    }
    Ok(())
}
