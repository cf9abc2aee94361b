//! A cookie as a browser reads it from a `Set-Cookie` line.

use std::{
    fmt,
    net::Ipv4Addr,
    time::{Duration, UNIX_EPOCH},
};

use http::Uri;

use crate::clock::Timestamp;

/// Maximum length of name and value together (RFC 6265bis, 5.6).
const MAX_BYTES: usize = 4096;

/// A longer attribute is ignored (RFC 6265bis, 5.6).
const MAX_ATTRIBUTE_BYTES: usize = 1024;

/// A cookie of a browser.
#[derive(Debug)]
pub(super) struct BrowserCookie {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) domain: String,
    /// Also sent to the subdomains of `domain`. The opposite of the RFC's host-only-flag.
    pub(super) with_subdomains: bool,
    pub(super) path: String,
    pub(super) secure: bool,
    /// `None` until the browser closes.
    pub(super) expires: Option<Timestamp>,
}

/// A cookie that a browser does not store, or does not send as its service expects.
#[derive(Debug)]
pub(super) struct CookieProblem {
    pub(super) name: String,
    pub(super) rule: CookieRule,
}

/// The rule that a cookie breaks, with the remedy.
#[derive(Debug, thiserror::Error)]
pub(super) enum CookieRule {
    #[error(
        "`Secure` is rejected from an http origin; use an https origin with `TestClient::with_origin`, or \
         `SessionConfig::secure(false)`"
    )]
    SecureOverHttp,
    #[error(
        "`Domain={domain}` does not cover the host {host:?}; set the client's origin with \
         `TestClient::with_origin`, or another `Domain`"
    )]
    ForeignDomain { domain: String, host: String },
    #[error(
        "the prefix `__Host-` requires `Secure`, `Path=/` and no `Domain`; set them, or rename it"
    )]
    HostPrefix,
    #[error("the prefix `__Secure-` requires `Secure`; set it, or rename the cookie")]
    SecurePrefix,
    #[error("`SameSite=None` requires `Secure`; set it, or use `SameSite=Lax`")]
    SameSiteNone,
    #[error("name and value have {0} bytes, limit is {MAX_BYTES}; store less")]
    TooLong(usize),
    #[error("the line is not `name=value` in UTF-8 without control characters; write it that way")]
    Malformed,
    #[error(
        "`Path={path}` does not cover the request's path {request:?}, so a browser sends no session there; \
         request a path below it, or set another `cookie.path`"
    )]
    OtherPath { path: String, request: String },
}

impl fmt::Display for CookieProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cookie {:?}: {}", self.name, self.rule)
    }
}

impl BrowserCookie {
    /// Reads a `Set-Cookie` line of a response from `url` (RFC 6265bis, 5.6 and 5.7). Returns `None` for
    /// an empty line, and for the removal of a cookie that a browser does not have.
    pub(super) fn from_line(
        line: &[u8],
        url: &Uri,
        now: Timestamp,
    ) -> Result<Option<Self>, CookieProblem> {
        if line.is_empty() {
            return Ok(None);
        }
        let (cookie, attributes) = match std::str::from_utf8(line).ok().and_then(split) {
            Some((name, value, attributes)) => {
                let attributes = LineAttributes::parse(attributes);
                (attributes.cookie(name, value, url, now), attributes)
            }
            None => {
                let end = line.iter().position(|byte| matches!(byte, b'=' | b';'));
                let name = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
                return Err(CookieProblem {
                    name: String::from_utf8_lossy(name).into_owned(),
                    rule: CookieRule::Malformed,
                });
            }
        };
        match cookie.broken_rule(&attributes, url) {
            None => Ok(Some(cookie)),
            // Services remove cookies of former domains and paths with every response.
            Some(_) if !cookie.is_alive(now) => Ok(None),
            Some(rule) => Err(CookieProblem {
                name: cookie.name,
                rule,
            }),
        }
    }

    /// Returns the rule by which a browser rejects the cookie.
    fn broken_rule(&self, attributes: &LineAttributes<'_>, url: &Uri) -> Option<CookieRule> {
        let (host, len) = (host(url), self.name.len() + self.value.len());
        let name = self.name.to_ascii_lowercase();
        if len > MAX_BYTES {
            return Some(CookieRule::TooLong(len));
        }
        if !covers(&self.domain, &host) {
            let domain = self.domain.clone();
            return Some(CookieRule::ForeignDomain { domain, host });
        }
        if self.secure && !is_https(url) {
            return Some(CookieRule::SecureOverHttp);
        }
        if attributes.is_for_all_sites && !self.secure {
            return Some(CookieRule::SameSiteNone);
        }
        if name.starts_with("__secure-") && !self.secure {
            return Some(CookieRule::SecurePrefix);
        }
        let fits_host = self.secure && !self.with_subdomains && attributes.path == Some("/");
        (name.starts_with("__host-") && !fits_host).then_some(CookieRule::HostPrefix)
    }

