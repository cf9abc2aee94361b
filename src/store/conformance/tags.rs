//! Checks of the tag extension.

use super::{
    Harness,
    probe::{CheckResult, LONG_TTL, Probe},
};
use crate::{
    id::StoreKey,
    store::{Expected, MAX_TAGS, Store, StoreFuture, Tag, TagStore},
};

/// Tag operations. They do nothing if the store has no tags.
impl<S: Store> Probe<S> {
    /// Returns a new random tag.
    pub(super) fn new_tag(&self) -> CheckResult<Tag> {
        self.named_tag(self.new_key()?.to_string())
    }

    pub(super) fn named_tag(&self, name: String) -> CheckResult<Tag> {
        Tag::new(name)
            .map_err(|error| self.violation("the suite uses valid tags", error.to_string()))
    }

    pub(super) async fn tag(&self, key: &StoreKey, tag: &Tag) -> CheckResult<bool> {
        match self.store.tags() {
            Some(tags) => self.require_ok("tag", tags.tag(key, tag).await),
            None => Ok(false),
        }
    }

    pub(super) async fn untag(&self, key: &StoreKey, tag: &Tag) -> CheckResult {
        match self.store.tags() {
            Some(tags) => self.require_ok("untag", tags.untag(key, tag).await),
            None => Ok(()),
        }
    }

    pub(super) async fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> CheckResult {
        match self.store.tags() {
            Some(tags) => self.require_ok("copy_tags", tags.copy_tags(from, to).await),
            None => Ok(()),
        }
    }

    pub(super) async fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> CheckResult {
        match self.store.tags() {
            Some(tags) => self.require_ok("move_tags", tags.move_tags(from, to).await),
            None => Ok(()),
        }
    }

    /// Tags a session that must be live.
    pub(super) async fn expect_tag(&self, key: &StoreKey, tag: &Tag) -> CheckResult {
        let tagged = self.tag(key, tag).await?;
        self.ensure("a live session can be tagged", tagged, "tag returned false")
    }

    /// Requires that the session under `key` has exactly the tags `expected`.
    async fn expect_tags(&self, promise: &str, key: &StoreKey, expected: &[Tag]) -> CheckResult {
        let Some(tags) = self.store.tags() else {
            return Ok(());
        };
        let mut listed = self.require_ok("tags_of", tags.tags_of(key).await)?;
        let mut expected = expected.to_vec();
        listed.sort_unstable();
        expected.sort_unstable();
        let observed = format!(
            "tags_of returned {} tags, not the expected ones",
            listed.len()
        );
        self.ensure(promise, listed == expected, observed)
    }

    /// Requires that `tag` lists exactly the keys `expected`.
    pub(super) async fn expect_tagged(
        &self,
        promise: &str,
        tag: &Tag,
        expected: &[StoreKey],
    ) -> CheckResult {
        let Some(tags) = self.store.tags() else {
            return Ok(());
        };
        let mut listed = self.require_ok("tagged", tags.tagged(tag).await)?;
        let mut expected = expected.to_vec();
        listed.sort_unstable();
        expected.sort_unstable();
        let observed = format!("tagged returned {listed:?}, expected {expected:?}");
        self.ensure(promise, listed == expected, observed)
    }
}

pub(super) async fn list_their_sessions<S: Store>(p: &Probe<S>) -> CheckResult {
    let (one, other) = (p.new_tag()?, p.new_tag()?);
    let promise = "a new tag lists no session";
    p.expect_tagged(promise, &one, &[]).await?;
    let (phone, laptop) = (
        p.new_record(LONG_TTL).await?.0,
        p.new_record(LONG_TTL).await?.0,
    );
    p.new_record(LONG_TTL).await?;
    p.expect_tag(&phone, &one).await?;
    p.expect_tag(&laptop, &one).await?;
    p.expect_tag(&laptop, &other).await?;
    let promise = "a tag lists exactly the sessions that have it";
    p.expect_tagged(promise, &one, &[phone, laptop]).await?;
    p.expect_tagged(promise, &other, &[laptop]).await?;
    p.expect_tag(&phone, &one).await?;
    p.expect_tagged("tagging again changes nothing", &one, &[phone, laptop])
        .await
}

