//! Merging one object into another, deep.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    ops::Range,
};

use serde::Serialize;
use smallvec::SmallVec;

use super::{
    Document, EditError, KeyPath, MAX_DEPTH, MAX_GAP, MalformedDocument, RawValue, canonical,
    error::name,
    insertion::{NoPlace, small_gap},
    path::index_of,
    scan::{self, Items, Member},
    serde_impl::to_json,
};

impl Document {
    /// Merges the members of `values`, an object, into this one, deep.
    ///
    /// Objects merge by key, arrays by index; `null` and every other scalar replaces what was there.
    /// An object merges into an array if its keys are indexes. An array replaces an object. Keys are
    /// taken as they stand, dots and all.
    ///
    /// # Errors
    /// When the values are not an object, or as [`EditError`] says; the document is then as it was.
    pub fn merge<T: Serialize + ?Sized>(&mut self, values: &T) -> Result<(), EditError> {
        let mut json = Vec::new();
        to_json(values, &mut json).map_err(|source| EditError::unserializable(&root(), source))?;
        self.merge_json(RawValue::new(&json))
    }

    /// Merges an object that is JSON text already, as [`merge`](Self::merge) does.
    ///
    /// # Errors
    /// As `merge`.
    pub fn merge_json(&mut self, values: RawValue<'_>) -> Result<(), EditError> {
        let json = values.as_bytes();
        if json.first() != Some(&b'{') {
            return Err(EditError::NotAnObject);
        }
        let shape = scan::shape(json).ok_or(MalformedDocument::DAMAGED)?;
        if shape.depth > MAX_DEPTH {
            let path = name(&root());
            return Err(EditError::TooDeep {
                path,
                max: MAX_DEPTH,
            });
        }
        let mut canonical = Vec::new();
        let json = if shape.canonical {
            json
        } else {
            canonical::canonical(json, &mut canonical)?;
            &canonical
        };
        let mut merged = mem::take(&mut self.scratch);
        merged.clear();
        let result = Merge {
            old: self.text(),
            new: json,
            out: &mut merged,
        }
        .value(0..self.text().len(), 0..json.len(), 1)
        .map_err(|no| no.at(&root()))
        .and_then(|()| self.check_size(&root(), merged.len()));
        self.scratch = merged;
        result.and_then(|()| Ok(self.take_scratch()?))
    }

    /// Becomes the text in the scratch buffer; that one gets the old text's buffer.
    pub(super) fn take_scratch(&mut self) -> Result<(), MalformedDocument> {
        mem::swap(self.text.cleared(), &mut self.scratch);
        self.reindex()
    }
}

fn root() -> KeyPath<'static> {
    KeyPath::from_keys::<str>([])
}

pub(super) type Members = SmallVec<[Member; 8]>;

/// The members of an object, found by key. Of equal keys only the last is found.
pub(super) struct Lookup<'t> {
    text: &'t [u8],
    pub(super) members: Members,
    by_key: Option<HashMap<&'t [u8], usize>>,
}

impl<'t> Lookup<'t> {
    /// Up to here, trying every member is cheaper than a map.
    const FEW: usize = 8;

