//! Rebase of a patch onto a newer snapshot.

use super::operations::{OperationKind, Patch};
use crate::document::{Document, EditError, MalformedDocument, Number};

/// The result of a rebase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebaseReport {
    /// The number of applied operations.
    pub applied: usize,
    /// The errors of the operations that could not be applied, in order.
    pub dropped: Vec<EditError>,
}

impl Patch {
    /// Applies the operations in order to `newer`, the snapshot that another request committed.
    /// `base` is the snapshot that this request read before its first change.
    ///
    /// An operation that fails on `newer`, for example an increment of a value that is now a string,
    /// is dropped and reported. The other operations are applied.
    ///
    /// # Errors
    /// If one of the documents is damaged. `newer` may then contain some of the changes.
    pub fn rebase(
        &self,
        base: &Document,
        newer: &mut Document,
    ) -> Result<RebaseReport, MalformedDocument> {
        newer.set_limit(self.limits().document);
        let mut report = RebaseReport::default();
        if self.cleared {
            newer.retain_changed(base)?;
            report.applied += 1;
        }
        for at in 0..self.operations.len() {
            match self.apply(at, newer) {
                Ok(()) => report.applied += 1,
                Err(EditError::Malformed(damaged)) => return Err(damaged),
                Err(error) => report.dropped.push(error),
            }
        }
        Ok(report)
    }

    fn apply(&self, at: usize, document: &mut Document) -> Result<(), EditError> {
        let (Some(operation), Some((path, value))) = (self.operations.get(at), self.operation(at))
        else {
            return Ok(());
        };
        let number = || value.number().unwrap_or(Number::Int(0));
        match operation.kind {
            OperationKind::Put => document.put_json(&path, value),
            OperationKind::Forget => document.forget(&path).map(drop),
            OperationKind::Add => document.add(&path, number()).map(drop),
            OperationKind::Subtract => document.subtract(&path, number()).map(drop),
            OperationKind::Merge => document.merge_json(value),
        }
    }
}
