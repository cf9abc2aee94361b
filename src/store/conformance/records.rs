//! Checks of what is read: bytes, versions, and that keys do not mix.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;

use super::{
    Harness,
    probe::{LONG, Probe, Verdict},
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, Record, Store, Version},
};

pub(super) async fn bytes_are_bytes<S: Store>(p: &Probe<S>) -> Verdict {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let megabyte: Vec<u8> = every_byte.iter().copied().cycle().take(1 << 20).collect();
    let text = "nil {\"a\":\"\u{0}é\"} \r\n$1*-".as_bytes().to_vec();
    for data in [Vec::new(), vec![0], every_byte, text, megabyte].map(Bytes::from) {
        let key = p.key()?;
        let written = p.write(&key, data.clone(), Expected::Absent).await?;
        let version = p.done(
            "a record of any bytes, up to a megabyte, is written",
            written,
        )?;
        let record = Record { data, version };
        let read = ReadOutcome::Found(record.clone());
        p.reads("data is read as it was written", &key, read.clone())
            .await?;
        if p.store.capabilities().conditional_writes {
            let promise = "a conflict carries the data as it was written";
            let refused = p.write(&key, "other", Expected::Absent).await?;
            p.is_conflict(promise, refused, &record)?;
        }
        let touched = p.read_touching(&key, LONG).await?;
        p.holds(
            "a read with touch gives the data as it was written",
            touched == read,
            "it did not",
        )?;
    }
    Ok(())
}

pub(super) async fn keys_are_apart<S: Store>(p: &Probe<S>) -> Verdict {
    let (key, record) = p.fresh(LONG).await?;
    for byte in [0, StoreKey::LEN / 2, StoreKey::LEN - 1] {
        let mut near = *key.as_bytes();
        if let Some(byte) = near.get_mut(byte) {
            *byte ^= 1;
        }
        let near = StoreKey::from_bytes(near);
        let promise = "a key that differs in one bit is another key";
        p.reads(promise, &near, ReadOutcome::Absent).await?;
        p.done(promise, p.write(&near, "near", Expected::Absent).await?)?;
        p.destroy(&near).await?;
    }
    p.reads(
        "a record is its own key's alone",
        &key,
        ReadOutcome::Found(record),
    )
    .await
}

/// One key lives three times: until it expires, until it is destroyed, and once more.
pub(super) async fn versions_never_repeat<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let (key, mut versions) = (p.key()?, HashSet::new());
    live_once(p, &key, harness.short_ttl(), &mut versions).await?;
    harness.advance(harness.short_ttl()).await;
    live_once(p, &key, LONG, &mut versions).await?;
    p.destroy(&key).await?;
    harness.advance(harness.tombstone_ttl()).await;
    live_once(p, &key, LONG, &mut versions).await
}

async fn live_once<S: Store>(
    p: &Probe<S>,
    key: &StoreKey,
    ttl: Duration,
    versions: &mut HashSet<Version>,
) -> Verdict {
    for expected in [Expected::Absent, Expected::Any, Expected::Any] {
        let written = p.write_for(ttl, key, "the same", expected).await?;
        let version = p.done("a write that expects what is there is done", written)?;
        let seen = format!("{version:?} came again");
        p.holds(
            "a key never sees a version twice",
            versions.insert(version),
            seen,
        )?;
    }
    Ok(())
}

pub(super) async fn touches_keep_the_record<S: Store>(p: &Probe<S>) -> Verdict {
    let promise = "a touch changes neither data nor version";
    let (key, record) = p.fresh(LONG).await?;
    p.touch(&key, LONG).await?;
    p.reads(promise, &key, ReadOutcome::Found(record.clone()))
        .await?;
    let touched = p.read_touching(&key, LONG).await?;
    p.holds(
        promise,
        touched == ReadOutcome::Found(record.clone()),
        format!("{touched:?}"),
    )?;
    p.reads(promise, &key, ReadOutcome::Found(record.clone()))
        .await?;
    let written = p
        .write(&key, "next", Expected::Version(record.version))
        .await?;
    p.done(
        "a touch is no reason to refuse the version from before it",
        written,
    )
    .map(drop)
}

pub(super) async fn count_follows<S: Store>(p: &Probe<S>) -> Verdict {
    let Some(before) = count(p).await? else {
        return Ok(());
    };
    let (key, _) = p.fresh(LONG).await?;
    p.fresh(LONG).await?;
    counts(p, "every live record is counted", before + 2).await?;
    p.write(&key, "again", Expected::Any).await?;
    counts(p, "an overwritten record is counted once", before + 2).await?;
    p.destroy(&key).await?;
    counts(p, "a destroyed record is not counted", before + 1).await
}

async fn counts<S: Store>(p: &Probe<S>, promise: &str, due: u64) -> Verdict {
    let count = count(p).await?;
    p.holds(
        promise,
        count == Some(due),
        format!("the count was {count:?}, where {due} was due"),
    )
}

async fn count<S: Store>(p: &Probe<S>) -> Verdict<Option<u64>> {
    p.answered("count", p.store.count().await)
}
