//! What is kept of a request, for the answer to its errors.

use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, REFERER},
};

use super::origin::Origins;
use crate::session::is_own_path;

const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// A request's method and URL, and the header lines that matter.
#[derive(Debug)]
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    requested_with: Option<HeaderValue>,
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let line = |name: HeaderName| request.headers().get(name).cloned();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            host: line(HOST),
            referer: line(REFERER),
            accept: accept(request.headers()),
            content_type: line(CONTENT_TYPE),
            requested_with: line(REQUESTED_WITH),
        }
    }

    /// Whether JSON is rather wanted than a page: as `Accept` says (RFC 9110, 12.5.1), of what it names
    /// by name; else if a script asked (`X-Requested-With: XMLHttpRequest`) or JSON was sent.
    pub(super) fn wants_json(&self) -> bool {
        let accept = text(&self.accept).unwrap_or_default();
        let page = quality(accept, |kind| {
            matches!(kind, "text/html" | "application/xhtml+xml")
        });
        let json = quality(accept, |kind| {
            kind == "application/json" || kind.ends_with("+json")
        });
        match (json, page) {
            (Some(json), page) if json > 0 => json > page.unwrap_or(0),
            (_, Some(page)) if page > 0 => false,
            (Some(_), _) => false,
            _ => self.is_script() || self.sent_json(),
        }
    }

    fn is_script(&self) -> bool {
        let with = text(&self.requested_with);
        with.is_some_and(|with| with.eq_ignore_ascii_case("XMLHttpRequest"))
    }

    fn sent_json(&self) -> bool {
        let kind = text(&self.content_type).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    }

    /// The page that the request came from, as a path, if it is on our origin.
    pub(super) fn came_from(&self, origins: &Origins) -> Option<String> {
        let referer: Uri = text(&self.referer)?.parse().ok()?;
        if !origins.own(&referer, &self.uri, self.host.as_ref()) {
            return None;
        }
        let path = referer.path_and_query()?.as_str();
        is_own_path(path).then(|| path.to_owned())
    }

    /// Whether going to `path` would only repeat the request.
    pub(super) fn is_repeated_by(&self, path: &str) -> bool {
        let asked = self
            .uri
            .path_and_query()
            .map(http::uri::PathAndQuery::as_str);
        self.method.is_safe() && asked == Some(path)
    }
}

/// What `Accept` says, in one line: several mean the same as one with commas (RFC 9110, 5.3).
fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(ACCEPT).iter();
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

fn text(line: &Option<HeaderValue>) -> Option<&str> {
    line.as_ref()?.to_str().ok()
}

/// The highest quality, in thousandths, that `accept` gives to a type by its name.
fn quality(accept: &str, is_meant: impl Fn(&str) -> bool) -> Option<u16> {
    let ranges = accept.split(',').filter_map(|range| {
        let mut parameters = range.split(';');
        let kind = parameters.next()?.trim().to_ascii_lowercase();
        is_meant(&kind).then(|| {
            let weight = parameters.find_map(|it| {
                let (name, value) = it.split_once('=')?;
                name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
            });
            weight.map_or(1000, thousandths)
        })
    });
    ranges.max()
}

/// A weight as RFC 9110, 12.4.2, writes it; anything else counts as none.
fn thousandths(weight: &str) -> u16 {
    let weight: f32 = weight.parse().unwrap_or(0.0);
    (weight.clamp(0.0, 1.0) * 1000.0) as u16
}
