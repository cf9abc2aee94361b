//! Any `Cookie` header lines, compared with a naive parser; and every value that a `SetCookie`
//! template accepts, checked against the grammar.
#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header::COOKIE};
use hyper_session::cookie::{Attributes, CookieName, Finder, MAX_CANDIDATES, SetCookie};
use libfuzzer_sys::fuzz_target;

// The first line of the input is the cookie's name. Each later line is a header line.
fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&byte| byte == b'\n');
    let name = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let Ok(name) = CookieName::new(&*name) else {
        return;
    };
    let headers: HeaderMap = lines
        .filter_map(|line| Some((COOKIE, HeaderValue::from_bytes(line).ok()?)))
        .collect();
    let finder = Finder::new(&name);
    let values: Vec<&[u8]> = finder.find(&headers).collect();
    assert_eq!(values, find_naively(&headers, name.as_str().as_bytes()));
    values
        .iter()
        .for_each(|value| check_round_trip(&name, value));
});

fn find_naively<'a>(headers: &'a HeaderMap, name: &[u8]) -> Vec<&'a [u8]> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'))
        .filter_map(|part| {
            let equals = part.iter().position(|&byte| byte == b'=')?;
            (strip(&part[..equals]) == name).then(|| unquote(strip(&part[equals + 1..])))
        })
        .take(MAX_CANDIDATES)
        .collect()
}

fn strip(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_text).map_or(start, |at| at + 1);
    &bytes[start..end]
}

fn unquote(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    }
}

/// Checks that a value that can be set is found again unchanged, and that no part of it becomes an
/// attribute.
fn check_round_trip(name: &CookieName, value: &[u8]) {
    let attributes = Attributes::default();
    let cookie = SetCookie::new(name.clone(), attributes).expect("the defaults suit every prefix");
    let Ok(set) = cookie.set(value, Some(Duration::from_secs(60))) else {
        return;
    };
    let pair = [name.as_str().as_bytes(), b"=", value].concat();
    let rest = set.as_bytes().strip_prefix(pair.as_slice());
    let expected = b"; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax".as_slice();
    assert_eq!(rest, Some(expected));
    let sent_back = HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(&pair).unwrap())]);
    assert_eq!(Finder::new(name).find(&sent_back).next(), Some(value));
}
