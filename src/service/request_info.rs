//! The parts of a request that decide the response to its errors.

use std::fmt;

use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HOST, HeaderName, REFERER},
    request,
};

use super::origin::OwnOrigins;
use crate::session::is_own_path;

const INERTIA: HeaderName = HeaderName::from_static("x-inertia");
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// The head of a request: an [`http::Request`], or its [`Parts`](request::Parts).
pub trait RequestHead {
    /// Returns the method.
    fn method(&self) -> &Method;
    /// Returns the URL.
    fn uri(&self) -> &Uri;
    /// Returns the headers.
    fn headers(&self) -> &HeaderMap;
}

impl<B> RequestHead for Request<B> {
    fn method(&self) -> &Method {
        self.method()
    }

    fn uri(&self) -> &Uri {
        self.uri()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }
}

impl RequestHead for request::Parts {
    fn method(&self) -> &Method {
        &self.method
    }

    fn uri(&self) -> &Uri {
        &self.uri
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// The method, the URL and the preferences of a request, kept until its response is known.
///
/// `Debug` shows the method and the path only. A query or a header may contain a secret.
pub struct RequestInfo {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    requested_with: Option<HeaderValue>,
    accept_language: Option<HeaderValue>,
    is_inertia: bool,
}

impl RequestInfo {
    /// Copies the parts of a request. Headers share their bytes.
    pub fn new(request: &impl RequestHead) -> Self {
        let header = |name: HeaderName| request.headers().get(name).cloned();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            host: header(HOST),
            referer: header(REFERER),
            accept: combined(request.headers(), ACCEPT),
            content_type: header(CONTENT_TYPE),
            requested_with: header(REQUESTED_WITH),
            accept_language: combined(request.headers(), ACCEPT_LANGUAGE),
            is_inertia: request.headers().contains_key(INERTIA),
        }
    }

    /// Returns the method.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the URL.
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the language of `available` that the client prefers, by `Accept-Language`. Returns `None`
    /// if it accepts none of them.
    ///
    /// `de-AT` also accepts `de` (RFC 4647, 3.4), but not the other way round. `*` accepts the first
    /// language.
    pub fn preferred_language<'a>(&self, available: &[&'a str]) -> Option<&'a str> {
        let mut best: Option<(u16, &str)> = None;
        for (range, weight) in weighted(header_text(&self.accept_language)?) {
            let is_better = best.map_or(weight > 0, |(other, _)| weight > other);
            if let Some(language) = find_language(range, available).filter(|_| is_better) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
    }

    /// Returns `true` if the client prefers JSON to HTML.
    ///
    /// `Accept` decides (RFC 9110, 12.5.1), if it lists either type by its name. Otherwise, JSON is
    /// preferred if a script sent the request (`X-Requested-With: XMLHttpRequest`) or its body is JSON.
    pub fn wants_json(&self) -> bool {
        let accept = header_text(&self.accept).unwrap_or_default();
        let html = quality(accept, |media_type| {
            matches!(media_type, "text/html" | "application/xhtml+xml")
        });
        let json = quality(accept, |media_type| {
            media_type == "application/json" || media_type.ends_with("+json")
        });
        match (json, html) {
            (Some(json), html) if json > 0 => json > html.unwrap_or(0),
            (_, Some(html)) if html > 0 => false,
            (Some(_), _) => false,
            _ => self.is_script() || self.has_json_body(),
        }
    }

    /// Returns `true` if Inertia sent the request. Its page keeps the input by itself.
    #[allow(dead_code, reason = "only forms flash input")]
    pub(crate) const fn is_inertia(&self) -> bool {
        self.is_inertia
    }

    fn is_script(&self) -> bool {
        let value = header_text(&self.requested_with);
        value.is_some_and(|value| value.eq_ignore_ascii_case("XMLHttpRequest"))
    }

    fn has_json_body(&self) -> bool {
        let content_type = header_text(&self.content_type).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    }

    /// Returns the path and query of `Referer`, if it has one of the `origins`.
    pub(crate) fn referer_path(&self, origins: &OwnOrigins) -> Option<String> {
        let referer: Uri = header_text(&self.referer)?.parse().ok()?;
        if !origins.contains(&referer, &self.uri, self.host.as_ref()) {
            return None;
        }
        let path = referer.path_and_query()?.as_str();
        is_own_path(path).then(|| path.to_owned())
    }

    /// Returns `true` if a redirect to `path` would repeat this request.
    pub(crate) fn would_loop(&self, path: &str) -> bool {
        let requested = self
            .uri
            .path_and_query()
            .map(http::uri::PathAndQuery::as_str);
        self.method.is_safe() && requested == Some(path)
    }
}

impl fmt::Debug for RequestInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestInfo")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .finish_non_exhaustive()
    }
}

/// Returns a header with a list as one value. Several header lines are equivalent to one line with commas
/// (RFC 9110, 5.3).
fn combined(headers: &HeaderMap, name: HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let (first, second) = (lines.next()?, lines.next());
    let Some(second) = second else {
        return Some(first.clone());
    };
    let mut all = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        all.push(b',');
        all.extend_from_slice(line.as_bytes());
    }
    HeaderValue::try_from(all).ok()
}

fn header_text(value: &Option<HeaderValue>) -> Option<&str> {
    value.as_ref()?.to_str().ok()
}

/// Returns the highest quality, in thousandths, of the media types in `accept` that match.
fn quality(accept: &str, matches: impl Fn(&str) -> bool) -> Option<u16> {
    let ranges = weighted(accept);
    let matching = ranges.filter(|(media_type, _)| matches(&media_type.to_ascii_lowercase()));
    matching.map(|(_, weight)| weight).max()
}

/// Splits a list into its items, each with its weight in thousandths.
fn weighted(list: &str) -> impl Iterator<Item = (&str, u16)> {
    list.split(',').filter_map(|range| {
        let mut parameters = range.split(';');
        let item = parameters.next()?.trim();
        let weight = parameters.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        Some((item, weight.map_or(1000, parse_thousandths)))
    })
}

/// Finds the language that a range of `Accept-Language` accepts.
fn find_language<'a>(mut range: &str, available: &[&'a str]) -> Option<&'a str> {
    if range == "*" {
        return available.first().copied();
    }
    loop {
        let mut languages = available.iter();
        if let Some(language) = languages.find(|it| it.eq_ignore_ascii_case(range)) {
            return Some(language);
        }
        (range, _) = range.rsplit_once('-')?;
    }
}

/// Parses a weight (RFC 9110, 12.4.2) as thousandths. An invalid weight is 0.
fn parse_thousandths(weight: &str) -> u16 {
    let weight: f32 = weight.parse().unwrap_or(0.0);
    (weight.clamp(0.0, 1.0) * 1000.0) as u16
}
