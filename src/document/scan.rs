//! Scans of JSON text without parsing it: the ends of strings, values and members.
//!
//! The text is compact: it has no white space outside strings. Text that breaks this rule, or ends
//! early, gives `None`. The functions do not panic or recurse, and take linear time on any input.

use std::ops::Range;

use memchr::memchr2;

use super::{MAX_DEPTH, escape::unescape_key};

/// The byte ranges of an object member: its key without the quotes, and its value.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Returns the end of the string whose opening quote is at `at`.
pub(super) fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let rest = text.get(at..)?;
        let hit = find_quote_or_backslash(rest)?;
        match rest.get(hit) {
            Some(b'"') => return Some(at + hit + 1),
            _ => at += hit + 2,
        }
    }
}

/// Finds the first quote or backslash.
///
/// Compares eight bytes at a time at first: most strings are too short for a vector search to pay
/// off.
fn find_quote_or_backslash(text: &[u8]) -> Option<usize> {
    const SHORT_WORDS: usize = 6;
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().take(SHORT_WORDS).enumerate() {
        let word = u64::from_le_bytes(*word);
        let hits = match_bytes(word, b'"') | match_bytes(word, b'\\');
        if hits != 0 {
            return Some(at * 8 + hits.trailing_zeros() as usize / 8);
        }
    }
    if words.len() > SHORT_WORDS {
        return Some(SHORT_WORDS * 8 + memchr2(b'"', b'\\', text.get(SHORT_WORDS * 8..)?)?);
    }
    let hit = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(words.len() * 8 + hit)
}

/// Sets the high bit of each byte of `word` that equals `byte`. Only the lowest set bit is reliable:
/// the subtraction borrows, so higher bytes may be set in error.
const fn match_bytes(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let zeros = word ^ u64::from_le_bytes([byte; 8]);
    zeros.wrapping_sub(ONES) & !zeros & HIGHS
}

/// Returns the end of the value that begins at `at`.
pub(super) fn value_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string_end(text, at),
        b'{' | b'[' => container_end(text, at),
        _ => scalar_end(text, at),
    }
}

/// Returns the end of the object or array that opens at `at`. Returns `None` also if it nests too
/// deeply.
pub(super) fn container_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    while let Some(byte) = text.get(at) {
        match byte_class(*byte) {
            PLAIN | SPACE => {}
            QUOTE => {
                at = string_end(text, at)?;
                continue;
            }
            OPEN if depth == MAX_DEPTH => return None,
            OPEN => depth += 1,
            _ => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
        }
        at += 1;
    }
    None
}

const PLAIN: u8 = 0;
const SPACE: u8 = 1;
const QUOTE: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;

/// Returns the class of a byte outside a string.
fn byte_class(byte: u8) -> u8 {
    const CLASSES: [u8; 256] = {
        let mut classes = [PLAIN; 256];
        classes[b'"' as usize] = QUOTE;
        classes[b'{' as usize] = OPEN;
        classes[b'[' as usize] = OPEN;
        classes[b'}' as usize] = CLOSE;
        classes[b']' as usize] = CLOSE;
        classes[b' ' as usize] = SPACE;
        classes[b'\t' as usize] = SPACE;
        classes[b'\n' as usize] = SPACE;
        classes[b'\r' as usize] = SPACE;
        classes
    };
    CLASSES[byte as usize]
}

fn scalar_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let len = rest
        .iter()
        .position(|byte| matches!(byte, b',' | b'}' | b']'))
        .unwrap_or(rest.len());
    (len > 0).then_some(at + len)
}

/// An iterator over the elements or members of one container, in order.
///
/// After the last item, `at` is the offset of the closing bracket.
pub(super) struct Items<'t> {
    text: &'t [u8],
    at: usize,
    state: ItemsState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ItemsState {
    First,
    Next,
    Done,
}

impl<'t> Items<'t> {
    /// Starts at the container that opens at `at`.
    pub(super) fn new(text: &'t [u8], at: usize) -> Self {
        Self::from_item(text, at + 1)
    }

    /// Starts at an item, or at the end of an empty container.
    pub(super) fn from_item(text: &'t [u8], at: usize) -> Self {
        Self {
            text,
            at,
            state: ItemsState::First,
        }
    }

    /// Returns the offset of the closing bracket. Valid only after the last item.
    pub(super) fn close_offset(&self) -> usize {
        self.at
    }