    pub(super) fn new(text: &'t [u8], members: Members) -> Self {
        let keys = members.iter().enumerate();
        let by_key = (members.len() > Self::FEW).then(|| {
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

/// Merges values of the text `new` into values of the text `old`.
struct Merge<'t> {
    old: &'t [u8],
    new: &'t [u8],
    out: &'t mut Vec<u8>,
}

impl Merge<'_> {
    /// Recurses once for each level of both values.
    fn value(&mut self, old: Range<usize>, new: Range<usize>, depth: usize) -> Result<(), NoPlace> {
        if depth > MAX_DEPTH {
            return Err(NoPlace::Damaged);
        }
        match (self.old.get(old.start), self.new.get(new.start)) {
            (Some(b'{'), Some(b'{')) => self.objects(old.start, new.start, depth),
            (Some(b'['), Some(b'[')) => {
                let new = elements(self.new, new.start)?.into_iter().enumerate();
                self.array(elements(self.old, old.start)?, new.collect(), depth)
            }
            (Some(b'['), Some(b'{')) => {
                let old = elements(self.old, old.start)?;
                let new = by_index(self.new, new.start, old.len())?;
                self.array(old, new, depth)
            }
            _ => self.copy_new(new),
        }
    }

    fn objects(&mut self, old: usize, new: usize, depth: usize) -> Result<(), NoPlace> {
        let old = members(self.old, old)?;
        let new = Lookup::new(self.new, members(self.new, new)?);
        let mut merged: SmallVec<[bool; 32]> = SmallVec::from_elem(false, new.members.len());
        self.out.push(b'{');
        for member in old {
            begin_item(self.out, b'{');
            let key = self.old.get(member.key.clone()).unwrap_or_default();
            let found = new
                .find(key)
                .and_then(|at| Some((at, new.members.get(at)?)));
            let Some((at, other)) = found else {
                self.copy_old(whole(&member))?;
                continue;
            };
            if let Some(merged) = merged.get_mut(at) {
                *merged = true;
            }
            self.copy_old(member.key.start - 1..member.value.start)?;
            self.value(member.value, other.value.clone(), depth + 1)?;
        }
        for (at, (member, merged)) in new.members.iter().zip(merged).enumerate() {
            let key = self.new.get(member.key.clone()).unwrap_or_default();
            if !merged && new.find(key) == Some(at) {
                begin_item(self.out, b'{');
                self.copy_new(whole(member))?;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Merges new elements, each once and in the order of their index, into those of an array.
    fn array(
        &mut self,
        old: Vec<Range<usize>>,
        new: Vec<(usize, Range<usize>)>,
        depth: usize,
    ) -> Result<(), NoPlace> {
        let mut old = old.into_iter();
        let mut new = new.into_iter().peekable();
        let mut at = 0;
        self.out.push(b'[');
        loop {
            let other = new
                .next_if(|(index, _)| *index == at)
                .map(|(_, value)| value);
            let element = old.next();
            if element.is_none() && other.is_none() && new.peek().is_none() {
                break;
            }
            begin_item(self.out, b'[');
            match (element, other) {
                (Some(element), Some(other)) => self.value(element, other, depth + 1)?,
                (Some(element), None) => self.copy_old(element)?,
                (None, Some(other)) => self.copy_new(other)?,
                (None, None) => self.out.extend_from_slice(b"null"),
            }
            at += 1;
        }
        self.out.push(b']');
        Ok(())
    }

    fn copy_old(&mut self, range: Range<usize>) -> Result<(), NoPlace> {
        let text = self.old.get(range).ok_or(NoPlace::Damaged)?;
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn copy_new(&mut self, range: Range<usize>) -> Result<(), NoPlace> {
        let text = self.new.get(range).ok_or(NoPlace::Damaged)?;
        self.out.extend_from_slice(text);
        Ok(())
    }
}

/// Writes the comma that an item needs, unless its container has just been opened.
pub(super) fn begin_item(out: &mut Vec<u8>, open: u8) {
    if out.last() != Some(&open) {
        out.push(b',');
    }
}

/// The range of a member with its key's quotes.
pub(super) fn whole(member: &Member) -> Range<usize> {
    member.key.start - 1..member.value.end
}

pub(super) fn members(text: &[u8], at: usize) -> Result<Members, NoPlace> {
    let mut items = Items::new(text, at);
    let mut members = Members::new();
    while let Some(member) = items.member().ok_or(NoPlace::Damaged)? {
        members.push(member);
    }
    Ok(members)
}

fn elements(text: &[u8], at: usize) -> Result<Vec<Range<usize>>, NoPlace> {
    let mut items = Items::new(text, at);
    let mut elements = Vec::new();
    while let Some(element) = items.element().ok_or(NoPlace::Damaged)? {
        elements.push(element);
    }
    Ok(elements)
}

/// The values of an object in the order of its keys, if every key is an index that an array of
/// `len` elements can be given.
fn by_index(text: &[u8], at: usize, len: usize) -> Result<Vec<(usize, Range<usize>)>, NoPlace> {
    let mut values = BTreeMap::new();
    for member in members(text, at)? {
        let key = text.get(member.key).unwrap_or_default();
        values.insert(index_of(key).ok_or(NoPlace::NotAnIndex)?, member.value);
    }
    let mut len = len as u64;
    let mut nulls = 0;
    let mut placed = Vec::with_capacity(values.len());
    for (index, value) in values {
        nulls += small_gap(index, len.min(index))?;
        len = len.max(index + 1);
        let at = usize::try_from(index).ok().filter(|_| nulls <= MAX_GAP);
        placed.push((at.ok_or(NoPlace::TooFar(index))?, value));
    }
    Ok(placed)
}
