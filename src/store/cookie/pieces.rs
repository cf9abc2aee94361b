//! One sealed text over one or more cookies.
//!
//! A text that fits stands in the cookie as it is. A longer one is cut: the first cookie begins with
//! the number of cookies and a dot, which no sealed text does; each further one begins with eight
//! characters of the text's nonce, so that a piece of another answer, or one that a neighbour on the
//! same domain planted, is passed over. Only whole texts open, and the number is sealed in as well.

use std::{borrow::Cow, cell::OnceCell, time::Duration};

use http::HeaderValue;
use memchr::memmem;

use super::{MAX_CHUNKS, NAME};
use crate::{
    cookie::{
        Attributes, CookieError, CookieName, Finder, MAX_CANDIDATES, MAX_PAIR_LEN, SetCookie,
    },
    store::{SetCookies, StoreError},
};

/// Where in the text the characters stand that its pieces have in common.
const LINK: std::ops::Range<usize> = 8..16;

/// `2.` before the first piece of two.
const COUNT_LEN: usize = 2;

/// The cookies that a sealed text may be spread over.
pub(super) struct Pieces {
    /// [`MAX_CHUNKS`] of them, the first of which is never missing.
    places: Vec<Place>,
    /// What all names but the first begin with.
    stem: memmem::Finder<'static>,
}

struct Place {
    finder: Finder,
    cookie: SetCookie,
}

/// A text as it came, and over how many cookies.
pub(super) struct Found<'a> {
    pub(super) text: Cow<'a, [u8]>,
    pub(super) cookies: usize,
}

impl Pieces {
    /// The cookies after `name`: `name`, `name.1`, `name.2` and so on.
    ///
    /// # Errors
    /// When a name is too long, or its prefix promises what the attributes do not keep.
    pub(super) fn new(name: &str, attributes: &Attributes) -> Result<Self, StoreError> {
        let place = |nth: usize| -> Result<Place, StoreError> {
            let name = match nth {
                0 => name.to_owned(),
                nth => format!("{name}.{nth}"),
            };
            let name = CookieName::new(name).map_err(|e| StoreError::new(NAME, "open", e))?;
            let finder = Finder::new(&name);
            let cookie = SetCookie::new(name, attributes.clone());
            let cookie = cookie.map_err(|e| StoreError::new(NAME, "open", e))?;
            Ok(Place { finder, cookie })
        };
        Ok(Self {
            places: (0..MAX_CHUNKS).map(place).collect::<Result<_, _>>()?,
            stem: memmem::Finder::new(&format!("{name}.")).into_owned(),
        })
    }

    /// The longest text that fits into this many cookies.
    pub(super) fn capacity(&self, cookies: usize) -> usize {
        let places = self.places.iter().take(cookies).enumerate();
        places.map(|(nth, place)| room(place, nth, cookies)).sum()
    }

    /// How many cookies a text of this length takes, however many those are.
    pub(super) fn needed(&self, text: usize) -> usize {
        let enough = |cookies: &usize| self.capacity(*cookies) >= text;
        (1..MAX_CHUNKS).find(enough).unwrap_or(MAX_CHUNKS)
    }

    /// What the text takes, names and marks included, as that many cookies are counted: no more than
    /// [`MAX_PAIR_LEN`] for each where it fits.
    pub(super) fn size(&self, text: usize, cookies: usize) -> usize {
        text + MAX_PAIR_LEN * cookies - self.capacity(cookies)
    }

