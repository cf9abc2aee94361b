//! The cookies of a browser.

use http::{
    HeaderMap, HeaderValue, Uri,
    header::{COOKIE, SET_COOKIE, VARY},
};

use super::browser_cookie::{BrowserCookie, CookieProblem, CookieRule, host};
use crate::clock::Timestamp;

/// The cookies of one browser (RFC 6265bis, 5.6 to 5.8), for requests from pages of the same site.
#[derive(Debug, Default)]
pub(super) struct BrowserCookies(Vec<BrowserCookie>);

impl BrowserCookies {
    /// Stores the cookies of a response from `url`.
    ///
    /// # Errors
    /// If a browser would reject one of them.
    pub(super) fn store(
        &mut self,
        url: &Uri,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<(), CookieProblem> {
        for line in headers.get_all(SET_COOKIE) {
            let Some(cookie) = BrowserCookie::from_line(line.as_bytes(), url, now)? else {
                continue;
            };
            match self.0.iter().position(|it| cookie.replaces(it)) {
                // A cookie keeps its place when it is replaced.
                Some(at) => self.0.splice(at..=at, [cookie]).for_each(drop),
                None => self.0.push(cookie),
            }
        }
        self.0.retain(|cookie| cookie.is_alive(now));
        Ok(())
    }

    /// Fails if the response of a request to `url` depends on the session, but a browser did not send the
    /// cookie `name` of its session because of the cookie's path.
    pub(super) fn check_path(
        &self,
        name: &str,
        url: &Uri,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<(), CookieProblem> {
        let is_session = |it: &&BrowserCookie| it.name == name && it.is_alive(now);
        let mut sessions = self.0.iter().filter(is_session);
        let Some(unsent) = sessions.next() else {
            return Ok(());
        };
        let is_sent = unsent.is_sent_to(url) || sessions.any(|it| it.is_sent_to(url));
        if is_sent || !uses_session(name, headers) {
            return Ok(());
        }
        let rule = CookieRule::OtherPath {
            path: unsent.path.clone(),
            request: url.path().to_owned(),
        };
        Err(CookieProblem {
            name: name.to_owned(),
            rule,
        })
    }

    /// Sets a cookie for every path of `url`'s host, until the browser closes.
    ///
    /// # Errors
    /// If it cannot be sent in a header.
    pub(super) fn set(&mut self, url: &Uri, name: &str, value: &str) -> Result<(), CookieProblem> {
        let is_text = |text: &str| !text.contains(';') && HeaderValue::from_str(text).is_ok();
        if name.is_empty() || name.contains('=') || !is_text(name) || !is_text(value) {
            return Err(CookieProblem {
                name: name.to_owned(),
                rule: CookieRule::Malformed,
            });
        }
        self.0.retain(|it| it.name != name);
        self.0.push(BrowserCookie {
            name: name.to_owned(),
            value: value.to_owned(),
            domain: host(url),
            with_subdomains: false,
            path: "/".to_owned(),
            secure: false,
            expires: None,
        });
        Ok(())
    }

    /// Adds the `Cookie` header of a request to `url`, unless there is one.
    pub(super) fn add_to(&self, url: &Uri, headers: &mut HeaderMap, now: Timestamp) {
        if headers.contains_key(COOKIE) {
            return;
        }
        let is_sent = |it: &&BrowserCookie| it.is_alive(now) && it.is_sent_to(url);
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

/// Adds a `Cookie` header: longer paths first, then older cookies.
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

/// Returns `true` if a response sets the session cookie, or depends on it.
fn uses_session(name: &str, headers: &HeaderMap) -> bool {
    let starts_with_name = |line: &HeaderValue| {
        let value = line.as_bytes().strip_prefix(name.as_bytes());
        value.is_some_and(|value| value.starts_with(b"="))
    };
    let varies = |line: &HeaderValue| {
        let mut names = line.as_bytes().split(|byte| *byte == b',');
        names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"cookie"))
    };
    headers.get_all(SET_COOKIE).iter().any(starts_with_name)
        || headers.get_all(VARY).iter().any(varies)
}
