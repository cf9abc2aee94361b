//! Checks of concurrent operations on one record.

use std::{
    collections::HashSet,
    future::Future,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{AcqRel, Acquire},
        },
    },
};

use tokio::task;

use super::probe::{CheckResult, Describe, LONG_TTL, Probe};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, Record, Store, Version, WriteOutcome, WriteRequest},
};

/// Number of concurrent tasks.
pub(super) const RACERS: usize = 8;

/// Number of increments of each task.
pub(super) const INCREMENTS: usize = 25;

/// Number of repetitions of a race that depends on one moment.
const ROUNDS: usize = 20;

/// Runs `racer` in [`RACERS`] tasks that start at the same time. Passes each its number.
pub(super) async fn race<S, T, F, Racer>(p: &Probe<S>, racer: F) -> CheckResult<Vec<T>>
where
    S: Store,
    T: Send + 'static,
    F: Fn(Probe<S>, usize) -> Racer,
    Racer: Future<Output = CheckResult<T>> + Send + 'static,
{
    let ready = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..RACERS)
        .map(|number| {
            let (racing, ready) = (racer(p.clone(), number), Arc::clone(&ready));
            task::spawn(async move {
                ready.fetch_add(1, AcqRel);
                while ready.load(Acquire) < RACERS {
                    task::yield_now().await;
                }
                racing.await
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        let promise = "the store does not panic";
        outcomes.push(
            task.await
                .map_err(|error| p.violation(promise, error.to_string()))??,
        );
    }
    Ok(outcomes)
}

pub(super) async fn no_write_is_lost<S: Store>(p: &Probe<S>) -> CheckResult {
    let (key, first) = counter(p).await?;
    let versions = race(p, move |p, _| async move {
        increment(&p, &key, INCREMENTS).await
    })
    .await?;
    expect_counter(p, &key, RACERS * INCREMENTS).await?;
    let mut unique = HashSet::from([first]);
    let repeated = versions
        .into_iter()
        .flatten()
        .find(|version| !unique.insert(*version));
    let promise = "a version never repeats under one key";
    p.ensure(
        promise,
        repeated.is_none(),
        format!("two writes returned {repeated:?}"),
    )
}

pub(super) async fn one_creator_wins<S: Store>(p: &Probe<S>) -> CheckResult {
    for _ in 0..ROUNDS {
        let key = p.new_key()?;
        one_wins(p, key, Expected::Absent).await?;
    }
    Ok(())
}

pub(super) async fn one_overwrite_wins<S: Store>(p: &Probe<S>) -> CheckResult {
    for _ in 0..ROUNDS {
        let (key, record) = p.new_record(LONG_TTL).await?;
        one_wins(p, key, Expected::Version(record.version)).await?;
    }
    Ok(())
}

/// Checks that one of many writes with the same expectation succeeds, and that the others conflict
/// with its record.
async fn one_wins<S: Store>(p: &Probe<S>, key: StoreKey, expected: Expected) -> CheckResult {
    let outcomes = race(p, move |p, number| async move {
        p.write(&key, number.to_string(), expected).await
    })
    .await?;
    let done = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, WriteOutcome::Done(_)))
        .count();
    let promise = "of many writes with the same expectation, one succeeds";
    p.ensure(promise, done == 1, format!("{done} succeeded"))?;
    let ReadOutcome::Found(winner) = p.read(&key).await? else {
        return Err(p.violation(promise, "there is no record"));
    };
    for outcome in outcomes {
        if !matches!(outcome, WriteOutcome::Done(version) if version == winner.version) {
            p.expect_conflict(
                "the others conflict with the written record",
                outcome,
                &winner,
            )?;
        }
    }
    Ok(())
}

pub(super) async fn touches_lose_no_write<S: Store>(p: &Probe<S>) -> CheckResult {
    let (key, _) = counter(p).await?;
    race(p, move |p, number| async move {
        match number % 2 {
            0 => increment(&p, &key, INCREMENTS).await.map(drop),
            _ => keep_touching(&p, &key).await,
        }
    })
    .await?;
    expect_counter(p, &key, RACERS / 2 * INCREMENTS).await
}

async fn keep_touching<S: Store>(p: &Probe<S>, key: &StoreKey) -> CheckResult {
    for _ in 0..INCREMENTS {
        let touched = p.touch(key, LONG_TTL).await?;
        p.ensure(
            "a live record can be touched",
            touched,
            "touch returned false",
        )?;
        task::yield_now().await;
        p.read_and_touch(key, LONG_TTL).await?;
        task::yield_now().await;
    }
    Ok(())
}

