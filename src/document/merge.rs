//! Recursive merge of two objects.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use smallvec::SmallVec;

use super::{
    MAX_DEPTH, MAX_GAP,
    insertion::{InsertError, check_gap},
    path::index_of,
    scan::{Items, Member},
};

pub(super) type MemberList = SmallVec<[Member; 8]>;

/// A lookup of the members of an object by key. If keys are equal, it finds the last member.
pub(super) struct MemberLookup<'t> {
    text: &'t [u8],
    pub(super) members: MemberList,
    by_key: Option<HashMap<&'t [u8], usize>>,
}

impl<'t> MemberLookup<'t> {
    /// Maximum number of members for which comparing each key is cheaper than a map.
    const LINEAR_MAX: usize = 8;

    pub(super) fn new(text: &'t [u8], members: MemberList) -> Self {
        let keys = members.iter().enumerate();
        let by_key = (members.len() > Self::LINEAR_MAX).then(|| {
            keys.map(|(at, member)| (text.get(member.key.clone()).unwrap_or_default(), at))
                .collect()
        });
        Self {
            text,
            members,
            by_key,
        }
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        match &self.by_key {
            Some(by_key) => by_key.get(key).copied(),
            None => self
                .members
                .iter()
                .rposition(|member| self.text.get(member.key.clone()) == Some(key)),
        }
    }
}

/// Merges the object `new` into the object `old`, recursively, and writes the result to `out`.
pub(super) fn write_merged(old: &[u8], new: &[u8], out: &mut Vec<u8>) -> Result<(), InsertError> {
    let (old_range, new_range) = (0..old.len(), 0..new.len());
    Merger { old, new, out }.merge_values(old_range, new_range, 1)
}

/// Writes the members of the object `old` whose keys the object `new` does not have, and then those of
/// `new`.
pub(super) fn write_overlaid(old: &[u8], new: &[u8], out: &mut Vec<u8>) -> Result<(), InsertError> {
    let new_members = MemberLookup::new(new, read_members(new, 0)?);
    out.push(b'{');
    for member in read_members(old, 0)? {
        let key = old.get(member.key.clone()).ok_or(InsertError::Damaged)?;
        if new_members.find(key).is_none() {
            begin_item(out, b'{');
            let member = old.get(member_range(&member));
            out.extend_from_slice(member.ok_or(InsertError::Damaged)?);
        }
    }
    for member in &new_members.members {
        begin_item(out, b'{');
        let member = new.get(member_range(member));
        out.extend_from_slice(member.ok_or(InsertError::Damaged)?);
    }
    out.push(b'}');
    Ok(())
}

/// Merges values of the text `new` into values of the text `old`.
struct Merger<'t> {
    old: &'t [u8],
    new: &'t [u8],
    out: &'t mut Vec<u8>,
}

