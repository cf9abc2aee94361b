//! Checks of `destroy`, and of its tombstones.

use super::{
    Harness,
    probe::{CheckResult, Describe, LONG_TTL, Probe},
};
use crate::store::{Expected, ReadOutcome, Store};

pub(super) async fn removes_the_record<S: Store>(p: &Probe<S>) -> CheckResult {
    let (key, version) = p.new_destroyed().await?;
    p.destroy(&p.new_key()?).await?;
    let read = p.read(&key).await?;
    let promise = "a destroyed record is never read";
    p.ensure(
        promise,
        !matches!(read, ReadOutcome::Found(_)),
        format!("read returned {}", read.describe()),
    )?;
    let touched = p.touch(&key, LONG_TTL).await?;
    p.ensure(
        "a destroyed record cannot be touched",
        !touched,
        "touch returned true",
    )?;
    if !p.store.capabilities().conditional_writes {
        return Ok(());
    }
    let written = p.write(&key, "back", Expected::Version(version)).await?;
    p.expect_gone(
        "a write that expects the version of a destroyed record returns Gone",
        written,
    )
}

pub(super) async fn can_be_repeated<S: Store>(p: &Probe<S>) -> CheckResult {
    let (key, _) = p.new_destroyed().await?;
    p.destroy(&key).await?;
    p.destroy(&key).await?;
    let promise = "destroying twice has the same effect as once";
    let written = p.write(&key, "back", Expected::Any).await?;
    p.expect_gone(promise, written)?;
    p.expect_read(promise, &key, ReadOutcome::Gone).await
}

/// Checks that destroying an absent key leaves a tombstone. A slower request may not have loaded the
/// session yet, and a faster one may have removed it.
pub(super) async fn fences_an_absent_key<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let promise = "destroying a key without a live record leaves a tombstone";
    for key in [p.new_key()?, p.new_expired(harness).await?.0] {
        p.destroy(&key).await?;
        p.expect_read(promise, &key, ReadOutcome::Gone).await?;
        for expected in [Expected::Absent, Expected::Any] {
            let written = p.write(&key, "back", expected).await?;
            p.expect_gone(promise, written)?;
        }
    }
    Ok(())
}

/// Checks that neither the record's expiry nor a touch changes the end of a tombstone.
pub(super) async fn fence_outlasts_the_record<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let short = harness.short_ttl();
    let (short_lived, _) = p.new_record(short).await?;
    p.destroy(&short_lived).await?;
    let (touched, _) = p.new_destroyed().await?;
    p.touch(&touched, short).await?;
    p.read_and_touch(&touched, short).await?;
    harness.advance(short).await;
    let promise = "a tombstone lasts for its whole TTL, whatever the TTL of the record was";
    p.expect_read(promise, &short_lived, ReadOutcome::Gone)
        .await?;
    p.expect_gone(
        promise,
        p.write(&short_lived, "back", Expected::Absent).await?,
    )?;
    let promise = "a tombstone cannot be touched";
    p.expect_read(promise, &touched, ReadOutcome::Gone).await?;
    p.expect_gone(promise, p.write(&touched, "back", Expected::Any).await?)
}

pub(super) async fn fence_ends<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let promise = "a tombstone ends after its TTL";
    let (key, version) = p.new_destroyed().await?;
    p.touch(&key, LONG_TTL).await?;
    p.read_and_touch(&key, LONG_TTL).await?;
    harness.advance(harness.tombstone_ttl()).await;
    p.expect_read(promise, &key, ReadOutcome::Absent).await?;
    let written = p.write(&key, "back", Expected::Version(version)).await?;
    p.expect_gone("a destroyed record never exists again", written)?;
    let written = p.write(&key, "new", Expected::Absent).await?;
    p.expect_done(
        "a key can be used again after its tombstone has ended",
        written,
    )
    .map(drop)
}

pub(super) async fn again_renews_the_fence<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let eighth = harness.tombstone_ttl() / 8;
    let (key, _) = p.new_destroyed().await?;
    harness.advance(eighth * 5).await;
    p.destroy(&key).await?;
    harness.advance(eighth * 5).await;
    let promise = "destroying again renews the tombstone";
    p.expect_read(promise, &key, ReadOutcome::Gone).await?;
    p.expect_gone(promise, p.write(&key, "back", Expected::Absent).await?)
}
