//! Checks of destroying: it can be repeated, and what is destroyed stays so.

use super::{
    Harness,
    probe::{LONG, Probe, Verdict},
};
use crate::store::{Expected, ReadOutcome, Store};

pub(super) async fn ends_the_record<S: Store>(p: &Probe<S>) -> Verdict {
    let (key, version) = p.destroyed().await?;
    p.destroy(&p.key()?).await?;
    let read = p.read(&key).await?;
    let promise = "a destroyed record is not read";
    p.holds(
        promise,
        !matches!(read, ReadOutcome::Found(_)),
        format!("{read:?}"),
    )?;
    let touched = p.touch(&key, LONG).await?;
    p.holds(
        "a destroyed record is not touched",
        !touched,
        "the touch was answered true",
    )?;
    if !p.store.capabilities().conditional_writes {
        return Ok(());
    }
    let written = p.write(&key, "back", Expected::Version(version)).await?;
    p.is_gone(
        "a write that expects a destroyed record's version is gone",
        written,
    )
}

pub(super) async fn can_be_repeated<S: Store>(p: &Probe<S>) -> Verdict {
    let (key, _) = p.destroyed().await?;
    p.destroy(&key).await?;
    p.destroy(&key).await?;
    let promise = "destroying again changes nothing";
    let written = p.write(&key, "back", Expected::Any).await?;
    p.is_gone(promise, written)?;
    p.reads(promise, &key, ReadOutcome::Gone).await
}

/// A slower request may never have loaded the session, and a faster one may have removed it.
pub(super) async fn fences_what_was_not_there<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let promise = "a destroy leaves a tombstone also where there was no live record";
    for key in [p.key()?, p.expired(harness).await?.0] {
        p.destroy(&key).await?;
        p.reads(promise, &key, ReadOutcome::Gone).await?;
        for expected in [Expected::Absent, Expected::Any] {
            let written = p.write(&key, "back", expected).await?;
            p.is_gone(promise, written)?;
        }
    }
    Ok(())
}

/// The tombstone has its own time: neither the record's rest nor a touch changes it.
pub(super) async fn fence_outlasts_the_record<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let short = harness.short_ttl();
    let (brief, _) = p.fresh(short).await?;
    p.destroy(&brief).await?;
    let (touched, _) = p.destroyed().await?;
    p.touch(&touched, short).await?;
    p.read_touching(&touched, short).await?;
    harness.advance(short).await;
    let promise = "a tombstone stands for its whole time, whatever the record's lifetime was";
    p.reads(promise, &brief, ReadOutcome::Gone).await?;
    p.is_gone(promise, p.write(&brief, "back", Expected::Absent).await?)?;
    let promise = "a tombstone cannot be touched";
    p.reads(promise, &touched, ReadOutcome::Gone).await?;
    p.is_gone(promise, p.write(&touched, "back", Expected::Any).await?)
}

pub(super) async fn fence_ends<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let promise = "a tombstone ends after its time";
    let (key, version) = p.destroyed().await?;
    p.touch(&key, LONG).await?;
    p.read_touching(&key, LONG).await?;
    harness.advance(harness.tombstone_ttl()).await;
    p.reads(promise, &key, ReadOutcome::Absent).await?;
    let written = p.write(&key, "back", Expected::Version(version)).await?;
    p.is_gone("a destroyed record's version is never there again", written)?;
    let written = p.write(&key, "new", Expected::Absent).await?;
    p.done("a key is free again once its tombstone has ended", written)
        .map(drop)
}

pub(super) async fn again_renews_the_fence<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let part = harness.tombstone_ttl() / 8;
    let (key, _) = p.destroyed().await?;
    harness.advance(part * 5).await;
    p.destroy(&key).await?;
    harness.advance(part * 5).await;
    let promise = "destroying again renews the tombstone";
    p.reads(promise, &key, ReadOutcome::Gone).await?;
    p.is_gone(promise, p.write(&key, "back", Expected::Absent).await?)
}
