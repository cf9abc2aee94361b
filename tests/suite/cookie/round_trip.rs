//! From Set-Cookie through a cookie jar to Cookie.

use std::time::Duration;

use cookie_store::CookieStore;
use http::{HeaderMap, HeaderValue, header::COOKIE};
use hyper_session::cookie::{Attributes, CookieName, Finder, SetCookie};
use url::Url;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// A browser: a cookie jar of another crate.
#[derive(Default)]
struct Browser(CookieStore);

impl Browser {
    fn receive(&mut self, url: &str, set: &HeaderValue) {
        let set = set.to_str().unwrap();
        // The jar refuses the removal of a cookie that it does not have. Ignore the error.
        let _ = self.0.parse(set, &Url::parse(url).unwrap());
    }

    fn request(&self, url: &str) -> HeaderMap {
        let url = Url::parse(url).unwrap();
        let pairs: Vec<String> = self
            .0
            .get_request_values(&url)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        HeaderMap::from_iter([(COOKIE, pairs.join("; ").parse().unwrap())])
    }
}

fn cookie(name: &str, attributes: Attributes) -> (SetCookie, Finder) {
    let name = CookieName::new(name).unwrap();
    let finder = Finder::new(&name);
    (SetCookie::new(name, attributes).unwrap(), finder)
}

fn values(finder: &Finder, headers: &HeaderMap) -> Vec<String> {
    finder
        .find(headers)
        .map(|value| String::from_utf8(value.to_vec()).unwrap())
        .collect()
}

#[test]
fn a_browser_sends_back_what_was_set_until_it_is_removed() {
    for (name, attributes) in [
        ("__Host-sid", Attributes::default()),
        (
            "sid",
            Attributes::default().domain("example.org").path("/app"),
        ),
    ] {
        let (cookie, finder) = cookie(name, attributes);
        let mut browser = Browser::default();
        browser.receive(
            "https://www.example.org/app/",
            &cookie.set(b"one", HOUR).unwrap(),
        );
        browser.receive(
            "https://www.example.org/app/",
            &cookie.set(b"two", HOUR).unwrap(),
        );

        let request = browser.request("https://www.example.org/app/page");
        assert_eq!(values(&finder, &request), ["two"]);
        let plain = browser.request("http://www.example.org/app/page");
        assert!(
            values(&finder, &plain).is_empty(),
            "{name} went over a plain connection"
        );

        browser.receive("https://www.example.org/app/", &cookie.removal());
        let request = browser.request("https://www.example.org/app/page");
        assert!(
            values(&finder, &request).is_empty(),
            "{name} was not removed"
        );
    }
}

#[test]
fn cookies_of_one_name_on_two_paths_are_both_found() {
    let mut browser = Browser::default();
    let (root, finder) = cookie("sid", Attributes::default());
    let (app, _) = cookie("sid", Attributes::default().path("/app"));
    browser.receive("https://example.org/", &root.set(b"root", HOUR).unwrap());
    browser.receive("https://example.org/", &app.set(b"app", HOUR).unwrap());

    let mut both = values(&finder, &browser.request("https://example.org/app/"));
    both.sort();
    assert_eq!(both, ["app", "root"]);
    assert_eq!(
        values(&finder, &browser.request("https://example.org/")),
        ["root"]
    );
}
