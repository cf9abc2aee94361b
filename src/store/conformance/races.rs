//! Checks of many at once on one record.

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

use super::probe::{LONG, Probe, Show, Verdict};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, Store, Version, WriteOutcome},
};

/// How many tasks race.
pub(super) const RACERS: usize = 8;

/// How many increments each of them makes.
pub(super) const INCREMENTS: usize = 25;

/// How often a race is run whose outcome hangs on one moment.
const ROUNDS: usize = 20;

/// Runs `racer` in many tasks that all start at once, each with its number.
pub(super) async fn race<S, T, F, Racer>(p: &Probe<S>, racer: F) -> Verdict<Vec<T>>
where
    S: Store,
    T: Send + 'static,
    F: Fn(Probe<S>, usize) -> Racer,
    Racer: Future<Output = Verdict<T>> + Send + 'static,
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
        let promise = "a store does not panic";
        outcomes.push(
            task.await
                .map_err(|error| p.broken(promise, error.to_string()))??,
        );
    }
    Ok(outcomes)
}

pub(super) async fn no_write_is_lost<S: Store>(p: &Probe<S>) -> Verdict {
    let (key, first) = counter(p).await?;
    let versions = race(p, move |p, _| async move {
        increment(&p, &key, INCREMENTS).await
    })
    .await?;
    counted(p, &key, RACERS * INCREMENTS).await?;
    let mut seen = HashSet::from([first]);
    let repeated = versions
        .into_iter()
        .flatten()
        .find(|version| !seen.insert(*version));
    let promise = "a key never sees a version twice";
    p.holds(
        promise,
        repeated.is_none(),
        format!("{repeated:?} was given to two writes"),
    )
}

pub(super) async fn one_creator_wins<S: Store>(p: &Probe<S>) -> Verdict {
    for _ in 0..ROUNDS {
        let key = p.key()?;
        one_wins(p, key, Expected::Absent).await?;
    }
    Ok(())
}

pub(super) async fn one_successor_wins<S: Store>(p: &Probe<S>) -> Verdict {
    for _ in 0..ROUNDS {
        let (key, record) = p.fresh(LONG).await?;
        one_wins(p, key, Expected::Version(record.version)).await?;
    }
    Ok(())
}

/// All write with the same expectation: one is done, and the others conflict with its record.
async fn one_wins<S: Store>(p: &Probe<S>, key: StoreKey, expected: Expected) -> Verdict {
    let answers = race(p, move |p, number| async move {
        p.write(&key, number.to_string(), expected).await
    })
    .await?;
    let done = answers
        .iter()
        .filter(|answer| matches!(answer, WriteOutcome::Done(_)))
        .count();
    let promise = "of many writes with one expectation, one is done";
    p.holds(promise, done == 1, format!("{done} were done"))?;
    let ReadOutcome::Found(winner) = p.read(&key).await? else {
        return Err(p.broken(promise, "no record stands there"));
    };
    for answer in answers {
        if !matches!(answer, WriteOutcome::Done(version) if version == winner.version) {
            p.is_conflict("the others are shown the winner's record", answer, &winner)?;
        }
    }
    Ok(())
}

pub(super) async fn touches_lose_no_write<S: Store>(p: &Probe<S>) -> Verdict {
    let (key, _) = counter(p).await?;
    race(p, move |p, number| async move {
        match number % 2 {
            0 => increment(&p, &key, INCREMENTS).await.map(drop),
            _ => keep_touching(&p, &key).await,
        }
    })
    .await?;
    counted(p, &key, RACERS / 2 * INCREMENTS).await
}

async fn keep_touching<S: Store>(p: &Probe<S>, key: &StoreKey) -> Verdict {
    for _ in 0..INCREMENTS {
        let touched = p.touch(key, LONG).await?;
        p.holds(
            "a live record can be touched",
            touched,
            "the touch was answered false",
        )?;
        task::yield_now().await;
        p.read_touching(key, LONG).await?;
        task::yield_now().await;
    }
    Ok(())
}

