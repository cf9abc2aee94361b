//! Edits of an array's elements as a set or a list, and writes of absent values.

use std::mem;

use super::{
    Document, EditError, KeyPath, MalformedDocument, RawValue,
    array_cursor::ArrayWalk,
    canonical::write_canonical,
    edit::check_depth,
    equal::is_equal,
    error::path_for_display,
    escape::EscapedKey,
    read::RootMember,
    scan::{self, Items},
};

/// The JSON text of a value to write, in canonical form.
struct CanonicalValue {
    text: Vec<u8>,
    depth: usize,
}

impl Document {
    /// Writes a value that is already JSON text, like [`put_json`](Self::put_json), if the value at
    /// `path` is absent or `null`. Returns `true` if it was written.
    ///
    /// # Errors
    /// As for `put_json`.
    pub fn put_json_if_absent(
        &mut self,
        path: &KeyPath<'_>,
        json: RawValue<'_>,
    ) -> Result<bool, EditError> {
        let is_present = self.get_path(path)?.is_some_and(|value| !value.is_null());
        if !is_present {
            self.put_json(path, json)?;
        }
        Ok(!is_present)
    }

    /// Appends a value that is already JSON text to the array at `path`. An absent value and `null`
    /// count as an empty array.
    ///
    /// # Errors
    /// If the value is not an array, or as for [`put_json`](Self::put_json). The document is then
    /// unchanged.
    pub fn push_json(&mut self, path: &KeyPath<'_>, json: RawValue<'_>) -> Result<(), EditError> {
        let element = self.canonical(json)?;
        self.append(path, &element)
    }

    /// Appends a value to the array at `path`, like [`push_json`](Self::push_json), unless an element
    /// equals it. Returns `true` if it was appended.
    ///
    /// # Errors
    /// As for `push_json`.
    pub fn push_unique_json(
        &mut self,
        path: &KeyPath<'_>,
        json: RawValue<'_>,
    ) -> Result<bool, EditError> {
        let element = self.canonical(json)?;
        let array = self.array(path)?;
        if without(array, &element)?.is_some() {
            return Ok(false);
        }
        self.append(path, &element)?;
        Ok(true)
    }

    /// Removes every element that equals this value from the array at `path`. The elements after it move
    /// up. Returns `true` if there was one.
    ///
    /// # Errors
    /// If the value is not an array, absent or `null`. The document is then unchanged.
    pub fn remove_value_json(
        &mut self,
        path: &KeyPath<'_>,
        json: RawValue<'_>,
    ) -> Result<bool, EditError> {
        let element = self.canonical(json)?;
        let Some(rest) = without(self.array(path)?, &element)? else {
            return Ok(false);
        };
        // A removal makes nothing deeper.
        self.write(path, 0, |_| Ok(&rest))?;
        Ok(true)
    }

    /// Appends an element to the array at `path`. Moves only the bytes after the array, not its elements.
    fn append(&mut self, path: &KeyPath<'_>, element: &CanonicalValue) -> Result<(), EditError> {
        let depth = element.depth + 1;
        let resolved = self.resolve_root(path)?;
        let found = resolved.map(|(root, keys)| {
            let position = (root.member, keys.len());
            let range = self.array_range(root, keys);
            range.map(|range| range.map(|range| (position, range)))
        });
        let found = found
            .unwrap_or(Some(None))
            .ok_or(MalformedDocument::DAMAGED)?;
        let Some(((member, keys), (start, close))) = found else {
            // It is an error if there is another value.
            self.array(path)?;
            let array = [b"[", &element.text[..], b"]"].concat();
            return self.write(path, depth, |_| Ok(&array));
        };
        check_depth(path, keys + 1 + depth)?;
        self.prepare_edit()?;
        let mut new = mem::take(&mut self.scratch);
        new.clear();
        if close > start + 1 {
            new.push(b',');
        }
        new.extend_from_slice(&element.text);
        let result = self.splice(path, close..close, &new, member + 1);
        self.scratch = new;
        result
    }

    /// Returns the offsets of the brackets of the array under `keys` in a root member, or `Some(None)` if there is no
    /// array. Returns `None` if the text is damaged.
    fn array_range(
        &self,
        root: RootMember,
        keys: &[EscapedKey<'_>],
    ) -> Option<Option<(usize, usize)>> {
        let text = self.text();
        let Some(start) = self.descend(root.value.start, keys)? else {
            return Some(None);
        };
        if text.get(start) != Some(&b'[') {
            return Some(None);
        }
        let close = match keys {
            [] => root.value.end - 1,
            // The end is after the last element, which a loop of appends finds where the cursor is.
            _ => match self.text.cursor().walk(text, start, u64::MAX)? {
                ArrayWalk::End { close, .. } => close,
                ArrayWalk::Found(_) => return None,
            },
        };
        (text.get(close) == Some(&b']')).then_some(Some((start, close)))
    }

    fn canonical(&mut self, json: RawValue<'_>) -> Result<CanonicalValue, EditError> {
        let mut text = json.as_bytes().to_vec();
        let shape = scan::shape(&text, &mut self.scratch).ok_or(MalformedDocument::DAMAGED)?;
        if !shape.canonical {
            text.clear();
            write_canonical(json.as_bytes(), &mut text)?;
        }
        Ok(CanonicalValue {
            text,
            depth: shape.depth,
        })
    }

    /// Returns the text of the array at `path`.
    fn array(&self, path: &KeyPath<'_>) -> Result<&[u8], EditError> {
        match self.get_path(path)?.filter(|value| !value.is_null()) {
            None => Ok(b"[]"),
            Some(value) if value.as_bytes().first() == Some(&b'[') => Ok(value.as_bytes()),
            Some(_) => Err(EditError::NotAnArray {
                path: path_for_display(path),
            }),
        }
    }
}

/// Returns an array without the elements that equal `element`, or `None` if there are none.
fn without(array: &[u8], element: &CanonicalValue) -> Result<Option<Vec<u8>>, MalformedDocument> {
    let mut kept = vec![b'['];
    let mut is_found = false;
    let mut items = Items::new(array, 0);
    while let Some(range) = items.element().ok_or(MalformedDocument::DAMAGED)? {
        let text = array.get(range).ok_or(MalformedDocument::DAMAGED)?;
        if is_equal(RawValue::new(text), RawValue::new(&element.text)) {
            is_found = true;
            continue;
        }
        if kept.len() > 1 {
            kept.push(b',');
        }
        kept.extend_from_slice(text);
    }
    kept.push(b']');
    Ok(is_found.then_some(kept))
}
