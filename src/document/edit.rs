//! Edits of a document: each edit splices the text and shifts the index.

use std::{borrow::Cow, mem, ops::Range};

use serde::Serialize;

use super::{
    Document, EditError, KeyPath, MAX_DEPTH, MalformedDocument, Number, RawValue,
    canonical::write_canonical,
    diff::write_changed,
    error::path_for_display,
    escape::EscapedKey,
    index,
    insertion::{InsertError, InsertionKind, InsertionPoint, locate, write_insertion},
    merge::{write_merged, write_overlaid},
    number::{parse_short, write_int},
    read::RootMember,
    scan,
    serde_impl::with_json,
    strict::RefusedValue,
};

impl Document {
    /// Writes `value` at `path` and replaces the old value.
    ///
    /// Missing containers are created: an array if the next key is an index, otherwise an object.
    /// Scalars on the path are replaced. A write past the end of an array fills the gap with `null`.
    ///
    /// # Errors
    /// See [`EditError`]. The document is then unchanged.
    pub fn put<'p, T: Serialize + ?Sized>(
        &mut self,
        path: impl Into<KeyPath<'p>>,
        value: &T,
    ) -> Result<(), EditError> {
        let path = path.into();
        with_json(&path, value, |json| self.put_json(&path, json))
    }

    /// Writes a value that is already JSON text, like [`put`](Self::put). Of equal keys in an object,
    /// the last one's value is kept.
    ///
    /// # Errors
    /// As for `put`.
    pub fn put_json(&mut self, path: &KeyPath<'_>, json: RawValue<'_>) -> Result<(), EditError> {
        let shape = scan::shape(json.as_bytes(), &mut self.scratch);
        let shape = shape.ok_or(MalformedDocument::DAMAGED)?;
        if !shape.canonical {
            check_depth(path, shape.depth)?;
            let mut canonical = Vec::new();
            write_canonical(json.as_bytes(), &mut canonical)?;
            return self.write(path, shape.depth, |_| Ok(&canonical));
        }
        self.write(path, shape.depth, |_| Ok(json.as_bytes()))
    }

    /// Removes the value at `path`. Returns `false` if it was absent. An element of an array becomes
    /// `null`, so that the other elements keep their index.
    ///
    /// # Errors
    /// If the document is damaged at a place that the edit reads. The document is then unchanged.
    pub fn forget<'p>(&mut self, path: impl Into<KeyPath<'p>>) -> Result<bool, EditError> {
        self.forget_at_path(&path.into())
    }

    /// Removes the value at `path`, like [`forget`](Self::forget).
    pub(crate) fn forget_at_path(&mut self, path: &KeyPath<'_>) -> Result<bool, EditError> {
        let Some((root, keys)) = self.resolve_root(path)? else {
            return Ok(false);
        };
        let Some((last, parents)) = keys.split_last() else {
            self.prepare_edit()?;
            self.remove_root_member(root.member)?;
            return Ok(true);
        };
        let removal = self.find_removal(root.value.clone(), parents, last);
        let Some((range, replacement)) = removal.ok_or(MalformedDocument::DAMAGED)? else {
            return Ok(false);
        };
        self.prepare_edit()?;
        self.splice(path, range, replacement, root.member + 1)?;
        Ok(true)
    }

    /// Adds `amount` to the number at `path` and returns the sum. An absent value and `null` count
    /// as zero.
    ///
    /// # Errors
    /// If the value is not a number, if the sum does not fit, or as for [`put`](Self::put). The
    /// document is then unchanged.
    pub fn add<'p>(
        &mut self,
        path: impl Into<KeyPath<'p>>,
        amount: impl Into<Number>,
    ) -> Result<Number, EditError> {
        self.add_at_path(&path.into(), amount.into())
    }

    /// Adds `amount` to the number at `path`, like [`add`](Self::add).
    pub(crate) fn add_at_path(
        &mut self,
        path: &KeyPath<'_>,
        amount: Number,
    ) -> Result<Number, EditError> {
        self.update_number(path, amount, i64::checked_add, Number::checked_add)
    }

    /// Subtracts `amount` from the number at `path`, like [`add`](Self::add).
    ///
    /// # Errors
    /// As for `add`.
    pub fn subtract<'p>(
        &mut self,
        path: impl Into<KeyPath<'p>>,
        amount: impl Into<Number>,
    ) -> Result<Number, EditError> {
        self.subtract_at_path(&path.into(), amount.into())
    }

    /// Subtracts `amount` from the number at `path`, like [`subtract`](Self::subtract).
    pub(crate) fn subtract_at_path(
        &mut self,
        path: &KeyPath<'_>,
        amount: Number,
    ) -> Result<Number, EditError> {
        self.update_number(path, amount, i64::checked_sub, Number::checked_sub)
    }

    /// Merges the members of `values`, which must be an object, into this object, recursively.
    ///
    /// Objects merge by key and arrays by index. `null` and every other scalar replaces the old
    /// value. An object merges into an array if its keys are indexes. An array replaces an object.
    /// Keys are literal: a dot has no meaning.
    ///
    /// # Errors
    /// If the values are not an object, or as [`EditError`] describes. The document is then
    /// unchanged.
    pub fn merge<T: Serialize + ?Sized>(&mut self, values: &T) -> Result<(), EditError> {
        with_json(&KeyPath::root(), values, |json| self.merge_json(json))
    }

    /// Merges an object that is already JSON text, like [`merge`](Self::merge).
    ///
    /// # Errors
    /// As for `merge`.
    pub fn merge_json(&mut self, values: RawValue<'_>) -> Result<(), EditError> {
        let json = self.canonical_object(values)?;
        self.rewrite(|text, out| write_merged(text, &json, out))
    }

    /// Replaces the content with an object that is JSON text.
    ///
    /// # Errors
    /// As for [`merge`](Self::merge).
    pub fn replace_json(&mut self, values: RawValue<'_>) -> Result<(), EditError> {
        let json = self.canonical_object(values)?;
        self.rewrite(|_, out| {
            out.extend_from_slice(&json);
            Ok(())
        })
    }

    /// Writes each member of `values`, an object that is JSON text. Replaces the old value of each as a
    /// whole.
    ///
    /// # Errors
    /// As for [`merge`](Self::merge).
    pub fn put_members_json(&mut self, values: RawValue<'_>) -> Result<(), EditError> {
        let json = self.canonical_object(values)?;
        self.rewrite(|text, out| write_overlaid(text, &json, out))
    }

    /// Returns the canonical text of an object.
    pub(super) fn canonical_object<'v>(
        &mut self,
        values: RawValue<'v>,
    ) -> Result<Cow<'v, [u8]>, EditError> {
        let json = values.as_bytes();
        if json.first() != Some(&b'{') {
            return Err(EditError::NotAnObject);
        }
        let shape = scan::shape(json, &mut self.scratch).ok_or(MalformedDocument::DAMAGED)?;
        check_depth(&KeyPath::root(), shape.depth)?;
        if shape.canonical {
            return Ok(Cow::Borrowed(json));
        }
        let mut canonical = Vec::new();
        write_canonical(json, &mut canonical)?;
        Ok(Cow::Owned(canonical))
    }

    /// Replaces the text with the text that `write` appends to its second argument for the old one.
    pub(super) fn rewrite(
        &mut self,
        write: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), InsertError>,
    ) -> Result<(), EditError> {
        let mut written = mem::take(&mut self.scratch);
        written.clear();
        let result = write(self.text(), &mut written)
            .map_err(|error| error.into_edit_error(&KeyPath::root()))
            .and_then(|()| self.check_size(&KeyPath::root(), written.len()));
        self.scratch = written;
        result.and_then(|()| Ok(self.swap_in_scratch()?))
    }

    /// Removes every value that `base` has at the same place: members of the root object and of the
    /// objects below it. An array that differs is kept whole. An object that becomes empty is
    /// removed.
    pub(crate) fn retain_changed(&mut self, base: &Self) -> Result<(), MalformedDocument> {
        self.retain_changed_levels(base, MAX_DEPTH)
    }

    /// Removes every member of the root object that `base` has with the same value. A member that differs
    /// is kept whole.
    pub(crate) fn retain_changed_members(&mut self, base: &Self) -> Result<(), MalformedDocument> {
        self.retain_changed_levels(base, 1)
    }

    fn retain_changed_levels(
        &mut self,
        base: &Self,
        levels: usize,
    ) -> Result<(), MalformedDocument> {
        let mut changed = mem::take(&mut self.scratch);
        changed.clear();
        let result = write_changed((base.text(), 0), (self.text(), 0), &mut changed, levels);
        self.scratch = changed;
        result.map_err(|_| MalformedDocument::DAMAGED)?;
        self.swap_in_scratch()
    }

    /// Removes every member.
    pub fn clear(&mut self) {
        self.text.clear().extend_from_slice(b"{}");
        self.index.clear();
        self.is_editable = true;
    }

    fn find_removal(
        &self,
        value: Range<usize>,
        parents: &[EscapedKey<'_>],
        last: &[u8],
    ) -> Option<Removal> {
        let text = self.text();
        let Some(parent) = self.descend(value.start, parents)? else {
            return Some(None);
        };
        let Some(start) = self.step(parent, last)? else {
            return Some(None);
        };
        let range = start..scan::value_end(text, start)?;
        if text.get(parent) == Some(&b'[') {
            return Some(Some((range, b"null")));
        }
        let member = start.checked_sub(last.len() + 3)?..range.end;
        Some(Some((include_comma(text, member), b"")))
    }

    fn update_number(
        &mut self,
        path: &KeyPath<'_>,
        amount: Number,
        update_short: impl FnOnce(i64, i64) -> Option<i64>,
        update: impl FnOnce(Number, Number) -> Option<Number>,
    ) -> Result<Number, EditError> {
        if let Some(amount) = amount.as_short() {
            let update = |old| update_short(old, amount);
            if let Some(new) = self.update_in_place(path, update)? {
                return Ok(new.into());
            }
        }
        let mut result = Number::Int(0);
        let mut space = [0; Number::MAX_JSON_LEN];
        self.write(path, 0, |old| {
            let number = match old {
                Some(value) if !value.is_null() => value.number(),
                _ => Some(Number::Int(0)),
            };
            let number = number.ok_or_else(|| EditError::NotANumber {
                path: path_for_display(path),
            })?;
            result = update(number, amount).ok_or_else(|| match amount.is_finite() {
                true => EditError::Overflow {
                    path: path_for_display(path),
                },
                false => EditError::refused(RefusedValue::NotFinite, path, &[]),
            })?;
            Ok(result.write_json(&mut space))
        })?;
        Ok(result)
    }

    /// Replaces an integer by one of the same length. No member moves, so the index need not be sound. Does
    /// nothing and returns `None` if the old or the new value is another one.
    fn update_in_place(
        &mut self,
        path: &KeyPath<'_>,
        update: impl FnOnce(i64) -> Option<i64>,
    ) -> Result<Option<i64>, MalformedDocument> {
        let Some((root, keys)) = self.resolve_root(path)? else {
            return Ok(None);
        };
        let range = self.value_range(root, keys);
        let Some(range) = range.ok_or(MalformedDocument::DAMAGED)? else {
            return Ok(None);
        };
        let (Some(old), Some(b',' | b'}' | b']')) =
            (self.text().get(range.clone()), self.text().get(range.end))
        else {
            return Ok(None);
        };
        let mut space = [0; Number::MAX_JSON_LEN];
        let Some(new) = parse_short(old).and_then(update) else {
            return Ok(None);
        };
        let json = write_int(new, &mut space);
        if json.len() != range.len() {
            return Ok(None);
        }
        let replaced = self.text.splice(range, json);
        replaced.ok_or(MalformedDocument::DAMAGED)?;
        // Releases the record, so that its buffer can be reused.
        self.index.to_mut();
        Ok(Some(new))
    }

    /// Writes at `path` the text that `json` returns for the old value. The new value is `depth`
    /// levels deep.
    pub(super) fn write<'j>(
        &mut self,
        path: &KeyPath<'_>,
        depth: usize,
        json: impl FnOnce(Option<RawValue<'_>>) -> Result<&'j [u8], EditError>,
    ) -> Result<(), EditError> {
        self.prepare_edit()?;
        let mut scratch = mem::take(&mut self.scratch);
        scratch.clear();
        let result = self.write_with_scratch(path, depth, json, &mut scratch);
        self.scratch = scratch;
        result
    }

    fn write_with_scratch<'j>(
        &mut self,
        path: &KeyPath<'_>,
        depth: usize,
        json: impl FnOnce(Option<RawValue<'_>>) -> Result<&'j [u8], EditError>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), EditError> {
        let first = path.keys().first().ok_or(EditError::EmptyPath)?;
        let (point, keys, member) = match self.resolve_root(path)? {
            Some((RootMember { member, value }, keys)) => {
                let point = locate(self.text(), self.text.cursor(), value, keys);
                let point = point.map_err(|error| error.into_edit_error(path))?;
                (point, keys, Some(member))
            }
            None => (self.end_of_root(), path.keys(), None),
        };
        let outer_depth = keys.len() + usize::from(member.is_some());
        check_depth(path, outer_depth + depth)?;
        let exists = point.kind == InsertionKind::Value && point.matched_keys == keys.len();
        let old = self.text().get(point.range.clone()).filter(|_| exists);
        let json = json(old.map(RawValue::new))?;
        if !exists {
            write_insertion(&point, keys, json, scratch)
                .map_err(|error| error.into_edit_error(path))?;
        }
        match member {
            Some(member) => {
                let new = if exists { json } else { scratch };
                self.splice(path, point.range, new, member + 1)
            }
            None => self.append_root_member(path, point, scratch, first),
        }
    }

    /// Returns the insertion point for a new root member.
    fn end_of_root(&self) -> InsertionPoint {
        let at = self.text().len() - 1;
        InsertionPoint {
            range: at..at,
            kind: InsertionKind::Member {
                first: self.is_empty(),
            },
            matched_keys: 0,
        }
    }

    fn append_root_member(
        &mut self,
        path: &KeyPath<'_>,
        point: InsertionPoint,
        new: &[u8],
        key: &[u8],
    ) -> Result<(), EditError> {
        let start = point.range.start + usize::from(!self.is_empty());
        self.splice(path, point.range, new, self.len())?;
        self.index
            .to_mut()
            .extend_from_slice(&index::entry(start, key));
        Ok(())
    }

    fn remove_root_member(&mut self, member: usize) -> Result<(), MalformedDocument> {
        let bounds = (
            index::offset(self.index.as_slice(), member),
            self.member_end(member),
        );
        let (Some(start), Some(end)) = bounds else {
            return Err(MalformedDocument::DAMAGED);
        };
        let range = include_comma(self.text(), start..end);
        let delta = -(range.len() as isize);
        let removed = self.text.splice(range, b"");
        removed.ok_or(MalformedDocument::DAMAGED)?;
        index::shift(self.index.to_mut(), member + 1, delta);
        index::remove(self.index.to_mut(), member);
        Ok(())
    }

    /// Replaces a range of the text and shifts the members from `first_shifted` on. The caller has
    /// called [`prepare_edit`](Self::prepare_edit).
    pub(super) fn splice(
        &mut self,
        path: &KeyPath<'_>,
        range: Range<usize>,
        new: &[u8],
        first_shifted: usize,
    ) -> Result<(), EditError> {
        let delta = new.len() as isize - range.len() as isize;
        let size = self.text().len().saturating_add_signed(delta);
        if delta > 0 {
            self.check_size(path, size)?;
        }
        let replaced = self.text.splice(range, new);
        replaced.ok_or(MalformedDocument::DAMAGED)?;
        if delta != 0 {
            index::shift(self.index.to_mut(), first_shifted, delta);
        }
        Ok(())
    }

    /// Replaces the content with the content of `new`.
    ///
    /// # Errors
    /// If it exceeds the limit. The document is then unchanged.
    pub(crate) fn replace(&mut self, new: Self) -> Result<(), EditError> {
        self.check_size(&KeyPath::root(), new.text().len())?;
        (self.text, self.index, self.is_editable) = (new.text, new.index, new.is_editable);
        Ok(())
    }

    fn check_size(&self, path: &KeyPath<'_>, size: usize) -> Result<(), EditError> {
        let size = size + self.reserved;
        if size <= self.limit {
            return Ok(());
        }
        Err(EditError::TooLarge {
            path: path_for_display(path),
            size,
            limit: self.limit,
        })
    }

    /// Copies text and index for editing, and checks the index: edits rely on a sound index.
    pub(super) fn prepare_edit(&mut self) -> Result<(), MalformedDocument> {
        if self.is_editable {
            return Ok(());
        }
        if !index::is_sound(self.index.as_slice(), self.text.as_slice()) {
            return Err(MalformedDocument::DAMAGED);
        }
        self.text.to_mut();
        self.index.to_mut();
        self.is_editable = true;
        Ok(())
    }

    /// Makes the scratch buffer the text, and keeps the old text's buffer as the scratch buffer.
    fn swap_in_scratch(&mut self) -> Result<(), MalformedDocument> {
        mem::swap(self.text.clear(), &mut self.scratch);
        self.reindex()
    }
}

pub(super) fn check_depth(path: &KeyPath<'_>, depth: usize) -> Result<(), EditError> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(EditError::TooDeep {
        path: path_for_display(path),
        max: MAX_DEPTH,
    })
}

/// The range to replace, and its replacement, that remove a value.
type Removal = Option<(Range<usize>, &'static [u8])>;

/// Extends the range of a member by the one comma to remove with it.
fn include_comma(text: &[u8], member: Range<usize>) -> Range<usize> {
    if text.get(member.end) == Some(&b',') {
        member.start..member.end + 1
    } else if member.start > 0 && text.get(member.start - 1) == Some(&b',') {
        member.start - 1..member.end
    } else {
        member
    }
}
