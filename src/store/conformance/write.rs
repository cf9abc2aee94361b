//! Checks of conditional writes, one for each state of a key.

use super::{
    Harness,
    probe::{CheckResult, LONG_TTL, Probe},
};
use crate::store::{Expected, ReadOutcome, Record, Store, Version, WriteRequest};

pub(super) async fn on_an_absent_key<S: Store>(p: &Probe<S>) -> CheckResult {
    for expected in [Expected::Absent, Expected::Any] {
        let key = p.new_key()?;
        p.expect_read("a new key is absent", &key, ReadOutcome::Absent)
            .await?;
        let written = p.write(&key, "new", expected).await?;
        let version = p.expect_done(
            "a write that expects no record succeeds if there is none",
            written,
        )?;
        let read = ReadOutcome::Found(Record::new("new".into(), version));
        p.expect_read("a written record is read with its version", &key, read)
            .await?;
    }
    let (_, other) = p.new_record(LONG_TTL).await?;
    let key = p.new_key()?;
    let promise =
        "a write that expects a version returns Gone if there is no record, and creates none";
    let written = p
        .write(&key, "lost", Expected::Version(other.version))
        .await?;
    p.expect_gone(promise, written)?;
    p.expect_read(promise, &key, ReadOutcome::Absent).await
}

pub(super) async fn on_a_live_record<S: Store>(p: &Probe<S>) -> CheckResult {
    let (key, first) = p.new_record(LONG_TTL).await?;
    let promise = "a write that expects the stored version succeeds";
    let tags = p.tags([&p.new_tag()?])?;
    let request = WriteRequest::new(&key, "second", LONG_TTL, Expected::Version(first.version));
    let written = p.send(request.tags(tags.clone())).await?;
    let version = p.expect_done(promise, written)?;
    let second = Record::new("second".into(), version).tags(tags);
    p.expect_read(promise, &key, ReadOutcome::Found(second.clone()))
        .await?;

    let promise = "a write that expects another state returns Conflict with the stored record";
    for wrong in wrong_expectations(first.version, version) {
        let refused = p.write(&key, "lost", wrong).await?;
        p.expect_conflict(promise, refused, &second)?;
        let promise = "a rejected write changes nothing";
        p.expect_read(promise, &key, ReadOutcome::Found(second.clone()))
            .await?;
    }
    let promise = "a write that expects any state replaces a live record";
    let version = p.expect_done(promise, p.write(&key, "third", Expected::Any).await?)?;
    let third = Record::new("third".into(), version);
    p.expect_read(promise, &key, ReadOutcome::Found(third))
        .await
}

/// Returns wrong expectations: no record, the previous version, and a version that the store never
/// returned.
fn wrong_expectations(previous: Version, current: Version) -> impl Iterator<Item = Expected> {
    let unknown = Version::new(current.get() ^ (1 << 62));
    let versions = [Some(previous), unknown].into_iter().flatten();
    std::iter::once(Expected::Absent).chain(versions.map(Expected::Version))
}

pub(super) async fn on_an_expired_record<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let (key, version) = p.new_expired(harness).await?;
    let promise =
        "a write that expects the version of an expired record returns Gone, and creates none";
    let written = p.write(&key, "lost", Expected::Version(version)).await?;
    p.expect_gone(promise, written)?;
    p.expect_read(promise, &key, ReadOutcome::Absent).await?;

    let promise = "an expired record counts as absent";
    p.expect_done(promise, p.write(&key, "new", Expected::Absent).await?)?;
    let (key, _) = p.new_expired(harness).await?;
    let version = p.expect_done(promise, p.write(&key, "new", Expected::Any).await?)?;
    let read = ReadOutcome::Found(Record::new("new".into(), version));
    p.expect_read("a record written over an expired one is read", &key, read)
        .await
}

pub(super) async fn on_a_tombstone<S: Store>(p: &Probe<S>) -> CheckResult {
    let promise = "until a tombstone ends, every write returns Gone and creates nothing";
    let (key, version) = p.new_destroyed().await?;
    for expected in [Expected::Absent, Expected::Version(version), Expected::Any] {
        let written = p.write(&key, "back", expected).await?;
        p.expect_gone(promise, written)?;
        p.expect_read(promise, &key, ReadOutcome::Gone).await?;
    }
    Ok(())
}

/// Checks writes whose answers are lost on the way to the store.
pub(super) async fn with_a_lost_answer<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let promise = "a store that retries a write recognizes its own write and returns Done";
    let (live, record) = p.new_record(LONG_TTL).await?;
    let writes = [
        (p.new_key()?, Expected::Absent),
        (live, Expected::Version(record.version)),
    ];
    for (key, expected) in writes {
        if !harness.lose_answer(&p.store).await {
            return Ok(());
        }
        let request = WriteRequest::new(&key, "retried", LONG_TTL, expected);
        // A store that does not retry fails.
        if let Ok(written) = p.store.write(request).await {
            let version = p.expect_done(promise, written)?;
            let read = ReadOutcome::Found(Record::new("retried".into(), version));
            p.expect_read(promise, &key, read).await?;
        }
    }
    Ok(())
}

/// Checks that a write sets the expiry, whatever it was before.
pub(super) async fn set_the_expiry<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let short = harness.short_ttl();
    let (longer, record) = p.new_record(short).await?;
    let written = p
        .write(&longer, "longer", Expected::Version(record.version))
        .await?;
    let version = p.expect_done("a write that expects the stored version succeeds", written)?;
    let (shorter, _) = p.new_record(LONG_TTL).await?;
    let request = WriteRequest::new(&shorter, "shorter", short, Expected::Any);
    p.send(request).await?;
    harness.advance(short).await;
    let promise = "an overwritten record expires when the last write set it";
    let read = ReadOutcome::Found(Record::new("longer".into(), version));
    p.expect_read(promise, &longer, read).await?;
    p.expect_read(promise, &shorter, ReadOutcome::Absent).await
}
