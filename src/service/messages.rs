//! The texts that clients see.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write as _},
    sync::Arc,
};

use serde::{Deserialize, Deserializer};

/// The English text of each key.
const ENGLISH: [(&str, &str); 52] = [
    ("csrf.cross_origin", "the request comes from another origin"),
    (
        "csrf.invalid_token",
        "the token is not valid for this session",
    ),
    ("csrf.missing_token", "the token is missing"),
    (
        "csrf.other_origin",
        "the `Origin` header names another origin",
    ),
    ("expected.boolean", "{type}"),
    ("expected.character", "{type}"),
    ("expected.group", "{type}"),
    ("expected.integer", "{type}"),
    ("expected.list", "{type}"),
    ("expected.number", "{type}"),
    ("expected.other", "{type}"),
    ("expected.text", "{type}"),
    (
        "input.body",
        "The request was rejected: cannot read the request body; send it again.",
    ),
    (
        "input.csrf",
        "The request was rejected: CSRF check failed: {reason}.",
    ),
    (
        "input.malformed",
        "The request was rejected: malformed input: {reason}.",
    ),
    ("input.no_session", "The request was rejected: {reason}."),
    (
        "input.too_large",
        "The request was rejected: input exceeds the limit of {limit} {unit}.",
    ),
    (
        "input.unsupported_type",
        "The request was rejected: unsupported content type; send application/x-www-form-urlencoded, \
         multipart/form-data or application/json, in UTF-8.",
    ),
    ("malformed.boundary", "the multipart boundary is missing"),
    ("malformed.encoding", "a field is not valid UTF-8"),
    (
        "malformed.field_name",
        "a field name is used for a value and for a group",
    ),
    ("malformed.json", "the body is not valid JSON"),
    ("malformed.json_object", "the JSON is not an object"),
    (
        "malformed.multipart",
        "the multipart form is incomplete or invalid",
    ),
    ("malformed.part_name", "a part has no name"),
    (
        "no_session.any",
        "request has no session; under hyper, wrap the service with `Sessions::wrap`; under tower or axum, add \
         the layer `Sessions::layer` outside of the service",
    ),
    (
        "no_session.hyper",
        "request has no session; wrap the service with `Sessions::wrap`",
    ),
    (
        "no_session.tower",
        "request has no session; add the layer `Sessions::layer` outside of the service",
    ),
    ("status.400", "The request is not valid."),
    (
        "status.403",
        "The form is out of date. Please reload the page and try again.",
    ),
    (
        "status.409",
        "The data was changed at the same time. Please reload the page and try again.",
    ),
    ("status.413", "The request is too large."),
    ("status.415", "The format of the request is not supported."),
    ("status.500", "An error occurred. Please try again later."),
    (
        "status.503",
        "The service is not available at the moment. Please try again later.",
    ),
    ("unit.bytes", "bytes"),
    ("unit.bytes_of_files", "bytes of files"),
    ("unit.fields", "fields"),
    ("unit.files", "files"),
    ("unit.levels_of_nesting", "levels of nesting"),
    ("validation.boolean", "must be yes or no"),
    ("validation.choice", "must be one of: {choices}"),
    ("validation.duplicate", "duplicate field `{name}`"),
    ("validation.group", "must be a group of fields"),
    (
        "validation.length",
        "invalid length {length}, expected {expected}",
    ),
    ("validation.list", "must be a list"),
    ("validation.missing", "is missing"),
    ("validation.number", "must be a valid number"),
    ("validation.other", "{text}"),
    (
        "validation.summary",
        "The form could not be saved. Please check the errors below.",
    ),
    ("validation.type", "must be {expected}"),
    ("validation.unknown", "is not a known field"),
];

/// A catalogue of the texts that clients see: validation messages, and the texts of error responses.
///
/// The default is English. [`english`](Self::english) lists the keys, so that a translation can replace
/// all of them. A key that a catalogue lacks has its English text. A program can add keys of its own for its
/// validation messages, with `form::ValidationErrors::add_message`.
///
/// A text contains placeholders such as `{limit}`. With serde, a catalogue is a map from keys to texts.
/// Clones share the texts.
///
/// ```
/// use hyper_session::service::Messages;
///
/// let german: Messages = toml::from_str(r#"
///     "validation.number" = "muss eine Zahl sein"
///     "too_short" = "muss mindestens {min} Zeichen haben"
/// "#)?;
/// assert_eq!(german.format("too_short", &[("min", &8)]), "muss mindestens 8 Zeichen haben");
/// assert_eq!(german.text("validation.missing"), "is missing");
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Default)]
#[doc(alias = "i18n")]
#[doc(alias = "translations")]
pub struct Messages(Arc<BTreeMap<String, String>>);

impl Messages {
    /// Creates a catalogue from keys and texts.
    pub fn new<K: Into<String>, T: Into<String>>(texts: impl IntoIterator<Item = (K, T)>) -> Self {
        let texts = texts.into_iter();
        Self(Arc::new(
            texts.map(|(key, text)| (key.into(), text.into())).collect(),
        ))
    }

    /// Returns the keys of this crate with their English texts, sorted.
    pub fn english() -> impl Iterator<Item = (&'static str, &'static str)> {
        ENGLISH.into_iter()
    }

    /// Returns the text of a key: the one of this catalogue, else the English one, else the key itself.
    pub fn text<'m>(&'m self, key: &'m str) -> &'m str {
        self.find(key).unwrap_or(key)
    }

    /// Returns the text of a key with its placeholders replaced. A placeholder without a value stays.
    pub fn format(&self, key: &str, values: &[(&str, &dyn Display)]) -> String {
        let mut rest = self.text(key);
        let mut text = String::with_capacity(rest.len());
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let placeholder = after.split_once('}');
            let value = placeholder.and_then(|(name, tail)| {
                let (_, value) = values.iter().find(|(known, _)| *known == name)?;
                Some((value, tail))
            });
            rest = match value {
                Some((value, tail)) => {
                    // Writing to memory cannot fail.
                    let _ = write!(text, "{value}");
                    tail
                }
                None => {
                    text.push('{');
                    after
                }
            };
        }
        text + rest
    }

    /// Returns the text for an English text of this crate. Returns other texts as they are.
    #[allow(dead_code, reason = "only forms use it")]
    pub(crate) fn translate<'m>(&'m self, english: &'m str) -> &'m str {
        let found = ENGLISH.iter().find(|(_, text)| *text == english);
        found.map_or(english, |(key, _)| self.text(key))
    }

    /// Returns the text of a key; `None` if neither this catalogue nor the English one has it.
    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        let own = self.0.get(key).map(String::as_str);
        own.or_else(|| english_text(key))
    }
}

/// Returns the English text of a key of this crate.
pub(crate) fn english_text(key: &str) -> Option<&'static str> {
    let (_, text) = ENGLISH.iter().find(|(known, _)| *known == key)?;
    Some(*text)
}

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Arc::new(BTreeMap::deserialize(deserializer)?)))
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("texts", &self.0.len())
            .finish()
    }
}
