//! Checks of the tags in records. They need no index.

use bytes::Bytes;

use super::{
    Harness,
    probe::{CheckResult, Describe, LONG_TTL, Probe},
};
use crate::{
    id::StoreKey,
    store::{Expected, MAX_TAGS, ReadOutcome, Record, Store, Tag, Tags, WriteRequest},
};

/// Endings of tag names that a store could take for something else.
pub(super) const NAMES: [&str; 14] = [
    "", ":", "*", "}", ",", "\u{0}", "\r\n", "\"", "é", "e\u{301}", " ", "A", "a", "/../",
];

impl<S: Store> Probe<S> {
    /// Returns a new random tag.
    pub(super) fn new_tag(&self) -> CheckResult<Tag> {
        self.named_tag(self.new_key()?.to_string())
    }

    pub(super) fn named_tag(&self, name: String) -> CheckResult<Tag> {
        Tag::new(name)
            .map_err(|error| self.violation("the suite uses valid tags", error.to_string()))
    }

    pub(super) fn tags<'t>(&self, list: impl IntoIterator<Item = &'t Tag>) -> CheckResult<Tags> {
        let mut tags = Tags::new();
        for tag in list {
            let inserted = tags.insert(tag);
            inserted
                .map_err(|error| self.violation("the suite uses valid tags", error.to_string()))?;
        }
        Ok(tags)
    }

    /// Requires that the record under `key` is live and has exactly these tags.
    pub(super) async fn expect_tags(
        &self,
        promise: &str,
        key: &StoreKey,
        tags: &Tags,
    ) -> CheckResult {
        let read = self.read(key).await?;
        let is_met = matches!(&read, ReadOutcome::Found(record) if record.tags == *tags);
        let observed = format!(
            "read returned {}, expected {} tags",
            read.describe(),
            tags.len()
        );
        self.ensure(promise, is_met, observed)
    }
}

pub(super) async fn are_read_as_written<S: Store>(p: &Probe<S>) -> CheckResult {
    let (one, other) = (p.new_tag()?, p.new_tag()?);
    let strange: CheckResult<Vec<Tag>> = NAMES
        .iter()
        .map(|end| p.named_tag(format!("t{end}")))
        .collect();
    let key = p.new_key()?;
    // Each list replaces the previous one.
    for tags in [
        p.tags([&one])?,
        p.tags(&strange?)?,
        p.tags([&one, &other])?,
        p.tags([&other])?,
        Tags::new(),
    ] {
        for data in [Bytes::new(), tags.as_bytes().clone()] {
            write_and_read(p, &key, data, &tags).await?;
        }
    }
    Ok(())
}

pub(super) async fn maximum_is_kept<S: Store>(p: &Probe<S>) -> CheckResult {
    let longest: CheckResult<Vec<Tag>> = (0..MAX_TAGS)
        .map(|number| p.named_tag(format!("{number:0width$}", width = Tag::MAX_LEN)))
        .collect();
    let tags = p.tags(&longest?)?;
    write_and_read(p, &p.new_key()?, "full".into(), &tags).await
}

/// Checks that a new session under a used key has only the tags of its own write.
pub(super) async fn end_with_the_session<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let (tag, own) = (p.new_tag()?, p.new_tag()?);
    let (tags, own_tags) = (p.tags([&tag])?, p.tags([&own])?);
    let (expiring, _) = p.new_tagged_record(harness.short_ttl(), &tags).await?;
    let (destroyed, _) = p.new_tagged_record(LONG_TTL, &tags).await?;
    p.destroy(&destroyed).await?;
    let promise = "a destroyed session is not listed";
    p.expect_tagged(promise, &tag, &[expiring]).await?;
    harness.advance(harness.short_ttl()).await;
    let promise = "an expired session is not listed";
    p.expect_tagged(promise, &tag, &[]).await?;

    let promise = "a new session under a used key has only its own tags";
    p.expect_done(promise, p.write(&expiring, "new", Expected::Absent).await?)?;
    p.expect_tags(promise, &expiring, &Tags::new()).await?;
    p.expect_tagged(promise, &tag, &[]).await?;
    harness.advance(harness.tombstone_ttl()).await;
    let request = WriteRequest::new(&destroyed, "new", LONG_TTL, Expected::Any);
    p.expect_done(promise, p.send(request.tags(own_tags.clone())).await?)?;
    p.expect_tags(promise, &destroyed, &own_tags).await?;
    p.expect_tagged(promise, &tag, &[]).await?;
    p.expect_tagged(promise, &own, &[destroyed]).await
}

/// Writes a record, and requires that every operation returns it with its tags.
async fn write_and_read<S: Store>(
    p: &Probe<S>,
    key: &StoreKey,
    data: Bytes,
    tags: &Tags,
) -> CheckResult {
    let request = WriteRequest::new(key, data.clone(), LONG_TTL, Expected::Any);
    let written = p.send(request.tags(tags.clone())).await?;
    let version = p.expect_done("any list of tags can be written", written)?;
    let record = Record::new(data, version).tags(tags.clone());
    let promise = "tags are read as written, together with the data";
    p.expect_read(promise, key, ReadOutcome::Found(record.clone()))
        .await?;
    if p.store.capabilities().conditional_writes {
        let refused = p.write(key, "other", Expected::Absent).await?;
        let promise = "a conflict returns the tags as written";
        p.expect_conflict(promise, refused, &record)?;
    }
    let read = p.read_and_touch(key, LONG_TTL).await?;
    let is_kept = matches!(&read, ReadOutcome::Found(found)
        if (&found.data, &found.tags) == (&record.data, tags));
    p.ensure(
        "a read with touch returns the tags as written",
        is_kept,
        format!("read with touch returned {}", read.describe()),
    )
}
