//! Finding and setting a cookie, compared with other code on the same bytes.
//!
//! Run it with `cargo bench --bench cookie`. The baseline of a scan is `memchr walk`, which only stops
//! at every `;` of the same header.

use std::{hint::black_box, time::Duration};

use criterion::Criterion;
use http::{HeaderMap, HeaderValue, header::COOKIE};
use hyper_session::cookie::{Attributes, CookieName, Finder, SetCookie};
use memchr::memchr_iter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NAME: &str = "__Host-session";
/// The value of an id cookie: 106 characters.
const SEALED_ID: &str = "AcaHVPAcaHVPZkZWZnaGlqa2xtbm_UO-4HXoXHyKAQPnj9d4vmjTDZO2urcNn_hWwlh2mq64cXHyKAQPnj9d4vmjTDZO2urcNn_hWwlh2m";

/// Returns a header of `count` cookies and about `len` bytes, with the session cookie at
/// `session_index`.
fn header(count: usize, len: usize, session_index: Option<usize>) -> String {
    let session_len = session_index.map_or(0, |_| NAME.len() + SEALED_ID.len());
    let value_len = (len - session_len) / count - "_cookie_00=; ".len();
    let cookies: Vec<String> = (0..count)
        .map(|n| match session_index {
            Some(at) if at == n => format!("{NAME}={SEALED_ID}"),
            _ => format!(
                "_cookie_{n:02}={}",
                "v9-Xk.2_sQ".repeat(9)[..value_len.min(90)].to_owned()
            ),
        })
        .collect();
    cookies.join("; ")
}

fn scan(criterion: &mut Criterion, case: &str, line: &str) {
    let mut group = criterion.benchmark_group(format!("scan, {case}, {} B", line.len()));
    let headers = HeaderMap::from_iter([(COOKIE, line.parse::<HeaderValue>().unwrap())]);
    let finder = Finder::new(&CookieName::new(NAME).unwrap());

    group.bench_function("first", |b| {
        b.iter(|| {
            black_box(&finder)
                .find(black_box(&headers))
                .next()
                .map(<[u8]>::len)
        });
    });
    group.bench_function("all", |b| {
        b.iter(|| black_box(&finder).find(black_box(&headers)).count());
    });
    group.bench_function("memchr walk", |b| {
        b.iter(|| walk(line_of(black_box(&headers))));
    });
    group.bench_function("cookie crate", |b| {
        b.iter(|| {
            let line = std::str::from_utf8(line_of(black_box(&headers))).unwrap();
            let mut cookies = cookie::Cookie::split_parse(line).flatten();
            cookies
                .find(|cookie| cookie.name() == NAME)
                .map(|cookie| cookie.value().len())
        });
    });
    group.finish();
}

fn line_of(headers: &HeaderMap) -> &[u8] {
    headers.get(COOKIE).map_or(&[], HeaderValue::as_bytes)
}

/// Stops at every `;`, which `Iterator::count` does not.
fn walk(line: &[u8]) -> usize {
    memchr_iter(b';', line).fold(0, |sum, at| sum ^ at)
}

fn set(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("set");
    let cookie = SetCookie::new(CookieName::new(NAME).unwrap(), Attributes::default()).unwrap();
    let age = Some(Duration::from_secs(7200));
    group.bench_function("sealed id", |b| {
        b.iter(|| cookie.set(black_box(SEALED_ID.as_bytes()), black_box(age)));
    });
    group.bench_function("removal", |b| b.iter(|| cookie.removal()));
    group.bench_function("cookie crate", |b| {
        b.iter(|| {
            let cookie = cookie::Cookie::build((NAME, black_box(SEALED_ID)))
                .path("/")
                .secure(true)
                .http_only(true)
                .same_site(cookie::SameSite::Lax)
                .max_age(cookie::time::Duration::seconds(black_box(7200)))
                .build();
            HeaderValue::try_from(cookie.to_string())
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    scan(
        &mut criterion,
        "6 cookies, session 4th",
        &header(6, 400, Some(3)),
    );
    scan(
        &mut criterion,
        "50 cookies, session in the middle",
        &header(50, 4000, Some(24)),
    );
    scan(
        &mut criterion,
        "50 cookies, no session",
        &header(50, 4000, None),
    );
    set(&mut criterion);
    criterion.final_summary();
}
