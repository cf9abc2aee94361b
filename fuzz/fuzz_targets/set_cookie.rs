//! Any name, value, domain and path as a `Set-Cookie` line, through the cookie jar of another crate. What
//! this crate accepts comes back unchanged, the jar finds no attribute that was not set, and the line keeps the rules
//! for which browsers drop a cookie.
#![no_main]

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use cookie_store::CookieStore;
use http::{HeaderMap, HeaderValue, header::COOKIE};
use hyper_session::cookie::{Attributes, CookieName, Finder, Priority, SameSite, SetCookie};
use libfuzzer_sys::fuzz_target;
use url::Url;

/// 400 days, as long as browsers keep a cookie.
const MAX_AGE_SECONDS: u64 = 400 * 86_400;

/// Maximum length of name and value in bytes, and of the value of an attribute (RFC 6265bis section 5.6).
const MAX_PAIR: usize = 4096;
const MAX_ATTRIBUTE: usize = 1024;

const HOST: &str = "www.example.org";
const PAGE: &str = "https://www.example.org/app/page";

fuzz_target!(|input: &[u8]| {
    let _ = run(&mut Unstructured::new(input));
});

fn run(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let prefix = *input.choose(&["", "__Host-", "__Secure-", "__Http-", "__Host-Http-"])?;
    let name = format!("{prefix}{}", <&str>::arbitrary(input)?);
    let (domain, mut path) = (domain(input)?, path(input)?);
    let secure = bool::arbitrary(input)?;
    let flags = u8::arbitrary(input)?;
    // Lengths around the limits.
    let more = usize::from(flags >> 6);
    if flags & 16 != 0 {
        pad(&mut path, MAX_ATTRIBUTE - 2 + more);
    }
    let mut attributes = Attributes::default().path(path.clone());
    if let Some(domain) = &domain {
        attributes = attributes.domain(domain.clone());
    }
    attributes.secure = secure;
    let (http_only, partitioned) = (flags & 1 != 0, flags & 2 != 0);
    attributes.http_only = http_only;
    attributes.partitioned = partitioned;
    let priorities = [
        None,
        Some(Priority::Low),
        Some(Priority::Medium),
        Some(Priority::High),
    ];
    let priority = priorities[usize::from(flags >> 2) % 4];
    attributes.priority = priority;
    let same_site = *input.choose(&[
        None,
        Some(SameSite::Lax),
        Some(SameSite::Strict),
        Some(SameSite::None),
    ])?;
    attributes.same_site = same_site;
    let max_age = Option::<u32>::arbitrary(input)?.map(|secs| Duration::from_secs(secs.into()));
    let mut value = input.bytes(input.len())?.to_vec();
    if flags & 32 != 0 {
        let len = (MAX_PAIR - 2 + more).saturating_sub(name.len());
        value.resize(value.len().max(len), b'v');
    }
    let Ok(name) = CookieName::new(name) else {
        return Ok(());
    };
    let Ok(cookie) = SetCookie::new(name.clone(), attributes) else {
        return Ok(());
    };
    let Ok(set) = cookie.set(&value, max_age) else {
        return Ok(());
    };
    let value = std::str::from_utf8(&value).expect("cookie octets are ASCII");
    let line = set.to_str().expect("visible text");
    check_rules(line);
    let url = Url::parse(PAGE).expect("a URL");
    let mut jar = CookieStore::default();
    // A jar refuses the cookies of another domain, and those that have ended.
    let is_taken = jar.parse(line, &url).is_ok();
    let is_ours = domain
        .as_deref()
        .is_none_or(|domain| domain == HOST || domain == "example.org");
    // The jar ignores this attribute.
    let found = line
        .rsplit_once("; Priority=")
        .map(|(_, text)| text.to_owned());
    assert_eq!(found, priority.map(|priority| format!("{priority:?}")));
    let has_ended = max_age.is_some_and(|age| age.is_zero());
    assert!(is_taken || !is_ours || has_ended, "{line}");
    assert!(jar.iter_any().count() <= 1, "{line}");
    for stored in jar.iter_any() {
        assert_eq!(
            (stored.name(), stored.value()),
            (name.as_str(), value),
            "{line}"
        );
        assert_eq!(stored.secure().unwrap_or(false), secure, "{line}");
        assert_eq!(stored.path(), Some(&*path), "{line}");
        assert_eq!(stored.http_only().unwrap_or(false), http_only, "{line}");
        assert_eq!(stored.partitioned().unwrap_or(false), partitioned, "{line}");
        // The two types are those of two crates.
        let same_sites = (
            format!("{:?}", stored.same_site()),
            format!("{same_site:?}"),
        );
        assert_eq!(same_sites.0, same_sites.1, "{line}");
        let domains = [stored.domain(), domain.as_deref()];
        let [kept, set] = domains.map(|domain| domain.map(str::to_ascii_lowercase));
        assert_eq!(kept, set, "{line}");
        let seconds = stored.max_age().map(|age| age.whole_seconds());
        let limit = max_age.map(|age| age.as_secs().min(MAX_AGE_SECONDS) as i64);
        assert_eq!(seconds, limit, "{line}");
    }
    let is_sent = is_taken && !has_ended && ["/", "/app", "/app/"].contains(&&*path);
    check_sent(&jar, &url, &name, is_sent.then_some(value));

    let _ = jar.parse(cookie.removal().to_str().expect("visible text"), &url);
    check_sent(&jar, &url, &name, None);
    Ok(())
}