    pub(super) fn is_alive(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Returns `true` if a browser has one cookie of the two only (RFC 6265bis, 5.7, step 23).
    pub(super) fn replaces(&self, other: &Self) -> bool {
        (&self.name, &self.domain, self.with_subdomains, &self.path)
            == (
                &other.name,
                &other.domain,
                other.with_subdomains,
                &other.path,
            )
    }

    /// Returns `true` if a browser sends the cookie to `url` (RFC 6265bis, 5.8.3).
    pub(super) fn is_sent_to(&self, url: &Uri) -> bool {
        let host = host(url);
        let fits_host = host == self.domain || self.with_subdomains && covers(&self.domain, &host);
        fits_host && (is_https(url) || !self.secure) && is_below(url.path(), &self.path)
    }
}

/// Splits a `Set-Cookie` line into name, value and attributes.
fn split(line: &str) -> Option<(&str, &str, &str)> {
    let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
    let (name, value) = pair.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_valid = !name.is_empty() && !pair.chars().any(|c| c.is_control() && c != '\t');
    is_valid.then_some((name, value, attributes))
}

/// The attributes of a `Set-Cookie` line. Unknown ones are ignored.
#[derive(Default)]
struct LineAttributes<'l> {
    secure: bool,
    path: Option<&'l str>,
    domain: Option<String>,
    max_age: Option<i64>,
    expires: Option<Duration>,
    /// `SameSite=None`.
    is_for_all_sites: bool,
}

impl<'l> LineAttributes<'l> {
    fn parse(text: &'l str) -> Self {
        let mut parsed = Self::default();
        for attribute in text.split(';') {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            if value.len() > MAX_ATTRIBUTE_BYTES {
                continue;
            }
            match name.as_str() {
                "secure" => parsed.secure = true,
                "path" => parsed.path = Some(value).filter(|path| path.starts_with('/')),
                "domain" => {
                    let domain = value.strip_prefix('.').unwrap_or(value);
                    parsed.domain = Some(domain.to_ascii_lowercase()).filter(|it| !it.is_empty());
                }
                "max-age" => parsed.max_age = value.parse().ok().or(parsed.max_age),
                "expires" => {
                    let time = httpdate::parse_http_date(value).ok();
                    let since = time.map(|it| it.duration_since(UNIX_EPOCH).unwrap_or_default());
                    parsed.expires = since.or(parsed.expires);
                }
                "samesite" => parsed.is_for_all_sites = value.eq_ignore_ascii_case("none"),
                _ => {}
            }
        }
        parsed
    }

    fn cookie(&self, name: &str, value: &str, url: &Uri, now: Timestamp) -> BrowserCookie {
        let max_age = self.max_age.map(|seconds| {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            now.saturating_add(Duration::from_secs(seconds))
        });
        let expires = self
            .expires
            .map(|since_epoch| Timestamp::default().saturating_add(since_epoch));
        BrowserCookie {
            name: name.to_owned(),
            value: value.to_owned(),
            domain: self.domain.clone().unwrap_or_else(|| host(url)),
            with_subdomains: self.domain.is_some(),
            path: self
                .path
                .unwrap_or_else(|| default_path(url.path()))
                .to_owned(),
            secure: self.secure,
            expires: max_age.or(expires),
        }
    }
}

pub(super) fn host(url: &Uri) -> String {
    url.host().unwrap_or_default().to_ascii_lowercase()
}

fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

/// Returns the folder of a path, which is the default path of its cookies (RFC 6265bis, 5.1.4).
fn default_path(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((folder, _)) if !folder.is_empty() => folder,
        _ => "/",
    }
}

/// Returns `true` if `host` is `domain` or one of its subdomains (RFC 6265bis, 5.1.3). An address has none.
fn covers(domain: &str, host: &str) -> bool {
    let is_subdomain = |before: &str| before.ends_with('.') && host.parse::<Ipv4Addr>().is_err();
    host.strip_suffix(domain)
        .is_some_and(|before| before.is_empty() || is_subdomain(before))
}

/// Returns `true` if a path is a cookie's path or below it (RFC 6265bis, 5.1.4).
fn is_below(path: &str, cookie_path: &str) -> bool {
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
}
