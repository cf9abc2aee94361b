//! Checks of tags during concurrent writes and destroys.

use tokio::task;

use super::{
    Harness,
    probe::{CheckResult, Describe, LONG_TTL, Probe},
    races::{INCREMENTS, RACERS, counter, expect_counter, increment, race, update},
};
use crate::{
    id::StoreKey,
    store::{Expected, Expiry, ReadOutcome, Store, Tag, Tags, Version, WriteOutcome, WriteRequest},
};

/// Number of tags that each task adds, and of sessions that it writes.
const OWN_TAGS: usize = 4;

/// Number of sessions that are destroyed while they are tagged.
const SESSIONS: usize = 20;

/// Checks that concurrent updates lose neither a tag nor an increment.
///
/// Half of the tasks add a shared tag and tags of their own to one session, and write sessions of their
/// own with the shared tag. The other half increment the counter in the first session.
pub(super) async fn no_tag_is_lost<S: Store>(p: &Probe<S>) -> CheckResult {
    let (shared, (key, _)) = (p.new_tag()?, counter(p).await?);
    let shared_tag = shared.clone();
    let own = race(p, move |p, number| {
        let shared = shared_tag.clone();
        async move {
            if number % 2 == 0 {
                increment(&p, &key, INCREMENTS).await?;
                return Ok(Vec::new());
            }
            let mut own = Vec::new();
            for _ in 0..OWN_TAGS {
                let tag = p.new_tag()?;
                add_tag(&p, &key, &tag).await?;
                add_tag(&p, &key, &shared).await?;
                let (session, _) = p.new_tagged_record(LONG_TTL, &p.tags([&shared])?).await?;
                own.push((tag, session));
            }
            Ok(own)
        }
    })
    .await?;
    expect_counter(p, &key, RACERS / 2 * INCREMENTS).await?;
    let promise = "no tag is lost when many tasks update one session";
    let (own_tags, mut sessions): (Vec<_>, Vec<_>) = own.into_iter().flatten().unzip();
    let all_tags = p.tags(own_tags.iter().chain([&shared]))?;
    p.expect_tags(promise, &key, &all_tags).await?;
    for tag in &own_tags {
        p.expect_tagged(promise, tag, &[key]).await?;
    }
    sessions.push(key);
    p.expect_tagged(promise, &shared, &sessions).await
}

async fn add_tag<S: Store>(p: &Probe<S>, key: &StoreKey, tag: &Tag) -> CheckResult<Version> {
    update(p, key, |record| {
        let mut tags = record.tags.clone();
        tags.insert(tag)
            .map_err(|error| p.violation("a read returns no other tags", error.to_string()))?;
        let expected = Expected::Version(record.version);
        Ok(WriteRequest::new(key, record.data.clone(), Expiry::Keep, expected).tags(tags))
    })
    .await
}

pub(super) async fn destroyed_sessions_stay_untagged<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let mut destroyed = Vec::new();
    for _ in 0..SESSIONS {
        let (tag, (key, _)) = (p.new_tag()?, p.new_record(LONG_TTL).await?);
        let own_tag = tag.clone();
        race(p, move |p, number| {
            let tag = own_tag.clone();
            async move {
                match number {
                    0 => {
                        task::yield_now().await;
                        p.destroy(&key).await
                    }
                    _ => write_tag(&p, &key, &tag).await,
                }
            }
        })
        .await?;
        p.expect_tagged("a destroyed session is not listed", &tag, &[])
            .await?;
        destroyed.push((tag, key));
    }
    harness.advance(harness.tombstone_ttl()).await;
    for (tag, key) in destroyed {
        let promise = "a new session under a used key has no tags";
        p.expect_done(promise, p.write(&key, "new", Expected::Absent).await?)?;
        p.expect_tags(promise, &key, &Tags::new()).await?;
        p.expect_tagged(promise, &tag, &[]).await?;
    }
    Ok(())
}

/// Writes a tag that no other task removes. If the write succeeds, the session must be listed until it
/// is destroyed.
async fn write_tag<S: Store>(p: &Probe<S>, key: &StoreKey, tag: &Tag) -> CheckResult {
    let request = WriteRequest::new(key, "tagged", Expiry::Keep, Expected::Any);
    let written = p.send(request.tags(p.tags([tag])?)).await?;
    if !matches!(written, WriteOutcome::Done(_)) {
        return Ok(());
    }
    let listed = p.tagged(tag).await?;
    if listed.is_some_and(|listed| listed.contains(key)) {
        return Ok(());
    }
    let read = p.read(key).await?;
    p.ensure(
        "a session is listed as soon as the write of its tag has succeeded",
        !matches!(read, ReadOutcome::Found(_)),
        format!("it is not listed, but read returned {}", read.describe()),
    )
}
