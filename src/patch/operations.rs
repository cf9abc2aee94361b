//! Recording changes.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::ChangeError;
use crate::document::{Document, EditError, KeyPath, Number, RawValue, to_json};

/// How much one request may do to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ChangeLimits {
    /// Operations. Default 4096.
    pub operations: usize,
    /// Bytes of paths and values of all operations together. Default 1 MiB.
    pub bytes: usize,
    /// Bytes of the document's text after each operation. Default 1 MiB, and at most
    /// [`MAX_TEXT`](crate::document::MAX_TEXT).
    pub document: usize,
}

impl Default for ChangeLimits {
    fn default() -> Self {
        Self {
            operations: 4096,
            bytes: 1 << 20,
            document: 1 << 20,
        }
    }
}

impl ChangeLimits {
    /// Sets [`operations`](Self#structfield.operations).
    #[must_use]
    pub const fn operations(mut self, operations: usize) -> Self {
        self.operations = operations;
        self
    }

    /// Sets [`bytes`](Self#structfield.bytes).
    #[must_use]
    pub const fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets [`document`](Self#structfield.document).
    #[must_use]
    pub const fn document(mut self, bytes: usize) -> Self {
        self.document = bytes;
        self
    }
}

/// The operations that a request did, in order.
///
/// Each method makes its change in the document and records it. A change that fails is neither made
/// nor recorded. A warm patch ([`reset`](Self::reset)) records without allocating.
#[derive(Clone, Default)]
pub struct Patch {
    limits: ChangeLimits,
    /// The document was cleared before `operations`. What came before is not kept: it was cleared.
    pub(super) cleared: bool,
    pub(super) operations: SmallVec<[Operation; 4]>,
    /// The paths and values of the operations, one behind the other.
    bytes: Vec<u8>,
}

/// What was done, and where in [`Patch::bytes`] its path and its value begin. The value ends where
/// the next operation's path begins.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) kind: OperationKind,
    path: u32,
    value: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OperationKind {
    Put,
    Forget,
    Add,
    Subtract,
    Merge,
}

/// Bytes that a usual operation needs, made room for at once.
const ROOM: usize = 64;

impl Patch {
    /// No operations yet, and these limits.
    pub fn new(limits: ChangeLimits) -> Self {
        Self {
            limits: ChangeLimits {
                bytes: limits.bytes.min(u32::MAX as usize),
                ..limits
            },
            ..Self::default()
        }
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        !self.cleared && self.operations.is_empty()
    }

    /// The number of operations that [`rebase`](Self::rebase) would do.
    pub fn len(&self) -> usize {
        self.operations.len() + usize::from(self.cleared)
    }

    /// The bytes that the operations' paths and values take.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The limits that were given to [`new`](Self::new).
    pub fn limits(&self) -> ChangeLimits {
        self.limits
    }

    /// Sets the limits for the operations to come.
    pub fn set_limits(&mut self, limits: ChangeLimits) {
        self.limits = ChangeLimits {
            bytes: limits.bytes.min(u32::MAX as usize),
            ..limits
        };
    }

    /// Forgets all operations, and keeps the buffers.
    pub fn reset(&mut self) {
        self.cleared = false;
        self.operations.clear();
        self.bytes.clear();
    }

    /// [`Document::put`], recorded. A put that follows a put to the same path replaces it.
    ///
    /// # Errors
    /// When the edit fails or a limit is hit.
    pub fn put<'p, T: Serialize + ?Sized>(
        &mut self,
        document: &mut Document,
        path: impl Into<KeyPath<'p>>,
        value: &T,
    ) -> Result<(), ChangeError> {
        let path = &path.into();
        self.record(
            OperationKind::Put,
            path,
            document,
            |patch, document, start| {
                patch.write_value(path, value)?;
                patch.check_bytes()?;
                Ok(document.put_json(path, patch.value_from(start))?)
            },
        )?;
        self.fold_puts();
        Ok(())
    }

