//! Paths to values of a document.

use std::{borrow::Cow, fmt, slice};

use smallvec::SmallVec;

use super::escape::{EscapedKey, escape_key};

/// The path to a value in session data.
///
/// Text is parsed as dot and bracket notation. Each entry of a list is one literal key:
///
/// | path | keys |
/// |---|---|
/// | `"theme"` | `theme` |
/// | `"user.email"` | `user`, `email` |
/// | `"items.0.name"`, `"items[0].name"` | `items`, `0`, `name` |
/// | `"a[\"b.c\"]"`, `&["a", "b.c"]` | `a`, `b.c` |
/// | `"a."`, `"a[]"` | `a`, and the empty key |
/// | `"a["`, `"a]"` | the text itself: it has no well-formed bracket |
///
/// If the whole text is the key of a member of the root object, the path leads to that member.
/// A key of digits without a leading zero indexes an array. If there is no value yet, a write creates
/// an array for it. No other key is special, including `__proto__` and `length`.
///
/// A path of up to four keys does not allocate, unless a key contains a character that JSON escapes.
///
/// ```
/// use hyper_session::document::KeyPath;
///
/// assert_eq!(KeyPath::from("user.roles[0]").to_string(), "user.roles.0");
/// assert_eq!(KeyPath::from(["user", "a.b"]).to_string(), r#"user["a.b"]"#);
/// ```
#[derive(Clone)]
pub struct KeyPath<'a> {
    /// The whole text as one key, if it parses as more than one. A root member with this key takes
    /// precedence.
    whole: Option<EscapedKey<'a>>,
    keys: PathKeys<'a>,
}

/// The keys of a path. Most paths have one.
#[derive(Clone)]
enum PathKeys<'a> {
    One(EscapedKey<'a>),
    Any(SmallVec<[EscapedKey<'a>; 4]>),
}

impl<'a> FromIterator<EscapedKey<'a>> for PathKeys<'a> {
    fn from_iter<I: IntoIterator<Item = EscapedKey<'a>>>(keys: I) -> Self {
        Self::Any(keys.into_iter().collect())
    }
}

impl<'a> KeyPath<'a> {
    fn from_text(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let class = |byte: &u8| BYTE_CLASSES.get(usize::from(*byte)).copied();
        match bytes
            .iter()
            .filter_map(class)
            .fold(0, |all, class| all | class)
        {
            0 => Self::from_single_key(bytes.into()),
            DOT => Self {
                whole: Some(bytes.into()),
                keys: bytes.split(|byte| *byte == b'.').map(Cow::from).collect(),
            },
            _ if !is_multi_key(text) => Self::from_single_key(escape_key(text.into())),
            _ => {
                let mut keys = SmallVec::new();
                split_keys(text, |key| keys.push(escape_key(key)));
                Self {
                    whole: Some(escape_key(text.into())),
                    keys: PathKeys::Any(keys),
                }
            }
        }
    }

    const fn from_single_key(key: EscapedKey<'a>) -> Self {
        Self {
            whole: None,
            keys: PathKeys::One(key),
        }
    }

    fn escape_keys(keys: impl Iterator<Item = &'a str>) -> Self {
        Self {
            whole: None,
            keys: keys.map(|key| escape_key(key.into())).collect(),
        }
    }

    /// Returns the path without keys, which leads to the whole document.
    pub(crate) fn root() -> Self {
        Self {
            whole: None,
            keys: PathKeys::Any(SmallVec::new()),
        }
    }

    /// Returns `true` if the path has no keys.
    pub(crate) fn is_root(&self) -> bool {
        self.keys().is_empty()
    }

    /// Creates a path from a list of literal keys.
    pub fn from_keys<S: AsRef<str> + ?Sized + 'a>(keys: impl IntoIterator<Item = &'a S>) -> Self {
        Self::escape_keys(keys.into_iter().map(AsRef::as_ref))
    }

    /// Returns the path with `keys` after its own.
    pub(super) fn join<'s>(&'s self, keys: &'s [String]) -> KeyPath<'s> {
        let own = self.keys().iter().map(|key| Cow::Borrowed(&**key));
        let keys = keys.iter().map(|key| escape_key(key.as_str().into()));
        KeyPath {
            whole: None,
            keys: own.chain(keys).collect(),
        }
    }

    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.whole.as_deref()
    }

    pub(super) fn keys(&self) -> &[EscapedKey<'a>] {
        match &self.keys {
            PathKeys::One(key) => slice::from_ref(key),
            PathKeys::Any(keys) => keys,
        }
    }

    /// Appends the path to `out`, in the format that [`read`](Self::read) decodes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let (PathKeys::One(key), None) = (&self.keys, &self.whole) {
            // As below, with the two numbers in one piece.
            let head = (key.len() as u64) << 32 | 1 << 1;
            out.extend_from_slice(&head.to_le_bytes());
            out.extend_from_slice(key);
            return;
        }
        let count = (self.keys().len() as u32) << 1 | u32::from(self.whole.is_some());
        out.extend_from_slice(&count.to_le_bytes());
        let mut write_key = |key: &[u8]| {
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(key);
        };
        if let Some(whole) = &self.whole {
            write_key(whole);
        }
        self.keys().iter().for_each(|key| write_key(key));
    }

    /// Decodes the path at the start of `bytes`. Returns the path and the bytes after it.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (count, mut rest) = read_u32(bytes)?;
        let mut next = || -> Option<EscapedKey<'a>> {
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

