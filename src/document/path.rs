//! Paths into a document.

use std::{borrow::Cow, fmt};

use smallvec::SmallVec;

use super::serde_impl::escape_key;

/// Which value of a document is meant.
///
/// From text, a path is in dot and bracket notation; from a list, every entry is a key as it stands:
///
/// | path | keys |
/// |---|---|
/// | `"theme"` | `theme` |
/// | `"user.email"` | `user`, `email` |
/// | `"items.0.name"`, `"items[0].name"` | `items`, `0`, `name` |
/// | `"a[\"b.c\"]"`, `&["a", "b.c"]` | `a`, `b.c` |
/// | `"a."`, `"a[]"` | `a`, and the empty key |
/// | `"a["`, `"a]"` | the text itself: no well-formed bracket |
///
/// If a member of the root object has the whole text as its key, it is the one that is meant.
/// A key of digits without a leading zero is an index where it meets an array, and makes an array
/// where nothing is there yet. No key is special otherwise, `__proto__` and `length` neither.
///
/// Up to four keys cost no allocation, unless one holds a character that JSON escapes.
///
/// ```
/// use hyper_session::document::Document;
///
/// let mut data = Document::new();
/// data.put("user.roles[0]", "admin")?;
/// data.put(["user", "a.b"], &1)?;
/// assert_eq!(data.text(), br#"{"user":{"roles":["admin"],"a.b":1}}"#);
/// # Ok::<(), hyper_session::document::EditError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPath<'a> {
    /// The whole text, where it is more than one key: a root member of this name goes first.
    whole: Option<Key<'a>>,
    keys: SmallVec<[Key<'a>; 4]>,
}

/// A key in the escaped form in which it stands in JSON text, without the quotes.
pub(super) type Key<'a> = Cow<'a, [u8]>;

impl<'a> KeyPath<'a> {
    fn from_text(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        match bytes.iter().fold(0, |marks, byte| marks | mark(*byte)) {
            0 => Self::plain(bytes.into()),
            DOT => Self {
                whole: Some(bytes.into()),
                keys: bytes.split(|byte| *byte == b'.').map(Cow::from).collect(),
            },
            _ if !is_deep(text) => Self::plain(escape_key(text.into())),
            _ => {
                let mut keys = SmallVec::new();
                split(text, |key| keys.push(escape_key(key)));
                let whole = Some(escape_key(text.into()));
                Self { whole, keys }
            }
        }
    }

    fn plain(key: Key<'a>) -> Self {
        let mut keys = SmallVec::new();
        keys.push(key);
        Self { whole: None, keys }
    }

    fn of_keys(keys: impl Iterator<Item = &'a str>) -> Self {
        Self {
            whole: None,
            keys: keys.map(|key| escape_key(key.into())).collect(),
        }
    }

    /// A path that takes the keys as they stand, for any list of text.
    pub fn from_keys<S: AsRef<str> + ?Sized + 'a>(keys: impl IntoIterator<Item = &'a S>) -> Self {
        Self::of_keys(keys.into_iter().map(AsRef::as_ref))
    }

    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.whole.as_deref()
    }

    pub(super) fn keys(&self) -> &[Key<'a>] {
        &self.keys
    }

    /// Appends the path to `out`, in the form that [`read`](Self::read) takes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let count = (self.keys.len() as u32) << 1 | u32::from(self.whole.is_some());
        out.extend_from_slice(&count.to_le_bytes());
        for key in self.whole.iter().chain(&self.keys) {
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(key);
        }
    }

    /// The path at the beginning of `bytes`, and what follows it.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (count, mut rest) = read_u32(bytes)?;
        let mut next = || -> Option<Key<'a>> {
            let (len, tail) = read_u32(rest)?;
            let (key, tail) = tail.split_at_checked(len as usize)?;
            rest = tail;
            Some(key.into())
        };
        let whole = if count & 1 == 1 { Some(next()?) } else { None };
        let keys = (0..count >> 1).map(|_| next()).collect::<Option<_>>()?;
        Some((Self { whole, keys }, rest))
    }
}

fn read_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

const DOT: u8 = 1;

/// What a byte may do to a path: nothing, be a dot, or make it one that has to be looked at closely.
const fn mark(byte: u8) -> u8 {
    match byte {
        b'.' => DOT,
        b'[' | b']' | b'"' | b'\\' | 0..0x20 => 2,
        _ => 0,
    }
}

/// The number that a key is as an index: digits without a leading zero, below 2^53 - 1.
pub(super) fn index_of(key: &[u8]) -> Option<u64> {
    const MAX: u64 = (1 << 53) - 1;
    match key {
        [b'0'] => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < 16 && rest.iter().all(u8::is_ascii_digit) => {
            let index = key
                .iter()
                .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            (index < MAX).then_some(index)
        }
        _ => None,
    }
}

/// Whether the text is more than one key: it has a dot, or a well-formed bracket.
fn is_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    if memchr::memchr(b'.', bytes).is_some() {
        return true;
    }
    memchr::memchr_iter(b'[', bytes).any(|open| {
        let inside = bytes.get(open + 1..).unwrap_or_default();
        let end = memchr::memchr2(b'[', b']', inside);
        end.is_some_and(|end| inside.get(end) == Some(&b']')) || quoted(text, open).is_some()
    })
}