pub(super) async fn nothing_returns_from_the_dead<S: Store>(p: &Probe<S>) -> Verdict {
    for _ in 0..ROUNDS {
        let (key, _) = p.fresh(LONG).await?;
        race(p, move |p, number| async move {
            match number {
                0 => destroy_later(&p, &key).await,
                number => write_until_gone(&p, &key, number).await,
            }
        })
        .await?;
        let promise = "whatever others were doing, a destroyed session stays destroyed";
        p.reads(promise, &key, ReadOutcome::Gone).await?;
    }
    Ok(())
}

/// Destroys in the midst of what the others do.
async fn destroy_later<S: Store>(p: &Probe<S>, key: &StoreKey) -> Verdict {
    for _ in 0..RACERS {
        task::yield_now().await;
    }
    p.destroy(key).await?;
    let promise = "once a destroy was answered, no write succeeds";
    p.is_gone(promise, p.write(key, "back", Expected::Any).await?)
}

/// Writes as a request would that knows of no destroy, until a write is gone: then all must be.
async fn write_until_gone<S: Store>(p: &Probe<S>, key: &StoreKey, number: usize) -> Verdict {
    /// Enough for the destroy to come; a store that never says gone must not hang the suite.
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
            let promise = "what is gone stays gone";
            p.holds(
                promise,
                !p.touch(key, LONG).await?,
                "a touch was answered true",
            )?;
            return p.is_gone(promise, p.write(key, "back", Expected::Any).await?);
        }
        task::yield_now().await;
    }
    Ok(())
}

/// A record that counts from zero.
pub(super) async fn counter<S: Store>(p: &Probe<S>) -> Verdict<(StoreKey, Version)> {
    let key = p.key()?;
    let written = p.write(&key, "0", Expected::Absent).await?;
    let version = p.done(
        "a write to a new key that expects no record is done",
        written,
    )?;
    Ok((key, version))
}

/// Increments the counter `times` times, as a request does that tries again after each conflict;
/// the versions of its writes.
pub(super) async fn increment<S: Store>(
    p: &Probe<S>,
    key: &StoreKey,
    times: usize,
) -> Verdict<Vec<Version>> {
    let mut versions = Vec::new();
    // Each conflict means that another has made one of its increments.
    let attempts = times + RACERS * INCREMENTS;
    for _ in 0..attempts {
        if versions.len() == times {
            return Ok(versions);
        }
        let read = p.read(key).await?;
        let ReadOutcome::Found(record) = read else {
            return Err(p.broken("a record stays while it is written on", read.show()));
        };
        task::yield_now().await;
        let next = (number(&record.data) + 1).to_string();
        match p
            .write(key, next, Expected::Version(record.version))
            .await?
        {
            WriteOutcome::Done(version) => versions.push(version),
            WriteOutcome::Conflict(_) => {}
            WriteOutcome::Gone => return Err(p.broken("a live record is not gone", "a write was")),
        }
    }
    let promise = "a write is refused only when another went before it";
    p.holds(
        promise,
        versions.len() == times,
        "all were refused for ever",
    )?;
    Ok(versions)
}

/// Holds the counter to `due` increments.
pub(super) async fn counted<S: Store>(p: &Probe<S>, key: &StoreKey, due: usize) -> Verdict {
    let read = p.read(key).await?;
    let count = match &read {
        ReadOutcome::Found(record) => number(&record.data),
        ReadOutcome::Absent | ReadOutcome::Gone => 0,
    };
    let seen = format!("of {due} increments, each answered as done, {count} are there");
    p.holds(
        "no write that was answered as done is lost",
        count == due,
        seen,
    )
}

fn number(data: &[u8]) -> usize {
    let text = std::str::from_utf8(data).unwrap_or_default();
    text.parse().unwrap_or_default()
}