pub(super) async fn untag_removes_one_tag<S: Store>(p: &Probe<S>) -> CheckResult {
    let (one, other) = (p.new_tag()?, p.new_tag()?);
    let (phone, laptop) = (
        p.new_record(LONG_TTL).await?.0,
        p.new_record(LONG_TTL).await?.0,
    );
    for key in [&phone, &laptop] {
        p.expect_tag(key, &one).await?;
        p.expect_tag(key, &other).await?;
    }
    p.untag(&phone, &one).await?;
    let promise = "untagging removes one tag of one session";
    p.expect_tagged(promise, &one, &[laptop]).await?;
    p.expect_tagged(promise, &other, &[phone, laptop]).await?;
    let promise = "removing a tag that the session does not have changes nothing";
    p.untag(&phone, &one).await?;
    p.untag(&p.new_key()?, &other).await?;
    p.untag(&phone, &p.new_tag()?).await?;
    p.expect_tagged(promise, &one, &[laptop]).await?;
    p.expect_tagged(promise, &other, &[phone, laptop]).await
}

pub(super) async fn are_listed_by_their_session<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let (one, other) = (p.new_tag()?, p.new_tag()?);
    let (key, short_lived) = (
        p.new_record(LONG_TTL).await?.0,
        p.new_record(harness.short_ttl()).await?.0,
    );
    p.expect_tags("a session without tags lists none", &key, &[])
        .await?;
    for (key, tag) in [
        (&key, &one),
        (&key, &other),
        (&key, &one),
        (&short_lived, &one),
    ] {
        p.expect_tag(key, tag).await?;
    }
    let promise = "a session lists each of its tags once";
    p.expect_tags(promise, &key, &[one.clone(), other.clone()])
        .await?;
    p.untag(&key, &one).await?;
    p.expect_tags("a removed tag is not listed", &key, &[other])
        .await?;
    p.destroy(&key).await?;
    harness.advance(harness.short_ttl()).await;
    for ended in [key, short_lived, p.new_key()?] {
        p.expect_tags("a session that is not live lists no tags", &ended, &[])
            .await?;
    }
    Ok(())
}

pub(super) async fn only_live_sessions_are_tagged<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let (absent, destroyed) = (p.new_key()?, p.new_destroyed().await?.0);
    let expired = p.new_expired(harness).await?.0;
    for key in [absent, expired, destroyed] {
        let tag = p.new_tag()?;
        let promise = "only a live session can be tagged";
        p.ensure(promise, !p.tag(&key, &tag).await?, "tag returned true")?;
        p.expect_tagged(promise, &tag, &[]).await?;
    }
    for key in [absent, expired] {
        let tag = p.new_tag()?;
        p.tag(&key, &tag).await?;
        let written = p.write(&key, "new", Expected::Absent).await?;
        p.expect_done("tagging creates no session", written)?;
        p.expect_tagged(
            "a rejected tag is not applied to a later session",
            &tag,
            &[],
        )
        .await?;
    }
    Ok(())
}

pub(super) async fn survive_writes<S: Store>(p: &Probe<S>) -> CheckResult {
    let tag = p.new_tag()?;
    let (key, record) = p.new_record(LONG_TTL).await?;
    p.expect_tag(&key, &tag).await?;
    let written = p
        .write(&key, "next", Expected::Version(record.version))
        .await?;
    p.expect_done("tagging does not change the version", written)?;
    p.write(&key, "any", Expected::Any).await?;
    p.write(&key, "refused", Expected::Absent).await?;
    p.touch(&key, LONG_TTL).await?;
    p.read_and_touch(&key, LONG_TTL).await?;
    p.expect_tagged(
        "writes and touches keep the tags of a session",
        &tag,
        &[key],
    )
    .await
}

pub(super) async fn end_with_the_session<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let tag = p.new_tag()?;
    let (expiring, _) = p.new_record(harness.short_ttl()).await?;
    let (destroyed, _) = p.new_record(LONG_TTL).await?;
    let (touched, _) = p.new_record(harness.short_ttl()).await?;
    for key in [&expiring, &destroyed, &touched] {
        p.expect_tag(key, &tag).await?;
    }
    p.touch(&touched, LONG_TTL).await?;
    p.destroy(&destroyed).await?;
    p.expect_tagged(
        "a destroyed session is not listed",
        &tag,
        &[expiring, touched],
    )
    .await?;
    harness.advance(harness.short_ttl()).await;
    let promise = "an expired session is not listed, a session touched before its expiry is";
    p.expect_tagged(promise, &tag, &[touched]).await?;

    let promise = "a new session under a used key has no tags";
    p.expect_done(promise, p.write(&expiring, "new", Expected::Absent).await?)?;
    p.expect_tagged(promise, &tag, &[touched]).await?;
    harness.advance(harness.tombstone_ttl()).await;
    p.expect_done(promise, p.write(&destroyed, "new", Expected::Any).await?)?;
    p.expect_tagged(promise, &tag, &[touched]).await
}

