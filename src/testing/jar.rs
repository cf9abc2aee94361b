//! The cookies of a browser.

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue, Uri,
    header::{COOKIE, SET_COOKIE},
};

use crate::clock::Timestamp;

/// The cookies of one browser (RFC 6265bis, 5.6 to 5.8), for requests from pages of the same site.
#[derive(Debug, Default)]
pub(super) struct BrowserCookies(Vec<BrowserCookie>);

#[derive(Debug)]
struct BrowserCookie {
    name: String,
    value: String,
    domain: String,
    /// Also sent to the subdomains of `domain`.
    with_subdomains: bool,
    path: String,
    secure: bool,
    /// `None` until the browser closes.
    expires: Option<Timestamp>,
}

impl BrowserCookies {
    /// Stores the cookies of a response from `url`. Drops those that a browser would reject.
    pub(super) fn store(&mut self, url: &Uri, headers: &HeaderMap, now: Timestamp) {
        for line in headers.get_all(SET_COOKIE) {
            let Some(cookie) = line.to_str().ok().and_then(|it| parse(it, url, now)) else {
                continue;
            };
            let is_same = |it: &BrowserCookie| {
                (&it.name, &it.domain, &it.path) == (&cookie.name, &cookie.domain, &cookie.path)
            };
            match self.0.iter().position(is_same) {
                // A cookie keeps its place when it is replaced.
                Some(at) => self.0.splice(at..=at, [cookie]).for_each(drop),
                None => self.0.push(cookie),
            }
        }
        self.0.retain(|cookie| cookie.is_alive(now));
    }

    /// Sets a cookie for every path of `url`'s host, until the browser closes.
    pub(super) fn set(&mut self, url: &Uri, name: &str, value: &str) {
        let domain = host(url);
        self.0.retain(|it| it.name != name);
        self.0.push(BrowserCookie {
            name: name.to_owned(),
            value: value.to_owned(),
            domain,
            with_subdomains: false,
            path: "/".to_owned(),
            secure: false,
            expires: None,
        });
    }

    /// Adds the `Cookie` header of a request to `url`: longer paths first, then older cookies.
    pub(super) fn add_to(&self, url: &Uri, headers: &mut HeaderMap, now: Timestamp) {
        let (host, secure) = (host(url), url.scheme_str() == Some("https"));
        let is_sent = |it: &&BrowserCookie| {
            it.is_alive(now)
                && (secure || !it.secure)
                && (host == it.domain || it.with_subdomains && is_subdomain(&host, &it.domain))
                && is_below(url.path(), &it.path)
        };
        add_header(self.0.iter().filter(is_sent).collect(), headers);
    }

    /// Adds a `Cookie` header with all cookies.
    pub(super) fn add_all_to(&self, headers: &mut HeaderMap, now: Timestamp) {
        add_header(
            self.0.iter().filter(|it| it.is_alive(now)).collect(),
            headers,
        );
    }

    /// Returns the value of a cookie.
    pub(super) fn get(&self, name: &str, now: Timestamp) -> Option<&str> {
        let mut alive = self.0.iter().filter(|it| it.is_alive(now));
        alive.find(|it| it.name == name).map(|it| &*it.value)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Drops the cookies that live until the browser closes.
    pub(super) fn close(&mut self) {
        self.0.retain(|cookie| cookie.expires.is_some());
    }
}

impl BrowserCookie {
    fn is_alive(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

fn add_header(mut cookies: Vec<&BrowserCookie>, headers: &mut HeaderMap) {
    cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
    let pairs: Vec<String> = cookies
        .iter()
        .map(|cookie| format!("{}={}", cookie.name, cookie.value))
        .collect();
    if !pairs.is_empty()
        && let Ok(line) = HeaderValue::try_from(pairs.join("; "))
    {
        headers.insert(COOKIE, line);
    }
}

/// Reads a `Set-Cookie` line. Returns `None` for a cookie that a browser rejects.
fn parse(line: &str, url: &Uri, now: Timestamp) -> Option<BrowserCookie> {
    let mut parts = line.split(';').map(str::trim);
    let (name, value) = parts.next()?.split_once('=')?;
    let (host, is_https) = (host(url), url.scheme_str() == Some("https"));
    let mut cookie = BrowserCookie {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
        domain: host.clone(),
        with_subdomains: false,
        path: default_path(url.path()).to_owned(),
        secure: false,
        expires: None,
    };
    let (mut max_age, mut expires) = (None, None);
    for attribute in parts {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        match name.to_ascii_lowercase().as_str() {
            "secure" => cookie.secure = true,
            "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
            "domain" if !value.is_empty() => {
                cookie.domain = value.trim_start_matches('.').to_ascii_lowercase();
                cookie.with_subdomains = true;
            }
            "max-age" => max_age = value.parse::<i64>().ok().or(max_age),
            "expires" => expires = httpdate::parse_http_date(value).ok(),
            _ => {}
        }
    }
    cookie.expires = match (max_age, expires) {
        (Some(seconds), _) => {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            Some(now.saturating_add(Duration::from_secs(seconds)))
        }
        (None, Some(time)) => {
            let since_epoch = time.duration_since(std::time::UNIX_EPOCH);
            Some(Timestamp::default().saturating_add(since_epoch.unwrap_or_default()))
        }
        (None, None) => None,
    };
    let is_own_domain = host == cookie.domain || is_subdomain(&host, &cookie.domain);
    let is_allowed = is_own_domain && (is_https || !cookie.secure) && follows_prefix(&cookie);
    is_allowed.then_some(cookie)
}

/// Returns `true` if a cookie has the attributes that the prefix of its name demands.
fn follows_prefix(cookie: &BrowserCookie) -> bool {
    let name = cookie.name.to_ascii_lowercase();
    if name.starts_with("__host-") {
        return cookie.secure && !cookie.with_subdomains && cookie.path == "/";
    }
    cookie.secure || !name.starts_with("__secure-")
}

fn host(url: &Uri) -> String {
    url.host().unwrap_or_default().to_ascii_lowercase()
}

/// Returns the folder of a path, which is the default path of its cookies (RFC 6265bis, 5.1.4).
fn default_path(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((folder, _)) if !folder.is_empty() => folder,
        _ => "/",
    }
}

fn is_subdomain(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|before| before.ends_with('.'))
}

/// Returns `true` if a path is a cookie's path or below it (RFC 6265bis, 5.1.4).
fn is_below(path: &str, cookie_path: &str) -> bool {
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
}
