//! What the suite found.

use std::fmt;

use super::Check;

/// A promise that a store broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {promise}, but {seen}")]
pub struct Violation {
    check: Check,
    promise: String,
    seen: String,
}

impl Violation {
    pub(super) fn new(check: Check, promise: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            check,
            promise: promise.into(),
            seen: seen.into(),
        }
    }

    /// The check that found it.
    pub const fn check(&self) -> Check {
        self.check
    }

    /// What the contract promises.
    pub fn promise(&self) -> &str {
        &self.promise
    }

    /// What the store did instead.
    pub fn seen(&self) -> &str {
        &self.seen
    }
}

/// What came of all checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a report that nobody reads tests nothing: call assert_kept"]
pub struct Report {
    pub(super) kept: Vec<Check>,
    pub(super) skipped: Vec<Check>,
    pub(super) violations: Vec<Violation>,
}

impl Report {
    /// The checks that the store passed.
    pub fn kept(&self) -> &[Check] {
        &self.kept
    }

    /// The checks that were left out, since the store does not claim what they ask for.
    pub fn skipped(&self) -> &[Check] {
        &self.skipped
    }

    /// The promises that the store broke: the first one that each failed check met.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The verdict of a test.
    ///
    /// # Panics
    /// With all violations as the message, when there is one.
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(self.violations.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    /// One line in all, one for each violation, one for what was left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kept, broken) = (self.kept.len(), self.violations.len());
        write!(
            f,
            "{kept} checks passed, {broken} failed, {} were left out",
            self.skipped.len()
        )?;
        for violation in &self.violations {
            write!(f, "\n  broken: {violation}")?;
        }
        for check in &self.skipped {
            write!(f, "\n  left out: {check}")?;
        }
        Ok(())
    }
}