impl Merger<'_> {
    /// Merges two values. Recurses once per level.
    fn merge_values(
        &mut self,
        old: Range<usize>,
        new: Range<usize>,
        depth: usize,
    ) -> Result<(), InsertError> {
        if depth > MAX_DEPTH {
            return Err(InsertError::Damaged);
        }
        match (self.old.get(old.start), self.new.get(new.start)) {
            (Some(b'{'), Some(b'{')) => self.merge_objects(old.start, new.start, depth),
            (Some(b'['), Some(b'[')) => {
                let new = read_elements(self.new, new.start)?.into_iter().enumerate();
                self.merge_arrays(read_elements(self.old, old.start)?, new.collect(), depth)
            }
            (Some(b'['), Some(b'{')) => {
                let old = read_elements(self.old, old.start)?;
                let new = elements_by_index(self.new, new.start, old.len())?;
                self.merge_arrays(old, new, depth)
            }
            _ => self.copy_new(new),
        }
    }

    fn merge_objects(&mut self, old: usize, new: usize, depth: usize) -> Result<(), InsertError> {
        let old = read_members(self.old, old)?;
        let new = MemberLookup::new(self.new, read_members(self.new, new)?);
        let mut merged: SmallVec<[bool; 32]> = SmallVec::from_elem(false, new.members.len());
        self.out.push(b'{');
        for member in old {
            begin_item(self.out, b'{');
            let key = self.old.get(member.key.clone()).unwrap_or_default();
            let counterpart = new
                .find(key)
                .and_then(|at| Some((at, new.members.get(at)?)));
            let Some((at, new_member)) = counterpart else {
                self.copy_old(member_range(&member))?;
                continue;
            };
            if let Some(merged) = merged.get_mut(at) {
                *merged = true;
            }
            self.copy_old(member.key.start - 1..member.value.start)?;
            self.merge_values(member.value, new_member.value.clone(), depth + 1)?;
        }
        for (at, (member, merged)) in new.members.iter().zip(merged).enumerate() {
            let key = self.new.get(member.key.clone()).unwrap_or_default();
            if !merged && new.find(key) == Some(at) {
                begin_item(self.out, b'{');
                self.copy_new(member_range(member))?;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Merges new elements into an array. The new elements are sorted by index, without duplicates.
    fn merge_arrays(
        &mut self,
        old: Vec<Range<usize>>,
        new: Vec<(usize, Range<usize>)>,
        depth: usize,
    ) -> Result<(), InsertError> {
        let mut old = old.into_iter();
        let mut new = new.into_iter().peekable();
        let mut at = 0;
        self.out.push(b'[');
        loop {
            let new_element = new
                .next_if(|(index, _)| *index == at)
                .map(|(_, value)| value);
            let old_element = old.next();
            if old_element.is_none() && new_element.is_none() && new.peek().is_none() {
                break;
            }
            begin_item(self.out, b'[');
            match (old_element, new_element) {
                (Some(old), Some(new)) => self.merge_values(old, new, depth + 1)?,
                (Some(old), None) => self.copy_old(old)?,
                (None, Some(new)) => self.copy_new(new)?,
                (None, None) => self.out.extend_from_slice(b"null"),
            }
            at += 1;
        }
        self.out.push(b']');
        Ok(())
    }

    fn copy_old(&mut self, range: Range<usize>) -> Result<(), InsertError> {
        let text = self.old.get(range).ok_or(InsertError::Damaged)?;
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn copy_new(&mut self, range: Range<usize>) -> Result<(), InsertError> {
        let text = self.new.get(range).ok_or(InsertError::Damaged)?;
        self.out.extend_from_slice(text);
        Ok(())
    }
}

/// Writes the comma before an item, unless the item is the first of its container.
pub(super) fn begin_item(out: &mut Vec<u8>, open: u8) {
    if out.last() != Some(&open) {
        out.push(b',');
    }
}

/// Returns the range of a member, including the quotes of its key.
pub(super) fn member_range(member: &Member) -> Range<usize> {
    member.key.start - 1..member.value.end
}

pub(super) fn read_members(text: &[u8], at: usize) -> Result<MemberList, InsertError> {
    let mut items = Items::new(text, at);
    let mut members = MemberList::new();
    while let Some(member) = items.member().ok_or(InsertError::Damaged)? {
        members.push(member);
    }
    Ok(members)
}

pub(super) fn read_elements(text: &[u8], at: usize) -> Result<Vec<Range<usize>>, InsertError> {
    let mut items = Items::new(text, at);
    let mut elements = Vec::new();
    while let Some(element) = items.element().ok_or(InsertError::Damaged)? {
        elements.push(element);
    }
    Ok(elements)
}

/// Returns the values of an object, sorted by key, as new elements for an array of `len` elements.
///
/// # Errors
/// If a key is not an index, or the values would leave too many elements of `null`.
fn elements_by_index(
    text: &[u8],
    at: usize,
    len: usize,
) -> Result<Vec<(usize, Range<usize>)>, InsertError> {
    let mut values = BTreeMap::new();
    for member in read_members(text, at)? {
        let key = text.get(member.key).unwrap_or_default();
        values.insert(index_of(key).ok_or(InsertError::NotAnIndex)?, member.value);
    }
    let mut len = len as u64;
    let mut nulls = 0;
    let mut elements = Vec::with_capacity(values.len());
    for (index, value) in values {
        nulls += check_gap(index, len.min(index))?;
        len = len.max(index + 1);
        let at = usize::try_from(index).ok().filter(|_| nulls <= MAX_GAP);
        elements.push((at.ok_or(InsertError::IndexTooLarge(index))?, value));
    }
    Ok(elements)
}