    /// [`Document::put_json`], recorded.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_json<'p>(
        &mut self,
        document: &mut Document,
        path: impl Into<KeyPath<'p>>,
        json: RawValue<'_>,
    ) -> Result<(), ChangeError> {
        let path = &path.into();
        self.record(OperationKind::Put, path, document, |patch, document, _| {
            patch.bytes.extend_from_slice(json.as_bytes());
            patch.check_bytes()?;
            Ok(document.put_json(path, json)?)
        })?;
        self.fold_puts();
        Ok(())
    }

    /// [`Document::forget`], recorded also where there was nothing: there may be on a newer snapshot.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn forget<'p>(
        &mut self,
        document: &mut Document,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<bool, ChangeError> {
        let path = &path.into();
        self.record(
            OperationKind::Forget,
            path,
            document,
            |patch, document, _| {
                patch.check_bytes()?;
                Ok(document.forget(path)?)
            },
        )
    }

    /// [`Document::add`], recorded.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn add<'p>(
        &mut self,
        document: &mut Document,
        path: impl Into<KeyPath<'p>>,
        by: impl Into<Number>,
    ) -> Result<Number, ChangeError> {
        let (path, by) = (&path.into(), by.into());
        self.record(OperationKind::Add, path, document, |patch, document, _| {
            patch.write_value(path, &by)?;
            patch.check_bytes()?;
            Ok(document.add(path, by)?)
        })
    }

    /// [`Document::subtract`], recorded.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn subtract<'p>(
        &mut self,
        document: &mut Document,
        path: impl Into<KeyPath<'p>>,
        by: impl Into<Number>,
    ) -> Result<Number, ChangeError> {
        let (path, by) = (&path.into(), by.into());
        self.record(
            OperationKind::Subtract,
            path,
            document,
            |patch, document, _| {
                patch.write_value(path, &by)?;
                patch.check_bytes()?;
                Ok(document.subtract(path, by)?)
            },
        )
    }

    /// [`Document::merge`], recorded.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn merge<T: Serialize + ?Sized>(
        &mut self,
        document: &mut Document,
        values: &T,
    ) -> Result<(), ChangeError> {
        let root = &KeyPath::from_keys::<str>([]);
        self.record(
            OperationKind::Merge,
            root,
            document,
            |patch, document, start| {
                patch.write_value(root, values)?;
                patch.check_bytes()?;
                Ok(document.merge_json(patch.value_from(start))?)
            },
        )
    }

    /// Takes everything out of the document. Done again on a newer snapshot, it takes out what stood
    /// in the old one; what a parallel request wrote stays.
    pub fn clear(&mut self, document: &mut Document) {
        document.clear();
        self.reset();
        self.cleared = true;
    }

    /// The path and the value of an operation. `None` does not happen: both were written here.
    pub(super) fn parts(&self, at: usize) -> Option<(KeyPath<'_>, RawValue<'_>)> {
        let Range { start, end } = self.span(at)?;
        let (path, _) = KeyPath::read(self.bytes.get(start..)?)?;
        let value = self.operations.get(at)?.value as usize;
        Some((path, RawValue::new(self.bytes.get(value..end)?)))
    }

    /// The bytes of an operation.
    fn span(&self, at: usize) -> Option<Range<usize>> {
        let start = self.operations.get(at)?.path as usize;
        let next = self.operations.get(at + 1);
        Some(start..next.map_or(self.bytes.len(), |next| next.path as usize))
    }

    /// Records an operation that `edit` does, with its value written behind its path; nothing if the
    /// edit fails.
    fn record<T>(
        &mut self,
        kind: OperationKind,
        path: &KeyPath<'_>,
        document: &mut Document,
        edit: impl FnOnce(&mut Self, &mut Document, usize) -> Result<T, ChangeError>,
    ) -> Result<T, ChangeError> {
        if self.len() >= self.limits.operations {
            let limit = self.limits.operations;
            return Err(ChangeError::TooManyOperations { limit });
        }
        document.set_limit(self.limits.document);
        let start = self.bytes.len();
        self.bytes.reserve(ROOM);
        path.write(&mut self.bytes);
        let value = self.bytes.len();
        let done = edit(self, document, value);
        match done {
            Ok(_) => self.operations.push(Operation {
                kind,
                path: start as u32,
                value: value as u32,
            }),
            Err(_) => self.bytes.truncate(start),
        }
        done
    }

    fn write_value<T: Serialize + ?Sized>(
        &mut self,
        path: &KeyPath<'_>,
        value: &T,
    ) -> Result<(), EditError> {
        to_json(value, &mut self.bytes).map_err(|source| EditError::unserializable(path, source))
    }

    fn value_from(&self, start: usize) -> RawValue<'_> {
        RawValue::new(self.bytes.get(start..).unwrap_or_default())
    }

    fn check_bytes(&self) -> Result<(), ChangeError> {
        let (size, limit) = (self.bytes.len(), self.limits.bytes);
        if size > limit {
            return Err(ChangeError::TooManyBytes { size, limit });
        }
        Ok(())
    }

    /// Drops the put before the last one if both are to one path: the last replaced its value.
    fn fold_puts(&mut self) {
        let [.., before, last] = &mut self.operations[..] else {
            return;
        };
        let puts = before.kind == OperationKind::Put && last.kind == OperationKind::Put;
        let paths = (
            self.bytes.get(before.path as usize..before.value as usize),
            self.bytes.get(last.path as usize..last.value as usize),
        );
        if puts && paths.0 == paths.1 {
            let range = before.path as usize..last.path as usize;
            self.bytes.drain(range);
            self.operations.pop();
        }
    }
}

impl fmt::Debug for Patch {
    /// Sizes only: the values are the visitor's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patch")
            .field("operations", &self.len())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