pub(super) async fn can_be_moved<S: Store>(p: &Probe<S>) -> CheckResult {
    let (one, other, own) = (p.new_tag()?, p.new_tag()?, p.new_tag()?);
    let (old, new) = (
        p.new_record(LONG_TTL).await?.0,
        p.new_record(LONG_TTL).await?.0,
    );
    for (key, tag) in [(&old, &one), (&old, &other), (&new, &own), (&new, &other)] {
        p.expect_tag(key, tag).await?;
    }
    let promise = "copying or moving tags to a session that is not live, or to the same session, changes nothing";
    for to in [p.new_key()?, p.new_destroyed().await?.0, old] {
        p.copy_tags(&old, &to).await?;
        p.move_tags(&old, &to).await?;
    }
    p.expect_tagged(promise, &one, &[old]).await?;
    p.expect_tagged(promise, &other, &[old, new]).await?;

    p.copy_tags(&old, &new).await?;
    let promise = "copied tags are on both sessions, and the new session keeps its own";
    p.expect_tagged(promise, &one, &[old, new]).await?;
    p.expect_tagged(promise, &other, &[old, new]).await?;
    p.expect_tagged(promise, &own, &[new]).await?;

    p.move_tags(&old, &new).await?;
    let promise = "moved tags are only on the new session, which keeps its own";
    for tag in [&one, &other, &own] {
        p.expect_tagged(promise, tag, &[new]).await?;
    }
    p.move_tags(&old, &new).await?;
    p.destroy(&old).await?;
    p.move_tags(&old, &new).await?;
    let promise = "moved tags stay after the old session is destroyed";
    for tag in [&one, &other, &own] {
        p.expect_tagged(promise, tag, &[new]).await?;
    }
    Ok(())
}

pub(super) async fn names_are_opaque<S: Store>(p: &Probe<S>) -> CheckResult {
    let unique = p.new_key()?.to_string();
    let names = [
        "", ":", "*", "}", "\u{0}", "\r\n", "é", "e\u{301}", " ", "A", "a", "/../",
    ];
    let mut tagged = Vec::new();
    for name in names {
        let tag = p.named_tag(format!("{{{unique}}}{name}"))?;
        let (key, _) = p.new_record(LONG_TTL).await?;
        p.expect_tag(&key, &tag).await?;
        tagged.push((tag, key));
    }
    let longest = p.named_tag(format!(
        "{unique}{}",
        "x".repeat(Tag::MAX_LEN - unique.len())
    ))?;
    let (key, _) = p.new_record(LONG_TTL).await?;
    p.expect_tag(&key, &longest).await?;
    tagged.push((longest, key));
    for (tag, key) in tagged {
        p.expect_tagged("tags with different names are distinct", &tag, &[key])
            .await?;
    }
    Ok(())
}

pub(super) async fn are_limited<S: Store>(p: &Probe<S>) -> CheckResult {
    let (key, _) = p.new_record(LONG_TTL).await?;
    let mut tags = Vec::new();
    for _ in 0..MAX_TAGS {
        let tag = p.new_tag()?;
        p.expect_tag(&key, &tag).await?;
        tags.push(tag);
    }
    let excess = p.new_tag()?;
    let promise = "exceeding the maximum number of tags is an error and changes nothing";
    expect_error(p, promise, |store| store.tag(&key, &excess)).await?;
    p.expect_tagged(promise, &excess, &[]).await?;

    let (other, _) = p.new_record(LONG_TTL).await?;
    p.expect_tag(&other, &excess).await?;
    expect_error(p, promise, |store| store.move_tags(&other, &key)).await?;
    p.expect_tagged(promise, &excess, &[other]).await?;
    for tag in &tags {
        p.expect_tag(&key, tag).await?;
        p.expect_tagged(
            "a session has up to the maximum number of tags",
            tag,
            &[key],
        )
        .await?;
    }
    if let [first, ..] = &*tags {
        p.untag(&key, first).await?;
    }
    p.expect_tag(&key, &excess).await
}

/// Requires that this call returns an error.
async fn expect_error<S: Store, T: Unpin>(
    p: &Probe<S>,
    promise: &str,
    call: impl FnOnce(&dyn TagStore) -> StoreFuture<T>,
) -> CheckResult {
    let Some(tags) = p.store.tags() else {
        return Ok(());
    };
    let result = call(tags).await;
    p.ensure(promise, result.is_err(), "the call succeeded")
}