pub(super) async fn destroyed_stays_destroyed<S: Store>(p: &Probe<S>) -> CheckResult {
    for _ in 0..ROUNDS {
        let (key, _) = p.new_record(LONG_TTL).await?;
        race(p, move |p, number| async move {
            match number {
                0 => destroy_later(&p, &key).await,
                number => write_until_gone(&p, &key, number).await,
            }
        })
        .await?;
        let promise = "a session destroyed during concurrent operations stays destroyed";
        p.expect_read(promise, &key, ReadOutcome::Gone).await?;
    }
    Ok(())
}

/// Destroys the session while the other tasks write.
async fn destroy_later<S: Store>(p: &Probe<S>, key: &StoreKey) -> CheckResult {
    for _ in 0..RACERS {
        task::yield_now().await;
    }
    p.destroy(key).await?;
    let promise = "after a destroy has completed, no write succeeds";
    p.expect_gone(promise, p.write(key, "back", Expected::Any).await?)
}

/// Writes like a request that does not notice the destroy. After the first write that returns `Gone`,
/// every operation must report the session as gone.
async fn write_until_gone<S: Store>(p: &Probe<S>, key: &StoreKey, number: usize) -> CheckResult {
    /// Maximum number of writes, enough for the destroy to happen. A store that never returns `Gone` must not hang the suite.
    const ATTEMPTS: usize = 500;
    for _ in 0..ATTEMPTS {
        let read = p.read(key).await?;
        task::yield_now().await;
        let expected = match (number % 3, read) {
            (0, _) => Expected::Any,
            (1, _) => Expected::Absent,
            (_, ReadOutcome::Found(record)) => Expected::Version(record.version),
            (_, ReadOutcome::Absent | ReadOutcome::Gone) => Expected::Absent,
        };
        if p.write(key, number.to_string(), expected).await? == WriteOutcome::Gone {
            let promise = "a destroyed session stays destroyed";
            p.ensure(
                promise,
                !p.touch(key, LONG_TTL).await?,
                "touch returned true",
            )?;
            return p.expect_gone(promise, p.write(key, "back", Expected::Any).await?);
        }
        task::yield_now().await;
    }
    Ok(())
}

/// Returns a new record that holds the number zero.
pub(super) async fn counter<S: Store>(p: &Probe<S>) -> CheckResult<(StoreKey, Version)> {
    let key = p.new_key()?;
    let written = p.write(&key, "0", Expected::Absent).await?;
    let version = p.expect_done(
        "a write to a new key that expects no record succeeds",
        written,
    )?;
    Ok((key, version))
}

/// Increments the counter `times` times. Returns the versions of its writes.
pub(super) async fn increment<S: Store>(
    p: &Probe<S>,
    key: &StoreKey,
    times: usize,
) -> CheckResult<Vec<Version>> {
    let mut versions = Vec::new();
    for _ in 0..times {
        let version = update(p, key, |record| {
            let next = (parse_number(&record.data) + 1).to_string();
            let expected = Expected::Version(record.version);
            Ok(WriteRequest::new(key, next, LONG_TTL, expected).tags(record.tags.clone()))
        });
        versions.push(version.await?);
    }
    Ok(versions)
}

/// Reads the record and writes it as `edit` returns it. Retries after each conflict.
pub(super) async fn update<S: Store>(
    p: &Probe<S>,
    key: &StoreKey,
    edit: impl Fn(&Record) -> CheckResult<WriteRequest>,
) -> CheckResult<Version> {
    // Each conflict means that another task made one of its updates.
    for _ in 0..=RACERS * INCREMENTS {
        let read = p.read(key).await?;
        let ReadOutcome::Found(record) = read else {
            return Err(p.violation("a record exists while tasks overwrite it", read.describe()));
        };
        task::yield_now().await;
        match p.send(edit(&record)?).await? {
            WriteOutcome::Done(version) => return Ok(version),
            WriteOutcome::Conflict(_) => {}
            WriteOutcome::Gone => {
                let promise = "a write on a live record does not return Gone";
                return Err(p.violation(promise, "write returned Gone"));
            }
        }
    }
    let promise = "a write conflicts only if another write succeeded before it";
    Err(p.violation(promise, "every write conflicted"))
}

/// Requires that the counter is `expected`.
pub(super) async fn expect_counter<S: Store>(
    p: &Probe<S>,
    key: &StoreKey,
    expected: usize,
) -> CheckResult {
    let read = p.read(key).await?;
    let count = match &read {
        ReadOutcome::Found(record) => parse_number(&record.data),
        ReadOutcome::Absent | ReadOutcome::Gone => 0,
    };
    let observed = format!("the counter is {count} after {expected} successful increments");
    p.ensure("no successful write is lost", count == expected, observed)
}

fn parse_number(data: &[u8]) -> usize {
    let text = std::str::from_utf8(data).unwrap_or_default();
    text.parse().unwrap_or_default()
}
