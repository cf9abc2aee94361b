//! Checks of conditional writes, one for each state that a key can be in.

use super::{
    Harness,
    probe::{LONG, Probe, Verdict},
};
use crate::store::{Expected, ReadOutcome, Record, Store, Version};

pub(super) async fn on_an_absent_key<S: Store>(p: &Probe<S>) -> Verdict {
    for expected in [Expected::Absent, Expected::Any] {
        let key = p.key()?;
        p.reads("an unknown key is absent", &key, ReadOutcome::Absent)
            .await?;
        let written = p.write(&key, "new", expected).await?;
        let version = p.done(
            "where there is no record, a write that expects none is done",
            written,
        )?;
        let data = "new".into();
        let read = ReadOutcome::Found(Record { data, version });
        p.reads("what was written is read under its version", &key, read)
            .await?;
    }
    let (_, other) = p.fresh(LONG).await?;
    let key = p.key()?;
    let promise =
        "a write that expects a version is gone where there is no record, and creates none";
    let written = p
        .write(&key, "lost", Expected::Version(other.version))
        .await?;
    p.is_gone(promise, written)?;
    p.reads(promise, &key, ReadOutcome::Absent).await
}

pub(super) async fn on_a_live_record<S: Store>(p: &Probe<S>) -> Verdict {
    let (key, first) = p.fresh(LONG).await?;
    let promise = "a write that expects the stored version is done";
    let written = p
        .write(&key, "second", Expected::Version(first.version))
        .await?;
    let version = p.done(promise, written)?;
    let second = Record {
        data: "second".into(),
        version,
    };
    p.reads(promise, &key, ReadOutcome::Found(second.clone()))
        .await?;

    let promise = "a write that expects another state is a conflict, which carries what is there";
    for wrong in wrong_expectations(first.version, version) {
        let refused = p.write(&key, "lost", wrong).await?;
        p.is_conflict(promise, refused, &second)?;
        let promise = "a refused write changes nothing";
        p.reads(promise, &key, ReadOutcome::Found(second.clone()))
            .await?;
    }
    let promise = "a write that expects anything replaces a live record";
    let version = p.done(promise, p.write(&key, "third", Expected::Any).await?)?;
    let third = Record {
        data: "third".into(),
        version,
    };
    p.reads(promise, &key, ReadOutcome::Found(third)).await
}

/// No record; the version before; one that was never given.
fn wrong_expectations(before: Version, now: Version) -> impl Iterator<Item = Expected> {
    let never = Version::new(now.get() ^ (1 << 62));
    let versions = [Some(before), never].into_iter().flatten();
    std::iter::once(Expected::Absent).chain(versions.map(Expected::Version))
}

pub(super) async fn on_an_expired_record<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let (key, version) = p.expired(harness).await?;
    let promise = "a write that expects an expired record's version is gone, and creates none";
    let written = p.write(&key, "lost", Expected::Version(version)).await?;
    p.is_gone(promise, written)?;
    p.reads(promise, &key, ReadOutcome::Absent).await?;

    let promise = "an expired record is as absent";
    p.done(promise, p.write(&key, "new", Expected::Absent).await?)?;
    let (key, _) = p.expired(harness).await?;
    let version = p.done(promise, p.write(&key, "new", Expected::Any).await?)?;
    let read = ReadOutcome::Found(Record {
        data: "new".into(),
        version,
    });
    p.reads(
        "what was written over an expired record is read",
        &key,
        read,
    )
    .await
}

pub(super) async fn on_a_tombstone<S: Store>(p: &Probe<S>) -> Verdict {
    let promise = "while a tombstone stands, every write is gone and creates nothing";
    let (key, version) = p.destroyed().await?;
    for expected in [Expected::Absent, Expected::Version(version), Expected::Any] {
        let written = p.write(&key, "back", expected).await?;
        p.is_gone(promise, written)?;
        p.reads(promise, &key, ReadOutcome::Gone).await?;
    }
    Ok(())
}

/// A write sets the expiry anew, whatever the record's was.
pub(super) async fn set_the_expiry<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let short = harness.short_ttl();
    let (longer, record) = p.fresh(short).await?;
    let written = p
        .write(&longer, "longer", Expected::Version(record.version))
        .await?;
    let version = p.done("a write that expects the stored version is done", written)?;
    let (shorter, _) = p.fresh(LONG).await?;
    p.write_for(short, &shorter, "shorter", Expected::Any)
        .await?;
    harness.advance(short).await;
    let promise = "an overwritten record lives as long as the last write said";
    let read = ReadOutcome::Found(Record {
        data: "longer".into(),
        version,
    });
    p.reads(promise, &longer, read).await?;
    p.reads(promise, &shorter, ReadOutcome::Absent).await
}