/// A byte that needs the full parser.
const SPECIAL: u8 = 2;

/// The class of each byte of a path: 0, [`DOT`] or [`SPECIAL`].
const BYTE_CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < classes.len() {
        classes[byte] = match byte as u8 {
            b'.' => DOT,
            b'[' | b']' | b'"' | b'\\' | 0..0x20 => SPECIAL,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// Parses a key as an index: digits without a leading zero, below 2^53 - 1.
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

/// Returns `true` if the text is more than one key: it has a dot or a well-formed bracket.
fn is_multi_key(text: &str) -> bool {
    let bytes = text.as_bytes();
    if memchr::memchr(b'.', bytes).is_some() {
        return true;
    }
    memchr::memchr_iter(b'[', bytes).any(|open| {
        let inside = bytes.get(open + 1..).unwrap_or_default();
        let end = memchr::memchr2(b'[', b']', inside);
        end.is_some_and(|end| inside.get(end) == Some(&b']'))
            || bracketed_string(text, open).is_some()
    })
}

/// Passes each key of a path of several keys to `push`. Without brackets, the keys are the parts
/// between the dots.
///
/// Two dots in a row, a leading dot, a trailing dot and empty brackets give an empty key. Brackets
/// around anything but a number or a quoted key only separate keys.
fn split_keys<'a>(text: &'a str, mut push: impl FnMut(Cow<'a, str>)) {
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
        } else if let Some((key, end)) =
            bracketed_number(text, at).or_else(|| bracketed_string(text, at))
        {
            push(key);
            at = end;
        } else {
            if let Some(len) = separator_len(bytes, at)
                && (at + len == bytes.len() || separator_len(bytes, at + len).is_some())
            {
                push(Cow::Borrowed(""));
            }
            at += 1;
        }
    }
}

/// Returns the length of the `.` or `[]` at `at`.
fn separator_len(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at..)? {
        [b'.', ..] => Some(1),
        [b'[', b']', ..] => Some(2),
        _ => None,
    }
}

/// Returns the key and the end of a `[12]`, `[-1]` or `[1.5]` at `at`.
fn bracketed_number(text: &str, at: usize) -> Option<(Cow<'_, str>, usize)> {
    let inside = text.get(at..)?.strip_prefix('[')?;
    let end = memchr::memchr2(b'[', b']', inside.as_bytes())?;
    let key = inside
        .get(..end)
        .filter(|_| inside.as_bytes().get(end) == Some(&b']'))?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = key.strip_prefix('-').unwrap_or(key);
    let is_number = match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    };
    is_number.then_some((Cow::Borrowed(key), at + end + 2))
}

/// Returns the key and the end of a `["key"]` or `['key']` at `at`. The character after a backslash
/// is taken literally.
fn bracketed_string(text: &str, at: usize) -> Option<(Cow<'_, str>, usize)> {
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
    Some((remove_backslashes(key), at + end + 4))
}

fn remove_backslashes(key: &str) -> Cow<'_, str> {
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

impl PartialEq for KeyPath<'_> {
    fn eq(&self, other: &Self) -> bool {
        (&self.whole, self.keys()) == (&other.whole, other.keys())
    }
}

impl Eq for KeyPath<'_> {}

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
        Self::escape_keys(keys.iter().copied())
    }
}

impl<'a, const N: usize> From<&[&'a str; N]> for KeyPath<'a> {
    fn from(keys: &[&'a str; N]) -> Self {
        Self::escape_keys(keys.iter().copied())
    }
}

impl<'a, const N: usize> From<[&'a str; N]> for KeyPath<'a> {
    fn from(keys: [&'a str; N]) -> Self {
        Self::escape_keys(keys.into_iter())
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
    /// Writes dot notation, and bracket notation for a key that dot notation cannot express.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.keys().iter().enumerate() {
            let text = String::from_utf8_lossy(key);
            let is_plain = self.whole.is_some() || !text.is_empty() && !is_multi_key(&text);
            match (is_plain, at) {
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
