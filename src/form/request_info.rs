//! The parts of a request that decide the response to its errors.

use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, REFERER},
};

use super::origin::OwnOrigins;
use crate::session::is_own_path;

const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// The method, the URL and some headers of a request, kept until its response is known.
#[derive(Debug)]
pub(super) struct RequestInfo {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    requested_with: Option<HeaderValue>,
}

impl RequestInfo {
    pub(super) fn new<B>(request: &Request<B>) -> Self {
        let header = |name: HeaderName| request.headers().get(name).cloned();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            host: header(HOST),
            referer: header(REFERER),
            accept: combined_accept(request.headers()),
            content_type: header(CONTENT_TYPE),
            requested_with: header(REQUESTED_WITH),
        }
    }

    /// Returns `true` if the client prefers JSON to HTML.
    ///
    /// `Accept` decides (RFC 9110, 12.5.1), if it lists either type by its name. Otherwise, JSON is
    /// preferred if a script sent the request (`X-Requested-With: XMLHttpRequest`) or its body is JSON.
    pub(super) fn wants_json(&self) -> bool {
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
    pub(super) fn referer_path(&self, origins: &OwnOrigins) -> Option<String> {
        let referer: Uri = header_text(&self.referer)?.parse().ok()?;
        if !origins.contains(&referer, &self.uri, self.host.as_ref()) {
            return None;
        }
        let path = referer.path_and_query()?.as_str();
        is_own_path(path).then(|| path.to_owned())
    }

    /// Returns `true` if a redirect to `path` would repeat this request.
    pub(super) fn would_loop(&self, path: &str) -> bool {
        let requested = self
            .uri
            .path_and_query()
            .map(http::uri::PathAndQuery::as_str);
        self.method.is_safe() && requested == Some(path)
    }
}

/// Returns `Accept` as one value. Several header lines are equivalent to one line with commas
/// (RFC 9110, 5.3).
fn combined_accept(headers: &HeaderMap) -> Option<HeaderValue> {
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

fn header_text(value: &Option<HeaderValue>) -> Option<&str> {
    value.as_ref()?.to_str().ok()
}

/// Returns the highest quality, in thousandths, of the media types in `accept` that match.
fn quality(accept: &str, matches: impl Fn(&str) -> bool) -> Option<u16> {
    let ranges = accept.split(',').filter_map(|range| {
        let mut parameters = range.split(';');
        let media_type = parameters.next()?.trim().to_ascii_lowercase();
        matches(&media_type).then(|| {
            let weight = parameters.find_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
            });
            weight.map_or(1000, parse_thousandths)
        })
    });
    ranges.max()
}

/// Parses a weight (RFC 9110, 12.4.2) as thousandths. An invalid weight is 0.
fn parse_thousandths(weight: &str) -> u16 {
    let weight: f32 = weight.parse().unwrap_or(0.0);
    (weight.clamp(0.0, 1.0) * 1000.0) as u16
}
