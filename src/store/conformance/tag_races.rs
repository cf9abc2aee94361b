//! Checks of tagging while others tag, write and destroy.

use tokio::task;

use super::{
    Harness,
    probe::{LONG, Probe, Verdict},
    races::{INCREMENTS, RACERS, counted, counter, increment, race},
};
use crate::store::{Expected, Store};

/// How many sessions are destroyed while they are tagged.
const SESSIONS: usize = 20;

/// Half of the tasks tag one session, each with a tag of its own and one that all share, and a
/// session of their own with the shared one; the others increment the first session's counter.
pub(super) async fn no_tag_is_lost<S: Store>(p: &Probe<S>) -> Verdict {
    let (shared, (key, _)) = (p.new_tag()?, counter(p).await?);
    let given = shared.clone();
    let tagged = race(p, move |p, number| {
        let shared = given.clone();
        async move {
            if number % 2 == 0 {
                increment(&p, &key, INCREMENTS).await?;
                return Ok(None);
            }
            let (mine, _) = p.fresh(LONG).await?;
            let mut tags = Vec::new();
            for _ in 0..4 {
                let tag = p.new_tag()?;
                p.must_tag(&key, &tag).await?;
                task::yield_now().await;
                p.must_tag(&key, &shared).await?;
                tags.push(tag);
            }
            p.must_tag(&mine, &shared).await?;
            Ok(Some((mine, tags)))
        }
    })
    .await?;
    counted(p, &key, RACERS / 2 * INCREMENTS).await?;
    let promise = "many tag at once and no tag is lost";
    let mut due = vec![key];
    for (mine, tags) in tagged.into_iter().flatten() {
        due.push(mine);
        for tag in tags {
            p.lists(promise, &tag, &[key]).await?;
        }
    }
    p.lists(promise, &shared, &due).await
}

pub(super) async fn tags_of_the_dead_stay_dead<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let mut ended = Vec::new();
    for _ in 0..SESSIONS {
        let (tag, (key, _)) = (p.new_tag()?, p.fresh(LONG).await?);
        let given = tag.clone();
        race(p, move |p, number| {
            let tag = given.clone();
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
        p.lists("a destroyed session is not listed", &tag, &[])
            .await?;
        ended.push((tag, key));
    }
    harness.advance(harness.tombstone_ttl()).await;
    for (tag, key) in ended {
        let promise = "a new session under an old key has no tags";
        p.done(promise, p.write(&key, "new", Expected::Absent).await?)?;
        p.lists(promise, &tag, &[]).await?;
    }
    Ok(())
}
