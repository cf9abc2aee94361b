//! The results of the suite.

use std::fmt;

use super::Check;

/// A promise that a store broke, as the error of a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{check}: promise broken: {promise}; observed: {observed}")]
pub struct Violation {
    check: Check,
    promise: String,
    observed: String,
}

impl Violation {
    pub(super) fn new(
        check: Check,
        promise: impl Into<String>,
        observed: impl Into<String>,
    ) -> Self {
        Self {
            check,
            promise: promise.into(),
            observed: observed.into(),
        }
    }

    /// Returns the check that failed.
    pub const fn check(&self) -> Check {
        self.check
    }

    /// Returns the promise of the contract.
    pub fn promise(&self) -> &str {
        &self.promise
    }

    /// Returns the observed behavior of the store.
    pub fn observed(&self) -> &str {
        &self.observed
    }
}

/// The result of all checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a report does not fail a test by itself; call `assert_passed`"]
pub struct Report {
    pub(super) passed: Vec<Check>,
    pub(super) skipped: Vec<Check>,
    pub(super) violations: Vec<Violation>,
}

impl Report {
    /// Returns the checks that the store passed.
    pub fn passed(&self) -> &[Check] {
        &self.passed
    }

    /// Returns the checks that were skipped because the store lacks the capability.
    pub fn skipped(&self) -> &[Check] {
        &self.skipped
    }

    /// Returns the first broken promise of each failed check.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Asserts that no check failed.
    ///
    /// # Panics
    /// If a check failed. The message lists all violations.
    #[track_caller]
    pub fn assert_passed(&self) {
        assert!(self.violations.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    /// Writes a line with the totals, then one line per violation and per skipped check.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed) = (self.passed.len(), self.violations.len());
        write!(
            f,
            "{passed} checks passed, {failed} failed, {} skipped",
            self.skipped.len()
        )?;
        for violation in &self.violations {
            write!(f, "\n  failed: {violation}")?;
        }
        for check in &self.skipped {
            write!(f, "\n  skipped: {check}")?;
        }
        Ok(())
    }
}
