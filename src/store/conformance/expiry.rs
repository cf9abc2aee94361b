//! Checks of lifetimes: what is expired is gone for everyone, and touching puts it off.

use std::time::Duration;

use super::{
    Harness,
    probe::{LONG, Probe, Verdict},
};
use crate::store::{Expected, ReadOutcome, Record, Store, WriteOutcome};

pub(super) async fn expired_is_never_read<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let (key, _) = p.expired(harness).await?;
    let promise = "an expired record is never read";
    p.reads(promise, &key, ReadOutcome::Absent).await?;
    let read = p.read_touching(&key, LONG).await?;
    p.holds(
        promise,
        read == ReadOutcome::Absent,
        format!("a read with touch answered {read:?}"),
    )?;
    p.reads(
        "a read with touch revives nothing",
        &key,
        ReadOutcome::Absent,
    )
    .await
}

pub(super) async fn expired_is_never_touched<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let (expired, _) = p.expired(harness).await?;
    for key in [expired, p.key()?] {
        let touched = p.touch(&key, LONG).await?;
        let promise = "a touch is false where there is no live record";
        p.holds(promise, !touched, "it was answered true")?;
        p.reads("a touch revives nothing", &key, ReadOutcome::Absent)
            .await?;
        let written = p.write(&key, "new", Expected::Absent).await?;
        p.done(
            "a touch leaves nothing behind where there is no live record",
            written,
        )?;
    }
    Ok(())
}

/// Both ways to touch, to a longer life and to a shorter one.
pub(super) async fn touch_sets_the_expiry<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let short = harness.short_ttl();
    for by_read in [false, true] {
        let (longer, kept) = p.fresh(short).await?;
        let (shorter, _) = p.fresh(LONG).await?;
        for (key, ttl) in [(longer, LONG), (shorter, short)] {
            let promise = "a live record can be touched";
            if by_read {
                let read = p.read_touching(&key, ttl).await?;
                p.holds(
                    promise,
                    matches!(read, ReadOutcome::Found(_)),
                    format!("{read:?}"),
                )?;
            } else {
                let touched = p.touch(&key, ttl).await?;
                p.holds(promise, touched, "the touch was answered false")?;
            }
        }
        harness.advance(short).await;
        let how = if by_read { "read with touch" } else { "touch" };
        let promise = format!("a record lives as long as the last {how} said");
        p.reads(&promise, &longer, ReadOutcome::Found(kept)).await?;
        p.reads(&promise, &shorter, ReadOutcome::Absent).await?;
    }
    Ok(())
}

pub(super) async fn plain_read_does_not_touch<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let half = harness.short_ttl() / 2;
    let (key, _) = p.fresh(half * 2).await?;
    harness.advance(half).await;
    p.read(&key).await?;
    p.write(&key, "refused", Expected::Absent).await?;
    harness.advance(half).await;
    let promise = "neither a plain read nor a refused write prolongs a record's life";
    p.reads(promise, &key, ReadOutcome::Absent).await
}

pub(super) async fn no_time_is_no_life<S: Store>(p: &Probe<S>) -> Verdict {
    let promise = "a record that lives for no time is not read";
    let key = p.key()?;
    let written = p
        .write_for(Duration::ZERO, &key, "brief", Expected::Absent)
        .await?;
    p.done(
        "a write with no time to live is answered as any other",
        written,
    )?;
    p.reads(promise, &key, ReadOutcome::Absent).await?;
    for by_read in [false, true] {
        let (key, _) = p.fresh(LONG).await?;
        if by_read {
            p.read_touching(&key, Duration::ZERO).await?;
        } else {
            p.touch(&key, Duration::ZERO).await?;
        }
        p.reads(promise, &key, ReadOutcome::Absent).await?;
    }
    Ok(())
}

pub(super) async fn endless_life_is_kept<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> Verdict {
    let promise = "a lifetime too long to be told is kept as the longest there is";
    let key = p.key()?;
    let written = p
        .write_for(Duration::MAX, &key, "ever", Expected::Absent)
        .await?;
    let version = p.done(promise, written)?;
    let ever = ReadOutcome::Found(Record {
        data: "ever".into(),
        version,
    });
    p.reads(promise, &key, ever.clone()).await?;
    let touched = p.touch(&key, Duration::MAX).await?;
    p.holds(promise, touched, "a touch was answered false")?;
    let read = p.read_touching(&key, Duration::MAX).await?;
    p.holds(
        promise,
        read == ever,
        format!("a read with touch answered {read:?}"),
    )?;
    harness.advance(harness.short_ttl()).await;
    p.reads(promise, &key, ever).await?;
    let written = p
        .write_for(Duration::MAX, &key, "still", Expected::Version(version))
        .await?;
    p.holds(
        promise,
        matches!(written, WriteOutcome::Done(_)),
        format!("{written:?}"),
    )
}
