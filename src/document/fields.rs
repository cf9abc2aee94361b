//! The changed fields of an object: their difference, and its application to another object.
//!
//! A difference is an object. Under the key of a changed member it has an array with the new value, or an
//! empty array if the member was removed. If both values are objects, it has the difference of the two.

use std::ops::Range;

use super::{
    Document, EditError, MalformedDocument, RawValue,
    equal::is_equal,
    insertion::InsertError,
    merge::{MemberLookup, begin_item, member_range, read_members},
};

impl Document {
    /// Returns the difference between the JSON texts of two objects, or `None` if they are equal.
    ///
    /// # Errors
    /// If one of them is not an object, or nests too deeply.
    pub(crate) fn changed_fields(
        old: RawValue<'_>,
        new: RawValue<'_>,
    ) -> Result<Option<Vec<u8>>, EditError> {
        let mut scratch = Self::new();
        let (old, new) = (
            scratch.canonical_object(old)?,
            scratch.canonical_object(new)?,
        );
        let mut fields = Vec::new();
        let differ = Differ {
            old: &old,
            new: &new,
        };
        differ
            .write_objects(Some(0), 0, &mut fields)
            .map_err(|_| MalformedDocument::DAMAGED)?;
        Ok((fields != b"{}").then_some(fields))
    }

    /// Applies a difference. A member with changed fields that is not an object any more is replaced by an
    /// object of these fields.
    ///
    /// # Errors
    /// If the document becomes too large, or is damaged. It is then unchanged.
    pub(crate) fn put_fields(&mut self, fields: RawValue<'_>) -> Result<(), EditError> {
        self.rewrite(|text, out| write_fields(text, fields.as_bytes(), out))
    }
}

/// Applies the difference `fields` to the object `old`, and writes the result to `out`.
pub(super) fn write_fields(
    old: &[u8],
    fields: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), InsertError> {
    FieldMerger { old, fields, out }.write_object(Some(0), 0)
}

/// Applies the difference `fields` to the JSON text of an object. Returns the result.
pub(crate) fn apply_fields(old: RawValue<'_>, fields: &[u8]) -> Result<Vec<u8>, MalformedDocument> {
    let mut out = Vec::new();
    write_fields(old.as_bytes(), fields, &mut out).map_err(|_| MalformedDocument::DAMAGED)?;
    Ok(out)
}

/// Compares objects of the text `new` with objects of the text `old`.
struct Differ<'t> {
    old: &'t [u8],
    new: &'t [u8],
}

impl Differ<'_> {
    /// Writes the difference of two objects, of which the old one may be absent. Recurses once per level.
    fn write_objects(
        &self,
        old: Option<usize>,
        new: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InsertError> {
        let old = old.map(|at| read_members(self.old, at)).transpose()?;
        let old_members = MemberLookup::new(self.old, old.unwrap_or_default());
        let new_members = MemberLookup::new(self.new, read_members(self.new, new)?);
        out.push(b'{');
        for member in &new_members.members {
            let old_member = old_members.find(text(self.new, &member.key)?);
            let old_value = old_member.and_then(|at| old_members.members.get(at));
            let old_value = old_value.map(|member| member.value.clone());
            let start = out.len();
            begin_item(out, b'{');
            out.extend_from_slice(text(self.new, &(member.key.start - 1..member.value.start))?);
            if !self.write_value(old_value, &member.value, out)? {
                out.truncate(start);
            }
        }
        for member in &old_members.members {
            if new_members.find(text(self.old, &member.key)?).is_none() {
                begin_item(out, b'{');
                out.extend_from_slice(text(self.old, &(member.key.start - 1..member.value.start))?);
                out.extend_from_slice(b"[]");
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Writes the difference of two values. Returns `false` if there is none.
    fn write_value(
        &self,
        old: Option<Range<usize>>,
        new: &Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<bool, InsertError> {
        let new_text = text(self.new, new)?;
        if let Some(old) = &old {
            let old_text = text(self.old, old)?;
            if is_equal(RawValue::new(old_text), RawValue::new(new_text)) {
                return Ok(false);
            }
        }
        // Two requests that begin one object merge as two that change it. An empty object has no fields.
        let old_start = old.as_ref().map(|old| old.start);
        let old_object = match old_start.and_then(|at| self.old.get(at)) {
            Some(b'{') => Some(old_start),
            None | Some(b'n') if new_text != b"{}" => Some(None),
            _ => None,
        };
        if let Some(old_object) = old_object
            && new_text.first() == Some(&b'{')
        {
            self.write_objects(old_object, new.start, out)?;
            return Ok(true);
        }
        out.push(b'[');
        out.extend_from_slice(new_text);
        out.push(b']');
        Ok(true)
    }
}

/// Applies the difference `fields` to objects of the text `old`.
struct FieldMerger<'t> {
    old: &'t [u8],
    fields: &'t [u8],
    out: &'t mut Vec<u8>,
}

impl FieldMerger<'_> {
    /// Writes the object at `old`, or a new one, with the changes at `fields`. Recurses once per level.
    fn write_object(&mut self, old: Option<usize>, fields: usize) -> Result<(), InsertError> {
        let old = old.map(|at| read_members(self.old, at)).transpose()?;
        let old = MemberLookup::new(self.old, old.unwrap_or_default());
        let changes = MemberLookup::new(self.fields, read_members(self.fields, fields)?);
        self.out.push(b'{');
        for member in &old.members {
            let change = changes.find(text(self.old, &member.key)?);
            match change.and_then(|at| changes.members.get(at)) {
                Some(change) => {
                    let key = text(self.old, &(member.key.start - 1..member.value.start))?;
                    self.write_member(key, Some(member.value.clone()), &change.value)?;
                }
                None => {
                    begin_item(self.out, b'{');
                    let unchanged = text(self.old, &member_range(member))?;
                    self.out.extend_from_slice(unchanged);
                }
            }
        }
        for change in &changes.members {
            if old.find(text(self.fields, &change.key)?).is_none() {
                let key = text(self.fields, &(change.key.start - 1..change.value.start))?;
                self.write_member(key, None, &change.value)?;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes a member with a change, unless the change removes it. `key` includes the colon.
    fn write_member(
        &mut self,
        key: &[u8],
        old: Option<Range<usize>>,
        change: &Range<usize>,
    ) -> Result<(), InsertError> {
        let start = self.out.len();
        begin_item(self.out, b'{');
        self.out.extend_from_slice(key);
        match text(self.fields, change)? {
            b"[]" => self.out.truncate(start),
            [b'[', value @ .., b']'] => self.out.extend_from_slice(value),
            _ => {
                let object = old
                    .clone()
                    .filter(|old| self.old.get(old.start) == Some(&b'{'));
                let is_object = object.is_some();
                self.write_object(object.map(|old| old.start), change.start)?;
                // There is nothing to remove from a value that is not an object.
                if !is_object && self.out.ends_with(b":{}") {
                    self.out.truncate(self.out.len() - 2);
                    match old {
                        Some(old) => self.out.extend_from_slice(text(self.old, &old)?),
                        None => self.out.truncate(start),
                    }
                }
            }
        }
        Ok(())
    }
}

fn text<'t>(text: &'t [u8], range: &Range<usize>) -> Result<&'t [u8], InsertError> {
    text.get(range.clone()).ok_or(InsertError::Damaged)
}
