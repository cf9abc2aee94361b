//! Checks of data, versions, keys and counts.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;

use super::{
    Harness,
    probe::{CheckResult, Describe, LONG_TTL, Probe},
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, Record, Store, Version, WriteRequest},
};

pub(super) async fn data_is_opaque<S: Store>(p: &Probe<S>) -> CheckResult {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let megabyte: Vec<u8> = every_byte.iter().copied().cycle().take(1 << 20).collect();
    let text = "nil {\"a\":\"\u{0}é\"} \r\n$1*-".as_bytes().to_vec();
    for data in [Vec::new(), vec![0], every_byte, text, megabyte].map(Bytes::from) {
        let key = p.new_key()?;
        let written = p.write(&key, data.clone(), Expected::Absent).await?;
        let version = p.expect_done("any bytes, up to a megabyte, can be written", written)?;
        let record = Record::new(data, version);
        let read = ReadOutcome::Found(record.clone());
        p.expect_read("data is read as written", &key, read.clone())
            .await?;
        if p.store.capabilities().conditional_writes {
            let promise = "a conflict returns the data as written";
            let refused = p.write(&key, "other", Expected::Absent).await?;
            p.expect_conflict(promise, refused, &record)?;
        }
        let touched = p.read_and_touch(&key, LONG_TTL).await?;
        p.ensure(
            "a read with touch returns the data as written",
            touched == read,
            format!("read with touch returned {}", touched.describe()),
        )?;
    }
    Ok(())
}

pub(super) async fn keys_are_independent<S: Store>(p: &Probe<S>) -> CheckResult {
    let (key, record) = p.new_record(LONG_TTL).await?;
    for byte in [0, StoreKey::LEN / 2, StoreKey::LEN - 1] {
        let mut neighbor = *key.as_bytes();
        if let Some(byte) = neighbor.get_mut(byte) {
            *byte ^= 1;
        }
        let neighbor = StoreKey::from_bytes(neighbor);
        let promise = "keys that differ in one bit have separate records";
        p.expect_read(promise, &neighbor, ReadOutcome::Absent)
            .await?;
        p.expect_done(
            promise,
            p.write(&neighbor, "neighbor", Expected::Absent).await?,
        )?;
        p.destroy(&neighbor).await?;
    }
    p.expect_read(
        "operations on one key do not change another",
        &key,
        ReadOutcome::Found(record),
    )
    .await
}

/// Uses one key three times: until its record expires, until it is destroyed, and once more.
pub(super) async fn versions_never_repeat<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let (key, mut versions) = (p.new_key()?, HashSet::new());
    write_versions(p, &key, harness.short_ttl(), &mut versions).await?;
    harness.advance(harness.short_ttl()).await;
    write_versions(p, &key, LONG_TTL, &mut versions).await?;
    p.destroy(&key).await?;
    harness.advance(harness.tombstone_ttl()).await;
    write_versions(p, &key, LONG_TTL, &mut versions).await
}

async fn write_versions<S: Store>(
    p: &Probe<S>,
    key: &StoreKey,
    ttl: Duration,
    versions: &mut HashSet<Version>,
) -> CheckResult {
    for expected in [Expected::Absent, Expected::Any, Expected::Any] {
        let written = p
            .send(WriteRequest::new(key, "data", ttl, expected))
            .await?;
        let version = p.expect_done("a write that expects the stored state succeeds", written)?;
        let observed = format!("version {} was returned twice", version.get());
        p.ensure(
            "a version never repeats under one key",
            versions.insert(version),
            observed,
        )?;
    }
    Ok(())
}

pub(super) async fn touches_keep_the_record<S: Store>(p: &Probe<S>) -> CheckResult {
    let promise = "a touch changes neither data nor tags nor version";
    let tags = p.tags([&p.new_tag()?])?;
    let (key, record) = p.new_tagged_record(LONG_TTL, &tags).await?;
    p.touch(&key, LONG_TTL).await?;
    p.expect_read(promise, &key, ReadOutcome::Found(record.clone()))
        .await?;
    let touched = p.read_and_touch(&key, LONG_TTL).await?;
    p.ensure(
        promise,
        touched == ReadOutcome::Found(record.clone()),
        format!("read with touch returned {}", touched.describe()),
    )?;
    p.expect_read(promise, &key, ReadOutcome::Found(record.clone()))
        .await?;
    let written = p
        .write(&key, "next", Expected::Version(record.version))
        .await?;
    p.expect_done(
        "a write that expects the version from before a touch succeeds",
        written,
    )
    .map(drop)
}

pub(super) async fn count_follows_writes<S: Store>(p: &Probe<S>) -> CheckResult {
    let Some(before) = count(p).await? else {
        return Ok(());
    };
    let (key, _) = p.new_record(LONG_TTL).await?;
    p.new_record(LONG_TTL).await?;
    expect_count(p, "every live record is counted", before + 2).await?;
    p.write(&key, "again", Expected::Any).await?;
    expect_count(p, "an overwritten record is counted once", before + 2).await?;
    p.destroy(&key).await?;
    expect_count(p, "a destroyed record is not counted", before + 1).await
}

async fn expect_count<S: Store>(p: &Probe<S>, promise: &str, expected: u64) -> CheckResult {
    let count = count(p).await?;
    p.ensure(
        promise,
        count == Some(expected),
        format!("count returned {count:?}, expected {expected}"),
    )
}

async fn count<S: Store>(p: &Probe<S>) -> CheckResult<Option<u64>> {
    p.require_ok("count", p.store.count().await)
}
