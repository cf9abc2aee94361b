//! Checks of expiry and touching.

use std::time::Duration;

use super::{
    Harness,
    probe::{CheckResult, Describe, LONG_TTL, Probe},
};
use crate::store::{Expected, ReadOutcome, Record, Store, WriteOutcome, WriteRequest};

pub(super) async fn expired_is_never_read<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let (key, _) = p.new_expired(harness).await?;
    let promise = "an expired record is never read";
    p.expect_read(promise, &key, ReadOutcome::Absent).await?;
    let read = p.read_and_touch(&key, LONG_TTL).await?;
    p.ensure(
        promise,
        read == ReadOutcome::Absent,
        format!("read with touch returned {}", read.describe()),
    )?;
    p.expect_read(
        "a read with touch revives no record",
        &key,
        ReadOutcome::Absent,
    )
    .await
}

pub(super) async fn expired_is_never_touched<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let (expired, _) = p.new_expired(harness).await?;
    for key in [expired, p.new_key()?] {
        let touched = p.touch(&key, LONG_TTL).await?;
        let promise = "a touch without a live record returns false";
        p.ensure(promise, !touched, "touch returned true")?;
        p.expect_read("a touch revives no record", &key, ReadOutcome::Absent)
            .await?;
        let written = p.write(&key, "new", Expected::Absent).await?;
        p.expect_done("a touch without a live record changes nothing", written)?;
    }
    Ok(())
}

/// Touches and reads with touch, to a later and to an earlier expiry.
pub(super) async fn touch_sets_the_expiry<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let short = harness.short_ttl();
    for with_read in [false, true] {
        let (longer, kept) = p.new_record(short).await?;
        let (shorter, _) = p.new_record(LONG_TTL).await?;
        for (key, ttl) in [(longer, LONG_TTL), (shorter, short)] {
            let promise = "a live record can be touched";
            if with_read {
                let read = p.read_and_touch(&key, ttl).await?;
                p.ensure(
                    promise,
                    matches!(read, ReadOutcome::Found(_)),
                    format!("read with touch returned {}", read.describe()),
                )?;
            } else {
                let touched = p.touch(&key, ttl).await?;
                p.ensure(promise, touched, "touch returned false")?;
            }
        }
        harness.advance(short).await;
        let operation = if with_read {
            "read with touch"
        } else {
            "touch"
        };
        let promise = format!("a {operation} sets the expiry");
        p.expect_read(&promise, &longer, ReadOutcome::Found(kept))
            .await?;
        p.expect_read(&promise, &shorter, ReadOutcome::Absent)
            .await?;
    }
    Ok(())
}

pub(super) async fn plain_read_does_not_touch<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let half = harness.short_ttl() / 2;
    let (key, _) = p.new_record(half * 2).await?;
    harness.advance(half).await;
    p.read(&key).await?;
    p.write(&key, "refused", Expected::Absent).await?;
    harness.advance(half).await;
    let promise = "neither a plain read nor a rejected write changes the expiry";
    p.expect_read(promise, &key, ReadOutcome::Absent).await
}

pub(super) async fn zero_ttl_expires_at_once<S: Store>(p: &Probe<S>) -> CheckResult {
    let promise = "a record with a TTL of zero is never read";
    let key = p.new_key()?;
    let request = WriteRequest::new(&key, "short-lived", Duration::ZERO, Expected::Absent);
    let written = p.send(request).await?;
    p.expect_done("a write with a TTL of zero succeeds", written)?;
    p.expect_read(promise, &key, ReadOutcome::Absent).await?;
    for with_read in [false, true] {
        let (key, _) = p.new_record(LONG_TTL).await?;
        if with_read {
            p.read_and_touch(&key, Duration::ZERO).await?;
        } else {
            p.touch(&key, Duration::ZERO).await?;
        }
        p.expect_read(promise, &key, ReadOutcome::Absent).await?;
    }
    Ok(())
}

pub(super) async fn maximum_ttl_is_kept<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let promise = "a record with the longest Duration as TTL is kept";
    let key = p.new_key()?;
    let request = WriteRequest::new(&key, "endless", Duration::MAX, Expected::Absent);
    let version = p.expect_done(promise, p.send(request).await?)?;
    let endless = ReadOutcome::Found(Record::new("endless".into(), version));
    p.expect_read(promise, &key, endless.clone()).await?;
    let touched = p.touch(&key, Duration::MAX).await?;
    p.ensure(promise, touched, "touch returned false")?;
    let read = p.read_and_touch(&key, Duration::MAX).await?;
    p.ensure(
        promise,
        read == endless,
        format!("read with touch returned {}", read.describe()),
    )?;
    harness.advance(harness.short_ttl()).await;
    p.expect_read(promise, &key, endless).await?;
    let expected = Expected::Version(version);
    let request = WriteRequest::new(&key, "overwritten", Duration::MAX, expected);
    let written = p.send(request).await?;
    p.ensure(
        promise,
        matches!(written, WriteOutcome::Done(_)),
        format!("write returned {}", written.describe()),
    )
}
