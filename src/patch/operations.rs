//! The patch: recorded operations and their limits.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::ChangeError;
use crate::document::{Document, EditError, KeyPath, Number, RawValue, to_json, with_json};

/// Limits on the changes of one request to its session.
///
/// ```
/// use hyper_session::patch::ChangeLimits;
///
/// let limits = ChangeLimits::default().document(32 << 10);
/// assert_eq!(limits.operations, 4096);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ChangeLimits {
    /// Maximum number of operations. Default: 4096.
    pub operations: usize,
    /// Maximum total size of the paths and values of all operations, in bytes. Default: 1 MiB.
    pub bytes: usize,
    /// Maximum size of the session data and the flash messages for the next request together, after
    /// each operation, in bytes of JSON text. Default: 1 MiB, maximum
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

/// The operations of one request, in order.
///
/// Each method changes the document and records the change. A change that fails is neither made nor
/// recorded. A patch that was [`reset`](Self::reset) records without allocating.
#[derive(Clone, Default)]
pub struct Patch {
    limits: ChangeLimits,
    /// The document was cleared before `operations`. A clear drops the operations before it.
    pub(super) cleared: bool,
    pub(super) operations: SmallVec<[Operation; 4]>,
    /// The number of operations that did not change the document. A rebase applies them too.
    without_effect: usize,
    /// The paths and values of the operations, concatenated.
    bytes: Vec<u8>,
    /// The functions of the operations of kind `Update`, in order.
    pub(super) updates: Vec<Update>,
}

/// Appends to the buffer the JSON text that replaces the value at the path, which is `None` if it is missing
/// or null. Fails if the value does not fit.
pub(crate) type UpdateFn =
    dyn FnMut(&KeyPath<'_>, Option<RawValue<'_>>, &mut Vec<u8>) -> Result<(), EditError> + Send;

/// An [`UpdateFn`] that clones of a patch share.
pub(crate) type Update = Arc<Mutex<UpdateFn>>;

/// The kind of an operation, and the offsets of its path and its value in [`Patch::bytes`]. The
/// value ends at the path of the next operation.
#[derive(Clone, Copy, PartialEq)]
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
    /// The operation after a clear that puts all new members.
    Replace,
    PutIfAbsent,
    Push,
    PushUnique,
    RemoveValue,
    /// The value is the result of the update on the document of the request. At the root, it is the
    /// difference that the update applies.
    Update,
}

/// Maximum of [`ChangeLimits::bytes`]. Two appended patches fit into 32-bit offsets.
const MAX_BYTES: usize = 1 << 30;

/// Size of a typical operation in bytes, reserved in one step.
const TYPICAL_BYTES: usize = 64;

impl Patch {
    /// Creates an empty patch with these limits.
    pub fn new(limits: ChangeLimits) -> Self {
        Self {
            limits: ChangeLimits {
                bytes: limits.bytes.min(MAX_BYTES),
                ..limits
            },
            ..Self::default()
        }
    }

    /// Returns `true` if no operation needs a write. An operation that found the document as it should be
    /// needs none.
    pub fn is_empty(&self) -> bool {
        !self.cleared && self.operations.len() == self.without_effect
    }

    /// Returns `true` if the document was cleared.
    pub fn is_cleared(&self) -> bool {
        self.cleared
    }

    /// Returns `true` if all values were replaced.
    pub(super) fn is_replaced(&self) -> bool {
        let first = self.operations.first();
        self.cleared && first.is_some_and(|operation| operation.kind == OperationKind::Replace)
    }

    /// Returns the number of operations that [`rebase`](Self::rebase) applies.
    pub fn len(&self) -> usize {
        self.operations.len() + usize::from(self.cleared)
    }

    /// Returns the size of the operations' paths and values in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the number of bytes that the buffers can hold.
    pub(crate) fn capacity(&self) -> usize {
        let operations = if self.operations.spilled() {
            self.operations.capacity() * size_of::<Operation>()
        } else {
            0
        };
        self.bytes.capacity() + operations
    }

    /// Returns the limits.
    pub fn limits(&self) -> ChangeLimits {
        self.limits
    }

