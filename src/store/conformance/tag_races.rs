//! Checks of tagging during concurrent tags, writes and destroys.

use tokio::task;

use super::{
    Harness,
    probe::{CheckResult, LONG_TTL, Probe},
    races::{INCREMENTS, RACERS, counter, expect_counter, increment, race},
};
use crate::store::{Expected, Store};

/// Number of sessions that are destroyed while they are tagged.
const SESSIONS: usize = 20;

/// Checks that concurrent tagging and writing loses no tag.
///
/// Half of the tasks tag one session with a shared tag and with tags of their own. Each also tags a
/// session of its own with the shared tag. The other half increment the counter in the first session.
pub(super) async fn no_tag_is_lost<S: Store>(p: &Probe<S>) -> CheckResult {
    let (shared, (key, _)) = (p.new_tag()?, counter(p).await?);
    let shared_tag = shared.clone();
    let tagged = race(p, move |p, number| {
        let shared = shared_tag.clone();
        async move {
            if number % 2 == 0 {
                increment(&p, &key, INCREMENTS).await?;
                return Ok(None);
            }
            let (own, _) = p.new_record(LONG_TTL).await?;
            let mut tags = Vec::new();
            for _ in 0..4 {
                let tag = p.new_tag()?;
                p.expect_tag(&key, &tag).await?;
                task::yield_now().await;
                p.expect_tag(&key, &shared).await?;
                tags.push(tag);
            }
            p.expect_tag(&own, &shared).await?;
            Ok(Some((own, tags)))
        }
    })
    .await?;
    expect_counter(p, &key, RACERS / 2 * INCREMENTS).await?;
    let promise = "no tag is lost when many tasks tag one session";
    let mut expected = vec![key];
    for (own, tags) in tagged.into_iter().flatten() {
        expected.push(own);
        for tag in tags {
            p.expect_tagged(promise, &tag, &[key]).await?;
        }
    }
    p.expect_tagged(promise, &shared, &expected).await
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
                    _ => p.tag(&key, &tag).await.map(drop),
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
        p.expect_tagged(promise, &tag, &[]).await?;
    }
    Ok(())
}
