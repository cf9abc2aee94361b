//! Walks over JSON text without parsing it: where a string, a value or a member ends.
//!
//! The text is compact (no white space outside strings). Text that breaks this, or ends early,
//! gives `None`; no input panics, recurses or takes more than linear time.

use std::ops::Range;

use memchr::memchr2;

use super::MAX_DEPTH;

/// One member of an object: the bytes of its key between the quotes, and of its value.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// The end of the string whose opening quote stands at `at`.
pub(super) fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let rest = text.get(at..)?;
        let hit = memchr2(b'"', b'\\', rest)?;
        match rest.get(hit) {
            Some(b'"') => return Some(at + hit + 1),
            _ => at += hit + 2,
        }
    }
}

/// The end of the value that begins at `at`.
pub(super) fn value_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string_end(text, at),
        b'{' | b'[' => container_end(text, at),
        _ => scalar_end(text, at),
    }
}

/// The end of the object or array that opens at `at`; `None` also where it nests too deep.
pub(super) fn container_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match text.get(at)? {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return None;
                }
            }
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

fn scalar_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let len = rest
        .iter()
        .position(|byte| matches!(byte, b',' | b'}' | b']'))
        .unwrap_or(rest.len());
    (len > 0).then_some(at + len)
}

/// The items of one container, in order, each found by skipping the one before.
///
/// After the last item, `at` is the position of the closing bracket.
pub(super) struct Items<'t> {
    text: &'t [u8],
    at: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Next,
    Done,
}

impl<'t> Items<'t> {
    /// The items of the container that opens at `at`.
    pub(super) fn new(text: &'t [u8], at: usize) -> Self {
        Self {
            text,
            at: at + 1,
            state: State::First,
        }
    }

    /// Where the closing bracket stands; true only once the items have run out.
    pub(super) fn close(&self) -> usize {
        self.at
    }

    /// Moves to the next item; `Some(false)` at the closing bracket.
    fn advance(&mut self, close: u8) -> Option<bool> {
        let byte = *self.text.get(self.at)?;
        match (self.state, byte) {
            (State::Done, _) => Some(false),
            (State::First | State::Next, byte) if byte == close => {
                self.state = State::Done;
                Some(false)
            }
            (State::First, _) => {
                self.state = State::Next;
                Some(true)
            }
            (State::Next, b',') => {
                self.at += 1;
                Some(true)
            }
            _ => None,
        }
    }

    /// The next element of an array; `Some(None)` after the last.
    pub(super) fn element(&mut self) -> Option<Option<Range<usize>>> {
        if !self.advance(b']')? {
            return Some(None);
        }
        let start = self.at;
        self.at = value_end(self.text, start)?;
        Some(Some(start..self.at))
    }

    /// The next member of an object; `Some(None)` after the last.
    pub(super) fn member(&mut self) -> Option<Option<Member>> {
        if !self.advance(b'}')? {
            return Some(None);
        }
        let (key, value) = key_at(self.text, self.at)?;
        self.at = value_end(self.text, value)?;
        let value = value..self.at;
        Some(Some(Member { key, value }))
    }

    /// The start of the value under `key` (as it stands in the text); `Some(None)` where no member
    /// has it.
    pub(super) fn seek(&mut self, key: &[u8]) -> Option<Option<usize>> {
        while self.advance(b'}')? {
            if let Some(value) = value_of(self.text, self.at, key) {
                return Some(Some(value));
            }
            let (_, value) = key_at(self.text, self.at)?;
            self.at = value_end(self.text, value)?;
        }
        Some(None)
    }
}

/// The key of the member that begins at `at`, and where its value begins.
pub(super) fn key_at(text: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let end = string_end(text, at)?;
    (text.get(end) == Some(&b':')).then_some((at + 1..end - 1, end + 1))
}

/// Where the value begins, if the member that begins at `at` has this key.
///
/// `key` is in the escaped form of the text, so it cannot end inside an escape and the quote behind
/// it is the closing one.
pub(super) fn value_of(text: &[u8], at: usize, key: &[u8]) -> Option<usize> {
    let rest = text.get(at..)?.strip_prefix(b"\"")?;
    let rest = rest.strip_prefix(key)?;
    rest.starts_with(b"\":").then_some(at + key.len() + 3)
}

/// What one pass over a value shows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Levels of containers: 0 for a scalar.
    pub(super) depth: usize,
    /// No white space outside strings, and no escape that another writer may have chosen.
    pub(super) canonical: bool,
}

/// The shape of the value that fills `json`; `None` where a string or a container does not end.
pub(super) fn shape(json: &[u8]) -> Option<Shape> {
    let (mut depth, mut deepest, mut at) = (0usize, 0, 0);
    let mut canonical = true;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                let end = string_end(json, at)?;
                canonical &= !has_odd_escape(json.get(at..end)?);
                at = end;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b' ' | b'\t' | b'\n' | b'\r' => canonical = false,
            _ => {}
        }
        at += 1;
    }
    (depth == 0 && at > 0).then_some(Shape {
        depth: deepest,
        canonical,
    })
}

fn has_odd_escape(string: &[u8]) -> bool {
    memchr::memchr(b'\\', string).is_some()
        && string
            .windows(2)
            .any(|pair| matches!(pair, b"\\u" | b"\\/"))
}

#[cfg(test)]
mod tests;