/// Checks the rules for which browsers ignore an attribute or drop the cookie: lengths, prefixes of names, and
/// attributes that need `Secure`.
fn check_rules(line: &str) {
    let mut parts = line.split("; ");
    let pair = parts.next().and_then(|pair| pair.split_once('='));
    let (name, value) = pair.expect("a pair");
    assert!(name.len() + value.len() <= MAX_PAIR, "{line}");
    let attributes: Vec<&str> = parts.collect();
    for attribute in &attributes {
        let value = attribute.split_once('=').map_or("", |(_, value)| value);
        assert!(value.len() <= MAX_ATTRIBUTE, "{line}");
    }
    let has = |attribute| attributes.contains(&attribute);
    let has_domain = attributes.iter().any(|it| it.starts_with("Domain="));
    // Browsers ignore the case of prefixes.
    let name = name.to_ascii_lowercase();
    let is_host = name.starts_with("__host-");
    let is_http = name.starts_with("__http-") || name.starts_with("__host-http-");
    let is_secure = is_host || is_http || name.starts_with("__secure-");
    let needs_secure = is_secure || has("SameSite=None") || has("Partitioned");
    assert!(has("Secure") || !needs_secure, "{line}");
    assert!(has("HttpOnly") || !is_http, "{line}");
    assert!(!is_host || has("Path=/") && !has_domain, "{line}");
}

/// Checks the value that the jar sends. An expected cookie must be sent; another one only may be.
fn check_sent(jar: &CookieStore, url: &Url, name: &CookieName, expected: Option<&str>) {
    let pairs: Vec<String> = jar
        .get_request_values(url)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let Ok(line) = HeaderValue::try_from(pairs.join("; ")) else {
        panic!("{pairs:?}");
    };
    let headers = HeaderMap::from_iter([(COOKIE, line)]);
    let finder = Finder::new(name);
    let found: Vec<&[u8]> = finder.find(&headers).collect();
    if let Some(value) = expected {
        assert_eq!(found, [value.as_bytes()]);
    }
    assert!(found.len() <= 1);
}

/// Makes a text at least so long.
fn pad(text: &mut String, len: usize) {
    let missing = len.saturating_sub(text.len());
    text.push_str(&"p".repeat(missing));
}

fn domain(input: &mut Unstructured<'_>) -> arbitrary::Result<Option<String>> {
    Ok(match input.int_in_range(0..=3)? {
        0 => None,
        1 => Some("example.org".to_owned()),
        2 => Some(HOST.to_owned()),
        _ => Some(String::arbitrary(input)?),
    })
}

fn path(input: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    Ok(match input.int_in_range(0..=3)? {
        0 => "/".to_owned(),
        1 => "/app".to_owned(),
        2 => "/app/".to_owned(),
        _ => format!("/{}", String::arbitrary(input)?),
    })
}
