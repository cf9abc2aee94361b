//! Doing the changes again on a newer snapshot.

use smallvec::SmallVec;

use super::operations::{OperationKind, Patch};
use crate::document::{Document, EditError, MalformedDocument, Number};

/// What became of a patch on a newer snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebaseReport {
    /// How many operations were done.
    pub applied: usize,
    /// Why the others could not be done there, in their order.
    pub dropped: SmallVec<[EditError; 1]>,
}

impl Patch {
    /// Does the operations again, in order, on `newer`: what another request left. `base` is the
    /// snapshot that this request read before its first change.
    ///
    /// An operation that is not possible there (an increment of what has become a string) is dropped
    /// and reported; the others are done.
    ///
    /// # Errors
    /// When one of the documents is damaged; `newer` may then hold a part of the changes.
    pub fn rebase(
        &self,
        base: &Document,
        newer: &mut Document,
    ) -> Result<RebaseReport, MalformedDocument> {
        newer.set_limit(self.limits().document);
        let mut rebased = RebaseReport::default();
        if self.cleared {
            newer.retain_changed(base)?;
            rebased.applied += 1;
        }
        for at in 0..self.operations.len() {
            match self.redo(at, newer) {
                Ok(()) => rebased.applied += 1,
                Err(EditError::Malformed(damaged)) => return Err(damaged),
                Err(error) => rebased.dropped.push(error),
            }
        }
        Ok(rebased)
    }

    fn redo(&self, at: usize, document: &mut Document) -> Result<(), EditError> {
        let (Some(operation), Some((path, value))) = (self.operations.get(at), self.parts(at))
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
