//! The store under test, as the checks see it: every answer is either what was promised or a
//! [`Violation`].

use std::{fmt::Debug, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Check, Harness, Violation};
use crate::{
    id::{SessionId, StoreKey},
    store::{Expected, ReadOutcome, Record, Store, StoreError, Version, WriteOutcome},
};

/// What a check comes to.
pub(super) type Verdict<T = ()> = Result<T, Violation>;

/// A lifetime that never ends during a check.
pub(super) const LONG: Duration = Duration::from_secs(24 * 3600);

/// One store, under one check.
pub(super) struct Probe<S> {
    check: Check,
    pub(super) store: Arc<S>,
}

impl<S: Store> Probe<S> {
    pub(super) async fn new(check: Check, harness: &impl Harness<Store = S>) -> Self {
        let store = Arc::new(harness.store().await);
        Self { check, store }
    }

    /// A key that no store has seen.
    pub(super) fn key(&self) -> Verdict<StoreKey> {
        let id = SessionId::generate();
        let id =
            id.map_err(|error| self.broken("the suite needs random keys", error.to_string()))?;
        Ok(id.store_key())
    }

    pub(super) async fn read(&self, key: &StoreKey) -> Verdict<ReadOutcome> {
        self.answered("read", self.store.read(key, None).await)
    }

    pub(super) async fn read_touching(
        &self,
        key: &StoreKey,
        ttl: Duration,
    ) -> Verdict<ReadOutcome> {
        self.answered("read with touch", self.store.read(key, Some(ttl)).await)
    }

    /// Writes a record that lives long.
    pub(super) async fn write(
        &self,
        key: &StoreKey,
        data: impl Into<Bytes>,
        expected: Expected,
    ) -> Verdict<WriteOutcome> {
        self.write_for(LONG, key, data, expected).await
    }

    pub(super) async fn write_for(
        &self,
        ttl: Duration,
        key: &StoreKey,
        data: impl Into<Bytes>,
        expected: Expected,
    ) -> Verdict<WriteOutcome> {
        let written = self.store.write(key, data.into(), ttl, expected).await;
        self.answered("write", written)
    }

    pub(super) async fn destroy(&self, key: &StoreKey) -> Verdict {
        self.answered("destroy", self.store.destroy(key).await)
    }

    pub(super) async fn touch(&self, key: &StoreKey, ttl: Duration) -> Verdict<bool> {
        self.answered("touch", self.store.touch(key, ttl).await)
    }

    /// A new record under a new key, that lives for `ttl`.
    pub(super) async fn fresh(&self, ttl: Duration) -> Verdict<(StoreKey, Record)> {
        let (key, data) = (self.key()?, Bytes::from_static(b"fresh"));
        let promise = "a write to a new key that expects no record is done";
        let written = self
            .write_for(ttl, &key, data.clone(), Expected::Absent)
            .await?;
        let version = self.done(promise, written)?;
        Ok((key, Record { data, version }))
    }

    /// A key whose record has expired, and the version it had.
    pub(super) async fn expired(
        &self,
        harness: &impl Harness<Store = S>,
    ) -> Verdict<(StoreKey, Version)> {
        let short = harness.short_ttl();
        let (key, record) = self.fresh(short).await?;
        harness.advance(short).await;
        Ok((key, record.version))
    }

    /// A key whose session was destroyed just now, and the version it had.
    pub(super) async fn destroyed(&self) -> Verdict<(StoreKey, Version)> {
        let (key, record) = self.fresh(LONG).await?;
        self.destroy(&key).await?;
        Ok((key, record.version))
    }

    /// The version of a write that had to be done.
    pub(super) fn done(&self, promise: &str, written: WriteOutcome) -> Verdict<Version> {
        match written {
            WriteOutcome::Done(version) => Ok(version),
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => Err(self.broken(
                promise,
                format!("the write was answered {}", written.show()),
            )),
        }
    }

    pub(super) fn is_gone(&self, promise: &str, written: WriteOutcome) -> Verdict {
        let seen = format!("the write was answered {}", written.show());
        self.holds(promise, written == WriteOutcome::Gone, seen)
    }

    pub(super) fn is_conflict(
        &self,
        promise: &str,
        written: WriteOutcome,
        with: &Record,
    ) -> Verdict {
        let wanted = WriteOutcome::Conflict(with.clone());
        let (seen, stands) = (written.show(), wanted.show());
        let seen = format!("the write was answered {seen}, where {stands} was due");
        self.holds(promise, written == wanted, seen)
    }

    /// Holds the store to answering `wanted` to a read of `key`.
    pub(super) async fn reads(
        &self,
        promise: &str,
        key: &StoreKey,
        wanted: ReadOutcome,
    ) -> Verdict {
        let read = self.read(key).await?;
        let seen = format!(
            "the read was answered {}, where {} was due",
            read.show(),
            wanted.show()
        );
        self.holds(promise, read == wanted, seen)
    }

    pub(super) fn holds(&self, promise: &str, kept: bool, seen: impl Into<String>) -> Verdict {
        if kept {
            Ok(())
        } else {
            Err(self.broken(promise, seen))
        }
    }

    pub(super) fn broken(&self, promise: &str, seen: impl Into<String>) -> Violation {
        Violation::new(self.check, promise, seen)
    }

    /// No check provokes an error, so any is a violation.
    pub(super) fn answered<T>(&self, call: &str, answer: Result<T, StoreError>) -> Verdict<T> {
        let promise = || format!("a store that is well answers every {call}");
        answer.map_err(|error| Violation::new(self.check, promise(), error.to_string()))
    }
}

impl<S> Clone for Probe<S> {
    fn clone(&self) -> Self {
        let (check, store) = (self.check, Arc::clone(&self.store));
        Self { check, store }
    }
}

/// Answers in few words, whatever the size of their data.
pub(super) trait Show: Debug {
    fn show(&self) -> String;
}

impl Show for Record {
    fn show(&self) -> String {
        let (len, version) = (self.data.len(), self.version.get());
        let start = self.data.slice(..len.min(32));
        format!("version {version}, {len} bytes: {start:?}…")
    }
}

impl Show for ReadOutcome {
    fn show(&self) -> String {
        match self {
            Self::Found(record) => format!("Found({})", record.show()),
            Self::Absent | Self::Gone => format!("{self:?}"),
        }
    }
}

impl Show for WriteOutcome {
    fn show(&self) -> String {
        match self {
            Self::Conflict(record) => format!("Conflict({})", record.show()),
            Self::Done(_) | Self::Gone => format!("{self:?}"),
        }
    }
}
