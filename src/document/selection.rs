//! Selection of values by the names of form fields.

use std::ops::Range;

use super::{
    Document, EditError, KeyPath, MalformedDocument, RawValue,
    escape::{EscapedKey, unescape_key},
    merge::{begin_item, member_range},
    path::index_of,
    scan::Items,
};

impl Document {
    /// Returns a document with the values at these paths.
    pub(crate) fn select(&self, paths: &[&str]) -> Result<Self, EditError> {
        let mut selected = Self::new();
        for text in paths {
            let is_literal = self.get([*text])?.is_some();
            let path = if is_literal {
                KeyPath::from([*text])
            } else {
                KeyPath::from(*text)
            };
            if let Some(value) = self.get(&path)? {
                selected.put_json(&path, value)?;
            }
        }
        Ok(selected)
    }

    /// Returns a document without the values that one of these paths can name. `a.b` names the member
    /// `b` of the member `a`, and also a member with the literal key `a.b` or `a[b]`. `a[]` names all
    /// elements of `a`.
    pub(crate) fn except(mut self, paths: &[&str]) -> Result<Self, MalformedDocument> {
        for path in paths {
            let mut out = Vec::with_capacity(self.text().len());
            let mut filter = NameFilter {
                text: self.text(),
                out: &mut out,
            };
            let filtered = filter.write(0..self.text().len(), KeyPath::from(*path).keys());
            filtered.ok_or(MalformedDocument::DAMAGED)?;
            self.load_object(RawValue::new(&out))?;
        }
        Ok(self)
    }
}

impl Document {
    /// Returns a document without the members that have one of these names, at any level and in any case.
    /// A literal key that contains the name between dots or brackets, such as `user[pin]`, is left out too.
    pub(crate) fn without_names(mut self, names: &[String]) -> Result<Self, MalformedDocument> {
        let mut out = Vec::with_capacity(self.text().len());
        let mut filter = LevelFilter {
            text: self.text(),
            names,
            out: &mut out,
        };
        let filtered = filter.write(0..self.text().len());
        filtered.ok_or(MalformedDocument::DAMAGED)?;
        self.load_object(RawValue::new(&out))?;
        Ok(self)
    }
}

/// Copies a text without the members of some names.
struct LevelFilter<'t> {
    text: &'t [u8],
    names: &'t [String],
    out: &'t mut Vec<u8>,
}

impl LevelFilter<'_> {
    /// Writes a value. Recurses once per level: a document nests at most `MAX_DEPTH` levels. Returns
    /// `None` if the text is damaged.
    fn write(&mut self, value: Range<usize>) -> Option<()> {
        match self.text.get(value.start)? {
            open @ b'{' => {
                let mut items = Items::new(self.text, value.start);
                self.out.push(*open);
                while let Some(member) = items.member()? {
                    let key = unescape_key(self.text, member.key.start, member.key.end)?;
                    if !self.is_secret(&key) {
                        begin_item(self.out, *open);
                        self.copy(member.key.start - 1..member.value.start)?;
                        self.write(member.value)?;
                    }
                }
                self.out.push(b'}');
            }
            open @ b'[' => {
                let mut items = Items::new(self.text, value.start);
                self.out.push(*open);
                while let Some(element) = items.element()? {
                    begin_item(self.out, *open);
                    self.write(element)?;
                }
                self.out.push(b']');
            }
            _ => self.copy(value)?,
        }
        Some(())
    }

    fn is_secret(&self, key: &str) -> bool {
        let is_name = |part: &str| {
            self.names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(part))
        };
        is_name(key) || key.split(['.', '[', ']']).any(is_name)
    }

    fn copy(&mut self, range: Range<usize>) -> Option<()> {
        self.out.extend_from_slice(self.text.get(range)?);
        Some(())
    }
}

/// Copies a text without the values that a path can name.
struct NameFilter<'t> {
    text: &'t [u8],
    out: &'t mut Vec<u8>,
}

impl NameFilter<'_> {
    /// Writes the value without the values that `names` can name in it. Recurses at most once per name.
    /// Returns `None` if the text is damaged.
    fn write(&mut self, value: Range<usize>, names: &[EscapedKey<'_>]) -> Option<()> {
        match self.text.get(value.start)? {
            b'{' => self.write_object(value.start, names),
            b'[' => self.write_array(value.start, names),
            _ => self.copy(value),
        }
    }

    fn write_object(&mut self, at: usize, names: &[EscapedKey<'_>]) -> Option<()> {
        let mut items = Items::new(self.text, at);
        self.out.push(b'{');
        while let Some(member) = items.member()? {
            let key = unescape_key(self.text, member.key.start, member.key.end)?;
            let rest = names.strip_prefix(KeyPath::from(&*key).keys());
            if rest.is_some_and(|rest| self.is_named(&member.value, rest)) {
                continue;
            }
            begin_item(self.out, b'{');
            match rest {
                Some(rest) => {
                    self.copy(member.key.start - 1..member.value.start)?;
                    self.write(member.value, rest)?;
                }
                None => self.copy(member_range(&member))?,
            }
        }
        self.out.push(b'}');
        Some(())
    }

    /// A named element becomes `null`, so that the other elements keep their index.
    fn write_array(&mut self, at: usize, names: &[EscapedKey<'_>]) -> Option<()> {
        let mut items = Items::new(self.text, at);
        let (first, rest) = names.split_first()?;
        let mut index = 0;
        self.out.push(b'[');
        while let Some(element) = items.element()? {
            begin_item(self.out, b'[');
            let is_match = first.is_empty() || index_of(first) == Some(index);
            match is_match {
                true if self.is_named(&element, rest) => self.out.extend_from_slice(b"null"),
                true => self.write(element, rest)?,
                false => self.copy(element)?,
            }
            index += 1;
        }
        self.out.push(b']');
        Some(())
    }

    /// Returns `true` if `names`, which follow the names that lead to the value, name all of it.
    fn is_named(&self, value: &Range<usize>, names: &[EscapedKey<'_>]) -> bool {
        let is_array = self.text.get(value.start) == Some(&b'[');
        match names {
            [] => true,
            [elements] => elements.is_empty() && is_array,
            _ => false,
        }
    }

    fn copy(&mut self, range: Range<usize>) -> Option<()> {
        self.out.extend_from_slice(self.text.get(range)?);
        Some(())
    }
}