    /// Moves to the next item. Returns `Some(false)` at the closing bracket.
    fn advance(&mut self, close: u8) -> Option<bool> {
        let byte = *self.text.get(self.at)?;
        match (self.state, byte) {
            (ItemsState::Done, _) => Some(false),
            (ItemsState::First | ItemsState::Next, byte) if byte == close => {
                self.state = ItemsState::Done;
                Some(false)
            }
            (ItemsState::First, _) => {
                self.state = ItemsState::Next;
                Some(true)
            }
            (ItemsState::Next, b',') => {
                self.at += 1;
                Some(true)
            }
            _ => None,
        }
    }

    /// Returns the next element of an array, and `Some(None)` after the last.
    pub(super) fn element(&mut self) -> Option<Option<Range<usize>>> {
        if !self.advance(b']')? {
            return Some(None);
        }
        let start = self.at;
        self.at = value_end(self.text, start)?;
        Some(Some(start..self.at))
    }

    /// Returns the next member of an object, and `Some(None)` after the last.
    pub(super) fn member(&mut self) -> Option<Option<Member>> {
        if !self.advance(b'}')? {
            return Some(None);
        }
        let (key, value) = key_at(self.text, self.at)?;
        self.at = value_end(self.text, value)?;
        let value = value..self.at;
        Some(Some(Member { key, value }))
    }

    /// Returns the start of the value under `key`, which is in escaped form. Returns `Some(None)` if no
    /// member has this key.
    pub(super) fn seek(&mut self, key: &[u8]) -> Option<Option<usize>> {
        while self.advance(b'}')? {
            if let Some(value) = match_key(self.text, self.at, key) {
                return Some(Some(value));
            }
            let (_, value) = key_at(self.text, self.at)?;
            self.at = value_end(self.text, value)?;
        }
        Some(None)
    }
}

/// Returns the key of the member that begins at `at`, and the start of its value.
pub(super) fn key_at(text: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let end = string_end(text, at)?;
    (text.get(end) == Some(&b':')).then_some((at + 1..end - 1, end + 1))
}

/// Returns the start of the value if the member that begins at `at` has this key.
///
/// `key` is in the escaped form of the text. So it cannot end inside an escape, and the quote after
/// it is the closing quote.
pub(super) fn match_key(text: &[u8], at: usize, key: &[u8]) -> Option<usize> {
    let end = at + key.len() + 3;
    match text.get(at..end)? {
        [b'"', found @ .., b'"', b':'] if found == key => Some(end),
        _ => None,
    }
}

/// Returns the keys and indexes that lead to the end of `json`, the start of a value's text.
pub(super) fn open_keys(json: &[u8]) -> Vec<String> {
    /// An open container: an object with its last key, or an array with an index.
    enum Open {
        Object(String),
        Array(usize),
    }
    let (mut open, mut at) = (Vec::new(), 0);
    while let Some(byte) = json.get(at) {
        match (byte, open.last_mut()) {
            (b'"', last) => {
                let Some(end) = string_end(json, at) else {
                    break;
                };
                if json.get(end) == Some(&b':')
                    && let Some(Open::Object(key)) = last
                {
                    *key = unescape_key(json, at + 1, end - 1)
                        .unwrap_or_default()
                        .into_owned();
                }
                at = end;
                continue;
            }
            (b'{', _) => open.push(Open::Object(String::new())),
            (b'[', _) => open.push(Open::Array(0)),
            (b'}' | b']', _) => drop(open.pop()),
            (b',', Some(Open::Array(index))) => *index += 1,
            _ => {}
        }
        at += 1;
    }
    let keys = open.into_iter().map(|container| match container {
        Open::Object(key) => key,
        Open::Array(index) => index.to_string(),
    });
    keys.collect()
}

/// The depth and spelling of a value, found by one scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Levels of containers; 0 for a scalar.
    pub(super) depth: usize,
    /// `true` if there is no white space outside strings, no escape that this crate does not write,
    /// and no object with equal keys. May be `false` by chance if keys have the same fingerprint.
    pub(super) canonical: bool,
}

/// Returns the shape of the value that fills `json`, or `None` if a string or container does not end.
///
/// Overwrites `fingerprints`, which only lends its memory. A scalar needs none.
pub(super) fn shape(json: &[u8], fingerprints: &mut Vec<u8>) -> Option<Shape> {
    if json.first().is_some_and(|first| byte_class(*first) == OPEN) {
        scan_shape::<true>(json, fingerprints)
    } else {
        // A scalar, or text with white space, which is not canonical anyway.
        scan_shape::<false>(json, fingerprints)
    }
}

