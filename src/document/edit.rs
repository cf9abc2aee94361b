//! Changing a document: the text is spliced, and the index moved along.

use std::{mem, ops::Range};

use serde::Serialize;

use super::{
    Document, EditError, KeyPath, MAX_DEPTH, MalformedDocument, Number, RawValue, canonical,
    error::name,
    index,
    insertion::{self, Place, PlaceKind},
    path::Key,
    read::Root,
    scan,
    serde_impl::to_json,
};

impl Document {
    /// Puts `value` at `path`, in place of what is there.
    ///
    /// What is missing on the way is made: an array where the next key is an index, else an object.
    /// Scalars on the way are replaced. Past the end of an array, null fills the gap.
    ///
    /// # Errors
    /// As [`EditError`] says; the document is then as it was.
    pub fn put<'p, T: Serialize + ?Sized>(
        &mut self,
        path: impl Into<KeyPath<'p>>,
        value: &T,
    ) -> Result<(), EditError> {
        let path = path.into();
        let mut json = Vec::new();
        to_json(value, &mut json).map_err(|source| EditError::unserializable(&path, source))?;
        self.put_json(&path, RawValue::new(&json))
    }

    /// Puts a value that is JSON text already, as [`put`](Self::put) does.
    ///
    /// # Errors
    /// As `put`.
    pub fn put_json(&mut self, path: &KeyPath<'_>, json: RawValue<'_>) -> Result<(), EditError> {
        let shape = scan::shape(json.as_bytes()).ok_or(MalformedDocument::DAMAGED)?;
        if !shape.canonical {
            let mut canonical = Vec::new();
            canonical::canonical(json.as_bytes(), &mut canonical)?;
            return self.write(path, shape.depth, |_| Ok(&canonical));
        }
        self.write(path, shape.depth, |_| Ok(json.as_bytes()))
    }

    /// Takes the value at `path` out, and says whether there was one. An element of an array becomes
    /// null, so that the others keep their index.
    ///
    /// # Errors
    /// When the document is damaged on the way; it is then as it was.
    pub fn forget<'p>(&mut self, path: impl Into<KeyPath<'p>>) -> Result<bool, EditError> {
        let path = path.into();
        let Some((root, keys)) = self.root_of(&path)? else {
            return Ok(false);
        };
        let Some((last, parents)) = keys.split_last() else {
            self.own()?;
            self.remove_root(root.member)?;
            return Ok(true);
        };
        let found = find_to_forget(self.text(), root.value.clone(), parents, last);
        let Some((range, null)) = found.ok_or(MalformedDocument::DAMAGED)? else {
            return Ok(false);
        };
        self.own()?;
        self.splice(&path, range, null, root.member + 1)?;
        Ok(true)
    }

    /// Adds `by` to the number at `path`, and gives the sum. Where nothing or null is, it is `by`.
    ///
    /// # Errors
    /// When something else than a number is there, the sum does not fit, or as for
    /// [`put`](Self::put); the document is then as it was.
    pub fn add<'p>(
        &mut self,
        path: impl Into<KeyPath<'p>>,
        by: impl Into<Number>,
    ) -> Result<Number, EditError> {
        self.count(&path.into(), |number| number.checked_add(by.into()))
    }

    /// Subtracts `by` from the number at `path`, otherwise as [`add`](Self::add).
    ///
    /// # Errors
    /// As `add`.
    pub fn subtract<'p>(
        &mut self,
        path: impl Into<KeyPath<'p>>,
        by: impl Into<Number>,
    ) -> Result<Number, EditError> {
        self.count(&path.into(), |number| number.checked_sub(by.into()))
    }

    /// Takes every member out.
    pub fn clear(&mut self) {
        self.text.cleared().extend_from_slice(b"{}");
        self.index.cleared();
    }

    fn count(
        &mut self,
        path: &KeyPath<'_>,
        sum: impl FnOnce(Number) -> Option<Number>,
    ) -> Result<Number, EditError> {
        let mut counted = Number::Int(0);
        let mut space = [0; Number::LONGEST];
        self.write(path, 0, |old| {
            let number = match old {
                Some(value) if !value.is_null() => value.number(),
                _ => Some(Number::Int(0)),
            };
            let number = number.ok_or_else(|| EditError::NotANumber { path: name(path) })?;
            counted = sum(number).ok_or_else(|| EditError::Overflow { path: name(path) })?;
            Ok(counted.write_json(&mut space))
        })?;
        Ok(counted)
    }

    /// Writes at `path` what `json` makes of the value that is there. It is `depth` levels deep.
    fn write<'j>(
        &mut self,
        path: &KeyPath<'_>,
        depth: usize,
        json: impl FnOnce(Option<RawValue<'_>>) -> Result<&'j [u8], EditError>,
    ) -> Result<(), EditError> {
        self.own()?;
        let mut new = mem::take(&mut self.scratch);
        new.clear();
        let written = self.write_with(path, depth, json, &mut new);
        self.scratch = new;
        written
    }

    fn write_with<'j>(
        &mut self,
        path: &KeyPath<'_>,
        depth: usize,
        json: impl FnOnce(Option<RawValue<'_>>) -> Result<&'j [u8], EditError>,
        new: &mut Vec<u8>,
    ) -> Result<(), EditError> {
        let first = path.keys().first().ok_or(EditError::EmptyPath)?;
        let (place, keys, member) = match self.root_of(path)? {
            Some((Root { member, value }, keys)) => {
                let place = insertion::locate(self.text(), value, keys);
                (place.map_err(|no| no.at(path))?, keys, Some(member))
            }
            None => (self.new_root(), path.keys(), None),
        };
        let above = keys.len() + usize::from(member.is_some());
        if above + depth > MAX_DEPTH {
            let path = name(path);
            let max = MAX_DEPTH;
            return Err(EditError::TooDeep { path, max });
        }
        let is_there = place.kind == PlaceKind::Value && place.followed == keys.len();
        let old = self.text().get(place.range.clone()).filter(|_| is_there);
        let json = json(old.map(RawValue::new))?;
        insertion::write(&place, keys, json, new).map_err(|no| no.at(path))?;
        match member {
            Some(member) => self.splice(path, place.range, new, member + 1),
            None => self.splice_root(path, place, new, first),
        }
    }

    /// The place for a new root member.
    fn new_root(&self) -> Place {
        let at = self.text().len() - 1;
        Place {
            range: at..at,
            kind: PlaceKind::Member {
                first: self.is_empty(),
            },
            followed: 0,
        }
    }

    fn splice_root(
        &mut self,
        path: &KeyPath<'_>,
        place: Place,
        new: &[u8],
        key: &[u8],
    ) -> Result<(), EditError> {
        let start = place.range.start + usize::from(!self.is_empty());
        self.splice(path, place.range, new, self.len())?;
        self.index
            .to_mut()
            .extend_from_slice(&index::entry(start, key));
        Ok(())
    }

    fn remove_root(&mut self, member: usize) -> Result<(), MalformedDocument> {
        let bounds = (
            index::offset(self.index.as_slice(), member),
            self.member_end(member),
        );
        let (Some(start), Some(end)) = bounds else {
            return Err(MalformedDocument::DAMAGED);
        };
        let range = with_comma(self.text(), start..end);
        let delta = -(range.len() as isize);
        replace(self.text.to_mut(), range, b"").ok_or(MalformedDocument::DAMAGED)?;
        index::shift(self.index.to_mut(), member + 1, delta);
        index::remove(self.index.to_mut(), member);
        Ok(())
    }

    /// Replaces a range of the text, and moves the members from `behind` on. The document is
    /// [own](Self::own)ed.
    fn splice(
        &mut self,
        path: &KeyPath<'_>,
        range: Range<usize>,
        new: &[u8],
        behind: usize,
    ) -> Result<(), EditError> {
        let delta = new.len() as isize - range.len() as isize;
        let size = self.text().len().saturating_add_signed(delta);
        if delta > 0 {
            self.check_size(path, size)?;
        }
        replace(self.text.to_mut(), range, new).ok_or(MalformedDocument::DAMAGED)?;
        index::shift(self.index.to_mut(), behind, delta);
        Ok(())
    }

    pub(super) fn check_size(&self, path: &KeyPath<'_>, size: usize) -> Result<(), EditError> {
        if size <= self.limit {
            return Ok(());
        }
        let (path, limit) = (name(path), self.limit);
        Err(EditError::TooLarge { path, size, limit })
    }

    /// Makes text and index ready for edits, which rely on a sound index.
    fn own(&mut self) -> Result<(), MalformedDocument> {
        if self.text.is_edited() && self.index.is_edited() {
            return Ok(());
        }
        if !index::is_sound(self.index.as_slice(), self.text.as_slice()) {
            return Err(MalformedDocument::DAMAGED);
        }
        self.text.to_mut();
        self.index.to_mut();
        Ok(())
    }
}

