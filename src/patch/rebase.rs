//! Rebase of a patch onto a newer snapshot.

use std::slice;

use super::operations::{OperationKind, Patch, Update};
use crate::{
    document::{Document, EditError, KeyPath, Number, RawValue, path_for_display},
    sync::lock,
};

/// The error of [`Patch::rebase`]: an operation does not fit the newer snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("change of \"{path}\" does not fit the newer session data")]
pub struct RebaseError {
    /// The path of the operation.
    pub path: Box<str>,
    /// The reason.
    pub source: EditError,
}

impl Patch {
    /// Applies the operations in order to `newer`, the snapshot that another request committed.
    /// `base` is the snapshot that this request read before its first change. It is used only if the
    /// document was [cleared](Self::is_cleared).
    ///
    /// # Errors
    /// If an operation fails on `newer`, for example an increment of a value that is now a string, or
    /// if a document is damaged. `newer` may then contain some of the changes.
    pub fn rebase(&self, base: &Document, newer: &mut Document) -> Result<(), RebaseError> {
        newer.set_limit(self.limits().document);
        if self.cleared {
            let retained = match self.is_replaced() {
                true => newer.retain_changed_members(base),
                false => newer.retain_changed(base),
            };
            retained.map_err(|error| RebaseError {
                path: "".into(),
                source: error.into(),
            })?;
        }
        let mut updates = self.updates.iter();
        for at in 0..self.operations.len() {
            self.apply(at, newer, &mut updates)?;
        }
        Ok(())
    }

    fn apply(
        &self,
        at: usize,
        document: &mut Document,
        updates: &mut slice::Iter<'_, Update>,
    ) -> Result<(), RebaseError> {
        let (Some(operation), Some((path, value))) = (self.operations.get(at), self.operation(at))
        else {
            return Ok(());
        };
        let number = || value.number().unwrap_or(Number::Int(0));
        let applied = match operation.kind {
            OperationKind::Put => document.put_json(&path, value),
            OperationKind::Forget => document.forget(&path).map(drop),
            OperationKind::Add => document.add(&path, number()).map(drop),
            OperationKind::Subtract => document.subtract(&path, number()).map(drop),
            OperationKind::Merge => document.merge_json(value),
            OperationKind::Replace => document.put_members_json(value),
            OperationKind::PutIfAbsent => document.put_json_if_absent(&path, value).map(drop),
            OperationKind::Push => document.push_json(&path, value),
            OperationKind::PushUnique => document.push_unique_json(&path, value).map(drop),
            OperationKind::RemoveValue => document.remove_value_json(&path, value).map(drop),
            OperationKind::Update => match updates.next() {
                Some(update) => run_update(document, &path, update),
                None => Ok(()),
            },
        };
        applied.map_err(|source| RebaseError {
            path: path_for_display(&path),
            source,
        })
    }

    /// Appends the operations of `later`, which were made on the document that this patch left.
    pub(crate) fn append(&mut self, later: Self) {
        if later.cleared {
            *self = later;
            return;
        }
        self.extend(&later);
    }
}

/// Replaces the value at `path` with the result of `update`.
fn run_update(
    document: &mut Document,
    path: &KeyPath<'_>,
    update: &Update,
) -> Result<(), EditError> {
    let mut json = Vec::new();
    if path.is_root() {
        (*lock(update))(path, Some(RawValue::new(document.text())), &mut json)?;
        return document.replace_json(RawValue::new(&json));
    }
    let old = document.get_path(path)?.filter(|value| !value.is_null());
    (*lock(update))(path, old, &mut json)?;
    document.put_json(path, RawValue::new(&json))
}