    /// Sets the limits for later operations.
    pub fn set_limits(&mut self, limits: ChangeLimits) {
        self.limits = ChangeLimits {
            bytes: limits.bytes.min(MAX_BYTES),
            ..limits
        };
    }

    /// Removes all operations and keeps the buffers.
    pub fn reset(&mut self) {
        if self.operations.is_empty() && !self.cleared {
            return;
        }
        self.cleared = false;
        self.operations.clear();
        self.without_effect = 0;
        self.bytes.clear();
        self.updates.clear();
    }

    /// Calls [`Document::put`] and records it. A put replaces a put to the same path directly before
    /// it.
    ///
    /// # Errors
    /// If the edit fails or a limit is exceeded.
    pub fn put<'p, T: Serialize + ?Sized>(
        &mut self,
        document: &mut Document,
        path: impl Into<KeyPath<'p>>,
        value: &T,
    ) -> Result<(), ChangeError> {
        let path = path.into();
        with_json(&path, value, |json| self.put_json(document, &path, json))
    }

    /// Calls [`Document::put_json`] and records it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn put_json(
        &mut self,
        document: &mut Document,
        path: &KeyPath<'_>,
        json: RawValue<'_>,
    ) -> Result<(), ChangeError> {
        let write = copy_of(json);
        self.record(OperationKind::Put, path, document, write, |document| {
            document.put_json(path, json)
        })?;
        self.coalesce_puts();
        Ok(())
    }

    /// Calls [`Document::forget`] and records it, even if the value is absent: a newer snapshot may
    /// have one.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn forget<'p>(
        &mut self,
        document: &mut Document,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<bool, ChangeError> {
        let path = &path.into();
        let write = |_: &mut Vec<u8>| Ok(());
        self.record(OperationKind::Forget, path, document, write, |document| {
            document.forget_at_path(path)
        })
    }

    /// Calls [`Document::add`] and records it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn add<'p>(
        &mut self,
        document: &mut Document,
        path: impl Into<KeyPath<'p>>,
        amount: impl Into<Number>,
    ) -> Result<Number, ChangeError> {
        let (path, amount) = (&path.into(), amount.into());
        let write = json_of(path, amount);
        self.record(OperationKind::Add, path, document, write, |document| {
            document.add_at_path(path, amount)
        })
    }

    /// Calls [`Document::subtract`] and records it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn subtract<'p>(
        &mut self,
        document: &mut Document,
        path: impl Into<KeyPath<'p>>,
        amount: impl Into<Number>,
    ) -> Result<Number, ChangeError> {
        let (path, amount) = (&path.into(), amount.into());
        let write = json_of(path, amount);
        self.record(OperationKind::Subtract, path, document, write, |document| {
            document.subtract_at_path(path, amount)
        })
    }

    /// Calls [`Document::merge`] and records it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn merge<T: Serialize + ?Sized>(
        &mut self,
        document: &mut Document,
        values: &T,
    ) -> Result<(), ChangeError> {
        with_json(&KeyPath::root(), values, |json| {
            self.merge_json(document, json)
        })
    }

    /// Calls [`Document::merge_json`] and records it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn merge_json(
        &mut self,
        document: &mut Document,
        values: RawValue<'_>,
    ) -> Result<(), ChangeError> {
        let root = &KeyPath::root();
        let write = copy_of(values);
        self.record(OperationKind::Merge, root, document, write, |document| {
            document.merge_json(values)
        })
    }

    /// Calls [`Document::replace_json`] and records it. A rebase removes the members that are unchanged since
    /// the base snapshot, and puts each member of `values`. A member that a concurrent request changed, and
    /// that `values` does not have, stays as a whole.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn replace_json(
        &mut self,
        document: &mut Document,
        values: RawValue<'_>,
    ) -> Result<(), ChangeError> {
        let root = &KeyPath::root();
        let mut replaced = Self {
            cleared: true,
            ..Self::new(self.limits)
        };
        let write = copy_of(values);
        replaced.record(OperationKind::Replace, root, document, write, |document| {
            document.replace_json(values)
        })?;
        *self = replaced;
        Ok(())
    }

    /// Calls [`Document::put_json_if_absent`] and records it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn put_json_if_absent(
        &mut self,
        document: &mut Document,
        path: &KeyPath<'_>,
        json: RawValue<'_>,
    ) -> Result<bool, ChangeError> {
        let edit = Document::put_json_if_absent;
        self.record_value(OperationKind::PutIfAbsent, document, path, json, edit)
    }

    /// Calls [`Document::push_json`] and records it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn push_json(
        &mut self,
        document: &mut Document,
        path: &KeyPath<'_>,
        json: RawValue<'_>,
    ) -> Result<(), ChangeError> {
        let edit = |document: &mut Document, path: &KeyPath<'_>, json: RawValue<'_>| {
            document.push_json(path, json).map(|()| true)
        };
        self.record_value(OperationKind::Push, document, path, json, edit)
            .map(drop)
    }

    /// Calls [`Document::push_unique_json`] and records it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn push_unique_json(
        &mut self,
        document: &mut Document,
        path: &KeyPath<'_>,
        json: RawValue<'_>,
    ) -> Result<bool, ChangeError> {
        let edit = Document::push_unique_json;
        self.record_value(OperationKind::PushUnique, document, path, json, edit)
    }

    /// Calls [`Document::remove_value_json`] and records it.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn remove_value_json(
        &mut self,
        document: &mut Document,
        path: &KeyPath<'_>,
        json: RawValue<'_>,
    ) -> Result<bool, ChangeError> {
        let edit = Document::remove_value_json;
        self.record_value(OperationKind::RemoveValue, document, path, json, edit)
    }

    /// Calls [`Document::put_json`] with `json`, the result of `update` on the value in the document. A
    /// rebase calls `update` again, with the value in the newer snapshot.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub(crate) fn update_json(
        &mut self,
        document: &mut Document,
        path: &KeyPath<'_>,
        json: RawValue<'_>,
        update: Update,
    ) -> Result<(), ChangeError> {
        let edit = |document: &mut Document, path: &KeyPath<'_>, json: RawValue<'_>| {
            document.put_json(path, json).map(|()| true)
        };
        self.record_value(OperationKind::Update, document, path, json, edit)?;
        self.updates.push(update);
        Ok(())
    }

    /// Calls [`Document::put_fields`] with the difference `fields`, and records it. A rebase calls `update`
    /// with the newer snapshot.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub(crate) fn update_fields(
        &mut self,
        document: &mut Document,
        fields: RawValue<'_>,
        update: Update,
    ) -> Result<(), ChangeError> {
        let edit = |document: &mut Document, _: &KeyPath<'_>, fields: RawValue<'_>| {
            document.put_fields(fields).map(|()| true)
        };
        let root = &KeyPath::root();
        self.record_value(OperationKind::Update, document, root, fields, edit)?;
        self.updates.push(update);
        Ok(())
    }

    /// Returns `true` if a rebase runs functions of the user.
    pub(crate) fn has_updates(&self) -> bool {
        !self.updates.is_empty()
    }

    /// Returns `true` if both patches hold the same operations.
    pub(crate) fn has_same_operations(&self, other: &Self) -> bool {
        (self.cleared, &self.operations, &self.bytes)
            == (other.cleared, &other.operations, &other.bytes)
    }

    /// Removes every member of the document, and records it. A rebase removes the values that are
    /// unchanged since the base snapshot, and keeps those that a concurrent request wrote.
    pub fn clear(&mut self, document: &mut Document) {
        document.clear();
        self.reset();
        self.cleared = true;
    }

    /// Appends the operations of `later`. `record` keeps the size of one patch below the limit, which
    /// is at most half of what an offset can address.
    pub(super) fn extend(&mut self, later: &Self) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&later.bytes);
        let moved = later.operations.iter().map(|operation| Operation {
            path: operation.path + start,
            value: operation.value + start,
            ..*operation
        });
        self.operations.extend(moved);
        self.without_effect += later.without_effect;
        self.updates.extend_from_slice(&later.updates);
    }

    /// Returns the path and the value of an operation. Never `None` for an index below the length,
    /// because `record` wrote both.
    pub(super) fn operation(&self, at: usize) -> Option<(KeyPath<'_>, RawValue<'_>)> {
        let Range { start, end } = self.byte_range(at)?;
        let (path, _) = KeyPath::read(self.bytes.get(start..)?)?;
        let value = self.operations.get(at)?.value as usize;
        Some((path, RawValue::new(self.bytes.get(value..end)?)))
    }

    /// Returns the range of an operation in `bytes`.
    fn byte_range(&self, at: usize) -> Option<Range<usize>> {
        let start = self.operations.get(at)?.path as usize;
        let next = self.operations.get(at + 1);
        Some(start..next.map_or(self.bytes.len(), |next| next.path as usize))
    }

    /// Records an operation, whose value `write` appends to the path, and calls `edit`. Records nothing if
    /// one of them fails or a limit is exceeded.
    fn record<T>(
        &mut self,
        kind: OperationKind,
        path: &KeyPath<'_>,
        document: &mut Document,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), EditError>,
        edit: impl FnOnce(&mut Document) -> Result<T, EditError>,
    ) -> Result<T, ChangeError> {
        if self.len() >= self.limits.operations {
            let limit = self.limits.operations;
            return Err(ChangeError::TooManyOperations { limit });
        }
        document.set_limit(self.limits.document);
        let start = self.bytes.len();
        self.bytes.reserve(TYPICAL_BYTES);
        path.write(&mut self.bytes);
        let value = self.bytes.len();
        let written = write(&mut self.bytes).map_err(ChangeError::from);
        let result = written
            .and_then(|()| self.check_bytes())
            .and_then(|()| Ok(edit(document)?));
        match result {
            Ok(_) => self.operations.push(Operation {
                kind,
                path: start as u32,
                value: value as u32,
            }),
            Err(_) => self.bytes.truncate(start),
        }
        result
    }

    /// Records an operation with a value. `edit` returns `true` if it changed the document.
    fn record_value(
        &mut self,
        kind: OperationKind,
        document: &mut Document,
        path: &KeyPath<'_>,
        json: RawValue<'_>,
        edit: impl FnOnce(&mut Document, &KeyPath<'_>, RawValue<'_>) -> Result<bool, EditError>,
    ) -> Result<bool, ChangeError> {
        let write = copy_of(json);
        let is_changed = self.record(kind, path, document, write, |document| {
            edit(document, path, json)
        })?;
        self.without_effect += usize::from(!is_changed);
        Ok(is_changed)
    }

    fn check_bytes(&self) -> Result<(), ChangeError> {
        let (size, limit) = (self.bytes.len(), self.limits.bytes);
        if size > limit {
            return Err(ChangeError::TooManyBytes { size, limit });
        }
        Ok(())
    }

    /// Drops the put before the last put if both have the same path.
    fn coalesce_puts(&mut self) {
        let [.., before, last] = &mut self.operations[..] else {
            return;
        };
        let paths = (
            self.bytes.get(before.path as usize..before.value as usize),
            self.bytes.get(last.path as usize..last.value as usize),
        );
        if before.kind == OperationKind::Put && paths.0 == paths.1 {
            let range = before.path as usize..last.path as usize;
            self.bytes.drain(range);
            self.operations.pop();
        }
    }
}

/// Returns a function that appends the JSON text.
fn copy_of(json: RawValue<'_>) -> impl FnOnce(&mut Vec<u8>) -> Result<(), EditError> {
    move |bytes| {
        bytes.extend_from_slice(json.as_bytes());
        Ok(())
    }
}

/// Returns a function that appends the number's JSON text, or fails if it has none.
fn json_of(
    path: &KeyPath<'_>,
    number: Number,
) -> impl FnOnce(&mut Vec<u8>) -> Result<(), EditError> {
    move |bytes| match number.append_short(bytes) {
        true => Ok(()),
        false => to_json(path, &number, bytes),
    }
}

impl fmt::Debug for Patch {
    /// Shows sizes only, because the values belong to the visitor.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patch")
            .field("operations", &self.len())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