/// What to replace, and by what, so that the value under `last` is gone.
type Removal = Option<(Range<usize>, &'static [u8])>;

fn find_to_forget(
    text: &[u8],
    value: Range<usize>,
    parents: &[Key<'_>],
    last: &[u8],
) -> Option<Removal> {
    let Some(parent) = super::read::descend(text, value, parents)? else {
        return Some(None);
    };
    let Some(start) = super::read::step(text, parent.start, last)? else {
        return Some(None);
    };
    let range = start..scan::value_end(text, start)?;
    if text.get(parent.start) == Some(&b'[') {
        return Some(Some((range, b"null")));
    }
    let member = start.checked_sub(last.len() + 3)?..range.end;
    Some(Some((with_comma(text, member), b"")))
}

/// The range of a member with the one comma that goes away with it.
fn with_comma(text: &[u8], member: Range<usize>) -> Range<usize> {
    if text.get(member.end) == Some(&b',') {
        member.start..member.end + 1
    } else if member.start > 0 && text.get(member.start - 1) == Some(&b',') {
        member.start - 1..member.end
    } else {
        member
    }
}

/// Replaces a range of `text`, moving what follows at most once.
fn replace(text: &mut Vec<u8>, range: Range<usize>, new: &[u8]) -> Option<()> {
    let old_len = text.len();
    text.get(range.clone())?;
    let end = range.start + new.len();
    let len = old_len - range.len() + new.len();
    if len > old_len {
        text.resize(len, 0);
    }
    if end != range.end {
        text.copy_within(range.end..old_len, end);
    }
    text.truncate(len);
    text.get_mut(range.start..end)?.copy_from_slice(new);
    Some(())
}
