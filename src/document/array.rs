//! Edits of an array's elements as a set or a list, and writes of absent values.

use super::{
    Document, EditError, KeyPath, MalformedDocument, RawValue,
    canonical::write_canonical,
    equal::is_equal,
    error::path_for_display,
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
        let array = self.array(path)?;
        let new = append(array, &element);
        self.write(path, element.depth + 1, |_| Ok(&new))
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
        let new = append(array, &element);
        self.write(path, element.depth + 1, |_| Ok(&new))?;
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

/// Returns an array with one more element.
fn append(array: &[u8], element: &CanonicalValue) -> Vec<u8> {
    let mut new = Vec::with_capacity(array.len() + element.text.len() + 1);
    new.extend_from_slice(array.strip_suffix(b"]").unwrap_or(array));
    if new.len() > 1 {
        new.push(b',');
    }
    new.extend_from_slice(&element.text);
    new.push(b']');
    new
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