    /// The texts that came with these lines, in the order of their first cookies; `None` for one of
    /// which a piece is missing. No name is looked for more than once.
    pub(super) fn find<'a>(
        &'a self,
        lines: &'a [HeaderValue],
    ) -> impl Iterator<Item = Option<Found<'a>>> {
        let further: [OnceCell<Vec<&[u8]>>; MAX_CHUNKS] = Default::default();
        self.values(0, lines).map(move |first| {
            join(first, |nth, link| {
                let values = further.get(nth)?;
                let values = values.get_or_init(|| self.values(nth, lines).collect());
                values.iter().find_map(|value| value.strip_prefix(link))
            })
        })
    }

    /// The values of the `nth` cookie, none longer than one that was set.
    fn values<'a>(
        &'a self,
        nth: usize,
        lines: &'a [HeaderValue],
    ) -> impl Iterator<Item = &'a [u8]> {
        let finder = self.places.get(nth).map(|place| &place.finder);
        let values = finder.into_iter().flat_map(move |finder| {
            let lines = lines.iter();
            lines.flat_map(move |line| finder.find_in(line.as_bytes()))
        });
        values
            .take(MAX_CANDIDATES)
            .map(|value| value.get(..=MAX_PAIR_LEN).unwrap_or(value))
    }

    /// Sets the cookies to a text, and removes what is left of a longer one.
    pub(super) fn set(
        &self,
        text: &[u8],
        max_age: Option<Duration>,
        lines: &[HeaderValue],
    ) -> Result<SetCookies, CookieError> {
        let cookies = self.needed(text.len());
        let mut set = SetCookies::new();
        let mut rest = text;
        for (nth, place) in self.places.iter().take(cookies).enumerate() {
            let piece = rest.get(..room(place, nth, cookies)).unwrap_or(rest);
            rest = rest.get(piece.len()..).unwrap_or_default();
            let mark = match nth {
                _ if cookies == 1 => Cow::Borrowed(&[][..]),
                0 => Cow::Owned(format!("{cookies}.").into_bytes()),
                _ => Cow::Borrowed(text.get(LINK).unwrap_or_default()),
            };
            set.push(match &*mark {
                [] => place.cookie.set(piece, max_age)?,
                mark => place.cookie.set(&[mark, piece].concat(), max_age)?,
            });
        }
        self.remove_from(cookies, lines, &mut set);
        Ok(set)
    }

    /// Removes every cookie that came.
    pub(super) fn remove(&self, lines: &[HeaderValue]) -> SetCookies {
        let mut set = SetCookies::new();
        if let (Some(place), Some(_)) = (self.places.first(), self.values(0, lines).next()) {
            set.push(place.cookie.removal());
        }
        self.remove_from(1, lines, &mut set);
        set
    }

    /// Removes what came of the cookies from the `first` on.
    fn remove_from(&self, first: usize, lines: &[HeaderValue], set: &mut SetCookies) {
        let came = |line: &HeaderValue| self.stem.find(line.as_bytes()).is_some();
        if !lines.iter().any(came) {
            return;
        }
        for (nth, place) in self.places.iter().enumerate().skip(first) {
            if self.values(nth, lines).next().is_some() {
                set.push(place.cookie.removal());
            }
        }
    }
}

/// The text that begins with this value. `further` gives the piece of the nth cookie that begins with
/// these characters.
fn join<'a>(
    first: &'a [u8],
    further: impl Fn(usize, &[u8]) -> Option<&'a [u8]>,
) -> Option<Found<'a>> {
    let (cookies, first) = match first {
        [count @ b'2'..=b'9', b'.', piece @ ..] => (usize::from(count - b'0'), piece),
        text => (1, text),
    };
    if first.len() > MAX_PAIR_LEN {
        return None;
    }
    if cookies == 1 {
        let text = Cow::Borrowed(first);
        return Some(Found { text, cookies });
    }
    let link = first.get(LINK)?;
    let mut text = first.to_vec();
    for nth in 1..cookies {
        text.extend_from_slice(further(nth, link)?);
    }
    let text = Cow::Owned(text);
    Some(Found { text, cookies })
}

/// How much of a text fits into the `nth` of this many cookies.
fn room(place: &Place, nth: usize, cookies: usize) -> usize {
    let mark = match nth {
        _ if cookies == 1 => 0,
        0 => COUNT_LEN,
        _ => LINK.len(),
    };
    MAX_PAIR_LEN.saturating_sub(place.cookie.name().as_str().len() + mark)
}