/// Gives each key of a deep path to `push`. Without brackets, it is what stands between the dots.
///
/// An empty key is what stands between two dots, behind the last one, before the first one, and in
/// empty brackets. Brackets that hold neither a number nor a quoted key only separate.
fn split<'a>(text: &'a str, mut push: impl FnMut(Cow<'a, str>)) {
    let bytes = text.as_bytes();
    if bytes.first() == Some(&b'.') {
        push(Cow::Borrowed(""));
    }
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if !matches!(byte, b'.' | b'[' | b']') {
            let run = bytes.get(at..).unwrap_or_default();
            let len = memchr::memchr3(b'.', b'[', b']', run).unwrap_or(run.len());
            push(Cow::Borrowed(text.get(at..at + len).unwrap_or_default()));
            at += len;
        } else if let Some((key, end)) = number(text, at).or_else(|| quoted(text, at)) {
            push(key);
            at = end;
        } else {
            if let Some(len) = separator(bytes, at)
                && (at + len == bytes.len() || separator(bytes, at + len).is_some())
            {
                push(Cow::Borrowed(""));
            }
            at += 1;
        }
    }
}

/// The length of the `.` or `[]` at `at`.
fn separator(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at..)? {
        [b'.', ..] => Some(1),
        [b'[', b']', ..] => Some(2),
        _ => None,
    }
}

/// The key and the end of a `[12]`, `[-1]` or `[1.5]` at `at`.
fn number(text: &str, at: usize) -> Option<(Cow<'_, str>, usize)> {
    let inside = text.get(at..)?.strip_prefix('[')?;
    let end = memchr::memchr2(b'[', b']', inside.as_bytes())?;
    let key = inside
        .get(..end)
        .filter(|_| inside.as_bytes().get(end) == Some(&b']'))?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = key.strip_prefix('-').unwrap_or(key);
    let fits = match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    };
    fits.then_some((Cow::Borrowed(key), at + end + 2))
}

/// The key and the end of a `["key"]` or `['key']` at `at`; a backslash takes the next character as
/// it stands.
fn quoted(text: &str, at: usize) -> Option<(Cow<'_, str>, usize)> {
    let inside = text.get(at..)?.strip_prefix('[')?;
    let quote = *inside
        .as_bytes()
        .first()
        .filter(|byte| matches!(byte, b'"' | b'\''))?;
    let inside = inside.get(1..)?;
    let mut end = 0;
    loop {
        let rest = inside.as_bytes().get(end..)?;
        let hit = memchr::memchr2(quote, b'\\', rest)?;
        end += hit;
        if rest.get(hit) == Some(&quote) {
            break;
        }
        end += 1 + inside.get(end + 1..)?.chars().next()?.len_utf8();
    }
    let key = inside.get(..end)?;
    inside
        .get(end..)?
        .as_bytes()
        .get(1)
        .filter(|byte| **byte == b']')?;
    Some((unescape(key), at + end + 4))
}

fn unescape(key: &str) -> Cow<'_, str> {
    if !key.contains('\\') {
        return Cow::Borrowed(key);
    }
    let mut plain = String::with_capacity(key.len());
    let mut chars = key.chars();
    while let Some(char) = chars.next() {
        plain.extend(if char == '\\' {
            chars.next()
        } else {
            Some(char)
        });
    }
    Cow::Owned(plain)
}

impl<'a> From<&'a str> for KeyPath<'a> {
    fn from(text: &'a str) -> Self {
        Self::from_text(text)
    }
}

impl<'a> From<&'a String> for KeyPath<'a> {
    fn from(text: &'a String) -> Self {
        Self::from_text(text)
    }
}

impl<'a> From<&[&'a str]> for KeyPath<'a> {
    fn from(keys: &[&'a str]) -> Self {
        Self::of_keys(keys.iter().copied())
    }
}

impl<'a, const N: usize> From<&[&'a str; N]> for KeyPath<'a> {
    fn from(keys: &[&'a str; N]) -> Self {
        Self::of_keys(keys.iter().copied())
    }
}

impl<'a, const N: usize> From<[&'a str; N]> for KeyPath<'a> {
    fn from(keys: [&'a str; N]) -> Self {
        Self::of_keys(keys.into_iter())
    }
}

impl<'a> From<&'a [String]> for KeyPath<'a> {
    fn from(keys: &'a [String]) -> Self {
        Self::from_keys(keys)
    }
}

impl<'a> From<&'a Vec<String>> for KeyPath<'a> {
    fn from(keys: &'a Vec<String>) -> Self {
        Self::from_keys(keys)
    }
}

impl<'a> From<&KeyPath<'a>> for KeyPath<'a> {
    fn from(path: &KeyPath<'a>) -> Self {
        path.clone()
    }
}

impl fmt::Display for KeyPath<'_> {
    /// In bracket notation where a key would not stand in dot notation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.keys.iter().enumerate() {
            let text = String::from_utf8_lossy(key);
            let plain = self.whole.is_some() || !text.is_empty() && !is_deep(&text);
            match (plain, at) {
                (true, 0) => write!(f, "{text}")?,
                (true, _) => write!(f, ".{text}")?,
                (false, _) => write!(f, "[\"{text}\"]")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for KeyPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPath({self})")
    }
}
