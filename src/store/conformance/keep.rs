//! Checks of writes with [`Expiry::Keep`].

use super::{
    Harness,
    probe::{CheckResult, Describe, LONG_TTL, Probe},
};
use crate::{
    id::StoreKey,
    store::{Expected, Expiry, ReadOutcome, Record, Store, WriteOutcome, WriteRequest},
};

/// Checks that the expiry stays where the last write or touch set it.
pub(super) async fn keeps_the_expiry<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let half = harness.short_ttl() / 2;
    let (written, _) = p.new_record(half * 2).await?;
    let (touched, _) = p.new_record(half * 2).await?;
    let (read, _) = p.new_record(half * 2).await?;
    p.touch(&touched, LONG_TTL).await?;
    p.read_and_touch(&read, LONG_TTL).await?;
    harness.advance(half).await;
    let mut lasting = Vec::new();
    for key in [written, touched, read] {
        let promise = "a write that keeps the expiry succeeds on a live record";
        let outcome = write_keep(p, &key, Expected::Any).await?;
        let version = p.expect_done(promise, outcome)?;
        if key != written {
            lasting.push((key, Record::new("kept".into(), version)));
        }
    }
    harness.advance(half).await;
    let promise = "a write that keeps the expiry does not prolong it";
    p.expect_read(promise, &written, ReadOutcome::Absent)
        .await?;
    let promise = "a write that keeps the expiry does not shorten it";
    for (key, record) in lasting {
        p.expect_read(promise, &key, ReadOutcome::Found(record))
            .await?;
    }
    Ok(())
}

pub(super) async fn creates_nothing<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let promise =
        "a write that keeps the expiry returns Gone if there is no live record, and creates none";
    let (_, other) = p.new_record(LONG_TTL).await?;
    let (expired, expired_version) = p.new_expired(harness).await?;
    let (destroyed, destroyed_version) = p.new_destroyed().await?;
    let versions = [other.version, expired_version, destroyed_version];
    for (key, version) in [p.new_key()?, expired, destroyed].iter().zip(versions) {
        for expected in [Expected::Absent, Expected::Any, Expected::Version(version)] {
            p.expect_gone(promise, write_keep(p, key, expected).await?)?;
            let read = p.read(key).await?;
            p.ensure(
                promise,
                !matches!(read, ReadOutcome::Found(_)),
                format!("read returned {}", read.describe()),
            )?;
        }
    }
    Ok(())
}

pub(super) async fn is_conditional<S: Store>(p: &Probe<S>) -> CheckResult {
    let (key, first) = p.new_record(LONG_TTL).await?;
    let expected = Expected::Version(first.version);
    let promise = "a write that keeps the expiry and expects the stored version succeeds";
    let version = p.expect_done(promise, write_keep(p, &key, expected).await?)?;
    let second = Record::new("kept".into(), version);
    let promise = "a write that keeps the expiry and expects another state returns Conflict";
    for wrong in [Expected::Absent, expected] {
        let refused = write_keep(p, &key, wrong).await?;
        p.expect_conflict(promise, refused, &second)?;
        p.expect_read(promise, &key, ReadOutcome::Found(second.clone()))
            .await?;
    }
    Ok(())
}

async fn write_keep<S: Store>(
    p: &Probe<S>,
    key: &StoreKey,
    expected: Expected,
) -> CheckResult<WriteOutcome> {
    p.send(WriteRequest::new(key, "kept", Expiry::Keep, expected))
        .await
}