/// Compares keys only if `KEYS`, so that a scalar has no cost for them.
#[inline]
fn scan_shape<const KEYS: bool>(json: &[u8], fingerprints: &mut Vec<u8>) -> Option<Shape> {
    let (mut depth, mut deepest, mut at) = (0usize, 0, 0);
    let mut canonical = true;
    let mut keys = OpenKeys::new(fingerprints);
    while let Some(byte) = json.get(at) {
        match byte_class(*byte) {
            QUOTE => {
                let end = string_end(json, at)?;
                let string = json.get(at..end)?;
                canonical &= !has_noncanonical_escape(string);
                if KEYS && json.get(end) == Some(&b':') {
                    keys.push(fingerprint(string));
                }
                at = end;
                continue;
            }
            OPEN => {
                depth += 1;
                deepest = deepest.max(depth);
                if KEYS && *byte == b'{' {
                    keys.open(json.len());
                }
            }
            CLOSE => {
                depth = depth.checked_sub(1)?;
                if KEYS && *byte == b'}' {
                    canonical &= !keys.close();
                }
            }
            SPACE => canonical = false,
            _ => {}
        }
        at += 1;
    }
    (depth == 0 && at > 0).then_some(Shape {
        depth: deepest,
        canonical,
    })
}

/// The fingerprints of the keys in each open object, as one stack.
///
/// An object begins with an entry that holds the start of the enclosing object.
struct OpenKeys<'b> {
    entries: &'b mut Vec<u8>,
    /// The offset of the first fingerprint of the innermost object.
    start: usize,
}

/// Length of an entry in bytes.
const ENTRY: usize = size_of::<u32>();

impl<'b> OpenKeys<'b> {
    fn new(entries: &'b mut Vec<u8>) -> Self {
        entries.clear();
        Self { entries, start: 0 }
    }

    /// Opens an object in a text of `len` bytes.
    fn open(&mut self, len: usize) {
        if self.entries.is_empty() {
            // Fits most texts, and the edit needs as much memory for the text itself.
            self.entries.reserve(len);
        }
        self.push(self.start as u32);
        self.start = self.entries.len();
    }

    fn push(&mut self, entry: u32) {
        self.entries.extend_from_slice(&entry.to_le_bytes());
    }

    /// Closes the innermost object. Returns `true` if two of its keys have the same fingerprint.
    fn close(&mut self) -> bool {
        let start = self.start;
        let has_equal = has_equal_entries(self.entries.get_mut(start..).unwrap_or_default());
        self.entries.truncate(start);
        if let Some((_, outer)) = self.entries.split_last_chunk::<ENTRY>() {
            self.start = u32::from_le_bytes(*outer) as usize;
            self.entries.truncate(start - ENTRY);
        }
        has_equal
    }
}

fn has_equal_entries(entries: &mut [u8]) -> bool {
    /// Up to this number of entries, comparing all pairs is cheaper than sorting.
    const PAIRWISE_MAX: usize = 16;
    let entries = entries.as_chunks_mut::<ENTRY>().0;
    if entries.len() > PAIRWISE_MAX {
        entries.sort_unstable();
        return entries
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a == b));
    }
    let mut rest = &*entries;
    while let [first, others @ ..] = rest {
        // Compares all, without a branch for each.
        if others
            .iter()
            .fold(false, |equal, other| equal | (other == first))
        {
            return true;
        }
        rest = others;
    }
    false
}

/// Returns a hash of a key.
fn fingerprint(key: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let (words, rest) = key.as_chunks::<8>();
    let mix = |hash: u64, word: &[u8; 8]| {
        let mixed = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
        mixed.rotate_left(29)
    };
    let hash = words.iter().fold(key.len() as u64, mix);
    let rest = rest
        .iter()
        .fold(0, |word, byte| word << 8 | u64::from(*byte));
    ((hash ^ rest).wrapping_mul(FACTOR) >> 32) as u32
}

fn has_noncanonical_escape(string: &[u8]) -> bool {
    memchr::memchr(b'\\', string).is_some()
        && string
            .windows(2)
            .any(|pair| matches!(pair, b"\\u" | b"\\/"))
}

#[cfg(test)]
mod tests;
