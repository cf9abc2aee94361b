//! A sealed text split over one or more cookies.
//!
//! - A text that fits into one cookie is its value, unchanged.
//! - The first cookie of a longer text begins with the number of cookies and a dot. No sealed text
//!   begins like this.
//! - Each further cookie begins with eight characters of the text's nonce, the text id. So a chunk of
//!   another response, or one that a sibling subdomain planted, is skipped.
//! - Only a whole text opens. The number of cookies is also inside the seal.

use std::{borrow::Cow, cell::OnceCell, time::Duration};

use http::HeaderValue;
use memchr::memmem;

use super::{MAX_CHUNKS, STORE_NAME};
use crate::{
    cookie::{
        Attributes, CookieError, CookieName, Finder, MAX_CANDIDATES, MAX_PAIR_LEN, SetCookie,
    },
    store::{SetCookies, StoreError},
};

/// The range of the text id in a sealed text.
const TEXT_ID: std::ops::Range<usize> = 8..16;

/// Length of the number of cookies and its dot, such as `2.`.
const COUNT_LEN: usize = 2;

/// The cookies that a sealed text may be split over.
pub(super) struct Chunks {
    /// [`MAX_CHUNKS`] cookies.
    cookies: Vec<ChunkCookie>,
    /// Searches the common start of all names except the first.
    name_prefix: memmem::Finder<'static>,
}

struct ChunkCookie {
    finder: Finder,
    cookie: SetCookie,
}

/// A sealed text, and the number of cookies that it arrived in.
pub(super) struct ReceivedText<'a> {
    pub(super) text: Cow<'a, [u8]>,
    pub(super) cookies: usize,
}

impl Chunks {
    /// Prepares the cookies `name`, `name.1`, `name.2` and so on.
    ///
    /// # Errors
    /// If a name is too long, or the attributes do not satisfy its prefix.
    pub(super) fn new(name: &str, attributes: &Attributes) -> Result<Self, StoreError> {
        let chunk = |nth: usize| -> Result<ChunkCookie, StoreError> {
            let name = match nth {
                0 => name.to_owned(),
                nth => format!("{name}.{nth}"),
            };
            let name = CookieName::new(name).map_err(|e| StoreError::new(STORE_NAME, "open", e))?;
            let finder = Finder::new(&name);
            let cookie = SetCookie::new(name, attributes.clone());
            let cookie = cookie.map_err(|e| StoreError::new(STORE_NAME, "open", e))?;
            Ok(ChunkCookie { finder, cookie })
        };
        Ok(Self {
            cookies: (0..MAX_CHUNKS).map(chunk).collect::<Result<_, _>>()?,
            name_prefix: memmem::Finder::new(&format!("{name}.")).into_owned(),
        })
    }

    /// Returns the names of the cookies.
    pub(super) fn names(&self) -> Vec<CookieName> {
        let names = self.cookies.iter().map(|chunk| chunk.cookie.name());
        names.cloned().collect()
    }

    /// Returns the length of the longest text that fits into this many cookies.
    pub(super) fn capacity(&self, cookies: usize) -> usize {
        let chunks = self.cookies.iter().take(cookies).enumerate();
        chunks
            .map(|(nth, chunk)| chunk.capacity(nth, cookies))
            .sum()
    }

    /// Returns the number of cookies for a text of this length, whatever the configured maximum.
    pub(super) fn cookies_for(&self, text: usize) -> usize {
        let is_enough = |cookies: &usize| self.capacity(*cookies) >= text;
        (1..MAX_CHUNKS).find(is_enough).unwrap_or(MAX_CHUNKS)
    }

    /// Returns the bytes that a text of this length takes in this many cookies, with their names and
    /// prefixes. A text that fits takes at most [`MAX_PAIR_LEN`] for each cookie.
    pub(super) fn total_size(&self, text: usize, cookies: usize) -> usize {
        text + MAX_PAIR_LEN * cookies - self.capacity(cookies)
    }

