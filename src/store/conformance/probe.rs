//! The store under test, with operations that return a [`Violation`] if a promise is broken.

use std::{fmt::Debug, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Check, Harness, Violation};
use crate::{
    id::{SessionId, StoreKey},
    store::{
        Expected, ReadOutcome, Record, Store, StoreError, Tags, Version, WriteOutcome, WriteRequest,
    },
};

/// The result of a check, or of a step of it.
pub(super) type CheckResult<T = ()> = Result<T, Violation>;

/// A TTL that does not end during a check.
pub(super) const LONG_TTL: Duration = Duration::from_secs(24 * 3600);

/// A store under one check.
pub(super) struct Probe<S> {
    check: Check,
    pub(super) store: Arc<S>,
}

impl<S: Store> Probe<S> {
    pub(super) async fn new(check: Check, harness: &impl Harness<Store = S>) -> Self {
        let store = Arc::new(harness.store().await);
        Self { check, store }
    }

    /// Returns a new random key.
    pub(super) fn new_key(&self) -> CheckResult<StoreKey> {
        let id = SessionId::generate();
        let id =
            id.map_err(|error| self.violation("the suite needs random keys", error.to_string()))?;
        Ok(id.store_key())
    }

    pub(super) async fn read(&self, key: &StoreKey) -> CheckResult<ReadOutcome> {
        self.require_ok("read", self.store.read(key, None).await)
    }

    pub(super) async fn read_and_touch(
        &self,
        key: &StoreKey,
        ttl: Duration,
    ) -> CheckResult<ReadOutcome> {
        self.require_ok("read with touch", self.store.read(key, Some(ttl)).await)
    }

    /// Writes a record without tags, with a long TTL.
    pub(super) async fn write(
        &self,
        key: &StoreKey,
        data: impl Into<Bytes>,
        expected: Expected,
    ) -> CheckResult<WriteOutcome> {
        self.send(WriteRequest::new(key, data, LONG_TTL, expected))
            .await
    }

    pub(super) async fn send(&self, request: WriteRequest) -> CheckResult<WriteOutcome> {
        self.require_ok("write", self.store.write(request).await)
    }

    pub(super) async fn destroy(&self, key: &StoreKey) -> CheckResult {
        self.require_ok("destroy", self.store.destroy(key).await)
    }

    pub(super) async fn touch(&self, key: &StoreKey, ttl: Duration) -> CheckResult<bool> {
        self.require_ok("touch", self.store.touch(key, ttl).await)
    }

    /// Writes a new record without tags under a new key.
    pub(super) async fn new_record(&self, ttl: Duration) -> CheckResult<(StoreKey, Record)> {
        self.new_tagged_record(ttl, &Tags::new()).await
    }

    /// Writes a new record with `tags` under a new key.
    pub(super) async fn new_tagged_record(
        &self,
        ttl: Duration,
        tags: &Tags,
    ) -> CheckResult<(StoreKey, Record)> {
        let (key, data) = (self.new_key()?, Bytes::from_static(b"new"));
        let promise = "a write to a new key that expects no record succeeds";
        let request = WriteRequest::new(&key, data.clone(), ttl, Expected::Absent);
        let written = self.send(request.tags(tags.clone())).await?;
        let version = self.expect_done(promise, written)?;
        Ok((key, Record::new(data, version).tags(tags.clone())))
    }

    /// Returns a key whose record has expired, and the version of that record.
    pub(super) async fn new_expired(
        &self,
        harness: &impl Harness<Store = S>,
    ) -> CheckResult<(StoreKey, Version)> {
        let short = harness.short_ttl();
        let (key, record) = self.new_record(short).await?;
        harness.advance(short).await;
        Ok((key, record.version))
    }

    /// Returns a key whose record was just destroyed, and the version of that record.
    pub(super) async fn new_destroyed(&self) -> CheckResult<(StoreKey, Version)> {
        let (key, record) = self.new_record(LONG_TTL).await?;
        self.destroy(&key).await?;
        Ok((key, record.version))
    }

    /// Returns the version of a write that must have succeeded.
    pub(super) fn expect_done(&self, promise: &str, written: WriteOutcome) -> CheckResult<Version> {
        match written {
            WriteOutcome::Done(version) => Ok(version),
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => {
                Err(self.violation(promise, format!("write returned {}", written.describe())))
            }
        }
    }

    pub(super) fn expect_gone(&self, promise: &str, written: WriteOutcome) -> CheckResult {
        let observed = format!("write returned {}", written.describe());
        self.ensure(promise, written == WriteOutcome::Gone, observed)
    }

    pub(super) fn expect_conflict(
        &self,
        promise: &str,
        written: WriteOutcome,
        record: &Record,
    ) -> CheckResult {
        let expected = WriteOutcome::Conflict(record.clone());
        let observed = format!(
            "write returned {}, expected {}",
            written.describe(),
            expected.describe()
        );
        self.ensure(promise, written == expected, observed)
    }

    /// Requires that a read of `key` returns `expected`.
    pub(super) async fn expect_read(
        &self,
        promise: &str,
        key: &StoreKey,
        expected: ReadOutcome,
    ) -> CheckResult {
        let read = self.read(key).await?;
        let observed = format!(
            "read returned {}, expected {}",
            read.describe(),
            expected.describe()
        );
        self.ensure(promise, read == expected, observed)
    }

    pub(super) fn ensure(
        &self,
        promise: &str,
        condition: bool,
        observed: impl Into<String>,
    ) -> CheckResult {
        if condition {
            Ok(())
        } else {
            Err(self.violation(promise, observed))
        }
    }

    pub(super) fn violation(&self, promise: &str, observed: impl Into<String>) -> Violation {
        Violation::new(self.check, promise, observed)
    }

    /// Returns the result of an operation that must not fail.
    pub(super) fn require_ok<T>(
        &self,
        operation: &str,
        result: Result<T, StoreError>,
    ) -> CheckResult<T> {
        result.map_err(|error| {
            let promise = format!("{operation} succeeds unless the store is unavailable");
            self.violation(&promise, format!("{error:?}"))
        })
    }
}

impl<S> Clone for Probe<S> {
    fn clone(&self) -> Self {
        let (check, store) = (self.check, Arc::clone(&self.store));
        Self { check, store }
    }
}

/// Short texts for outcomes, whatever the size of their data.
pub(super) trait Describe: Debug {
    fn describe(&self) -> String;
}

impl Describe for Record {
    fn describe(&self) -> String {
        let (len, version) = (self.data.len(), self.version.get());
        let start = self.data.slice(..len.min(32));
        let (tags, first): (_, Vec<_>) = (self.tags.len(), self.tags.iter().take(2).collect());
        format!("version {version}, {len} bytes: {start:?}…, {tags} tags: {first:?}…")
    }
}

impl Describe for ReadOutcome {
    fn describe(&self) -> String {
        match self {
            Self::Found(record) => format!("Found({})", record.describe()),
            Self::Absent | Self::Gone => format!("{self:?}"),
        }
    }
}

impl Describe for WriteOutcome {
    fn describe(&self) -> String {
        match self {
            Self::Conflict(record) => format!("Conflict({})", record.describe()),
            Self::Done(_) | Self::Gone => format!("{self:?}"),
        }
    }
}