    /// Returns the texts in these `Cookie` lines, in the order of their first cookies. `None` is a
    /// text of which a chunk is missing. Each name is searched at most once.
    pub(super) fn find<'a>(
        &'a self,
        lines: &'a [HeaderValue],
    ) -> impl Iterator<Item = Option<ReceivedText<'a>>> {
        let later_values: [OnceCell<Vec<&[u8]>>; MAX_CHUNKS] = Default::default();
        self.values(0, lines).map(move |first| {
            join(first, |nth, text_id| {
                let values = later_values.get(nth)?;
                let values = values.get_or_init(|| self.values(nth, lines).collect());
                values.iter().find_map(|value| value.strip_prefix(text_id))
            })
        })
    }

    /// Returns the values of the `nth` cookie. A value longer than any that the store sets is cut.
    fn values<'a>(
        &'a self,
        nth: usize,
        lines: &'a [HeaderValue],
    ) -> impl Iterator<Item = &'a [u8]> {
        let finder = self.cookies.get(nth).map(|chunk| &chunk.finder);
        let values = finder.into_iter().flat_map(move |finder| {
            let lines = lines.iter();
            lines.flat_map(move |line| finder.find_in(line.as_bytes()))
        });
        values
            .take(MAX_CANDIDATES)
            .map(|value| value.get(..=MAX_PAIR_LEN).unwrap_or(value))
    }

    /// Returns the `Set-Cookie` lines that store a text and remove the remaining chunks of a longer
    /// one.
    pub(super) fn set(
        &self,
        text: &[u8],
        max_age: Option<Duration>,
        lines: &[HeaderValue],
    ) -> Result<SetCookies, CookieError> {
        let cookies = self.cookies_for(text.len());
        let mut set = SetCookies::new();
        let mut rest = text;
        for (nth, chunk) in self.cookies.iter().take(cookies).enumerate() {
            let part = rest.get(..chunk.capacity(nth, cookies)).unwrap_or(rest);
            rest = rest.get(part.len()..).unwrap_or_default();
            let prefix = match nth {
                _ if cookies == 1 => Cow::Borrowed(&[][..]),
                0 => Cow::Owned(format!("{cookies}.").into_bytes()),
                _ => Cow::Borrowed(text.get(TEXT_ID).unwrap_or_default()),
            };
            set.push(match &*prefix {
                [] => chunk.cookie.set(part, max_age)?,
                prefix => chunk.cookie.set(&[prefix, part].concat(), max_age)?,
            });
            self.remove_former(nth, lines, &mut set);
        }
        self.remove_from(cookies, lines, &mut set);
        Ok(set)
    }

    /// Returns the `Set-Cookie` lines that remove every chunk in these `Cookie` lines.
    pub(super) fn remove(&self, lines: &[HeaderValue]) -> SetCookies {
        let mut set = SetCookies::new();
        if let (Some(chunk), Some(_)) = (self.cookies.first(), self.values(0, lines).next()) {
            set.push(chunk.cookie.removal());
            self.remove_former(0, lines, &mut set);
        }
        self.remove_from(1, lines, &mut set);
        set
    }

    /// Removes the chunks in these lines, from the `first` cookie on.
    fn remove_from(&self, first: usize, lines: &[HeaderValue], set: &mut SetCookies) {
        let has_chunk = |line: &HeaderValue| self.name_prefix.find(line.as_bytes()).is_some();
        if !lines.iter().any(has_chunk) {
            return;
        }
        for (nth, chunk) in self.cookies.iter().enumerate().skip(first) {
            if self.values(nth, lines).next().is_some() {
                set.push(chunk.cookie.removal());
                self.remove_former(nth, lines, set);
            }
        }
    }

    /// Removes the `nth` cookie in its former scopes, if it is in these lines.
    fn remove_former(&self, nth: usize, lines: &[HeaderValue], set: &mut SetCookies) {
        let chunk = self.cookies.get(nth);
        if let Some(former) = chunk.and_then(|chunk| chunk.cookie.former_removals())
            && self.values(nth, lines).next().is_some()
        {
            set.extend(former.iter().cloned());
        }
    }
}

impl ChunkCookie {
    /// Returns the number of text bytes that fit into this cookie, as the `nth` of `cookies`.
    fn capacity(&self, nth: usize, cookies: usize) -> usize {
        let prefix = match nth {
            _ if cookies == 1 => 0,
            0 => COUNT_LEN,
            _ => TEXT_ID.len(),
        };
        MAX_PAIR_LEN.saturating_sub(self.cookie.name().as_str().len() + prefix)
    }
}

/// Joins the text that begins with the value `first`.
///
/// `further` returns the chunk of the nth cookie that has this text id, without the id.
fn join<'a>(
    first: &'a [u8],
    further: impl Fn(usize, &[u8]) -> Option<&'a [u8]>,
) -> Option<ReceivedText<'a>> {
    let (cookies, first) = match first {
        [count @ b'2'..=b'9', b'.', part @ ..] => (usize::from(count - b'0'), part),
        text => (1, text),
    };
    if first.len() > MAX_PAIR_LEN {
        return None;
    }
    if cookies == 1 {
        let text = Cow::Borrowed(first);
        return Some(ReceivedText { text, cookies });
    }
    let text_id = first.get(TEXT_ID)?;
    let mut text = first.to_vec();
    for nth in 1..cookies {
        text.extend_from_slice(further(nth, text_id)?);
    }
    let text = Cow::Owned(text);
    Some(ReceivedText { text, cookies })
}
