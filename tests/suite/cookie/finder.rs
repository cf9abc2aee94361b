//! Finding cookies in the lines of a request.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, header::COOKIE};
use hyper_session::cookie::{CookieName, Finder, MAX_CANDIDATES};
use proptest::prelude::*;

fn finder(name: &str) -> Finder {
    Finder::new(&CookieName::new(name).unwrap())
}

fn headers<L: AsRef<[u8]>>(lines: &[L]) -> HeaderMap {
    lines
        .iter()
        .map(|line| (COOKIE, HeaderValue::from_bytes(line.as_ref()).unwrap()))
        .collect()
}

/// Returns the values that a finder for `sid` finds in these lines, as text.
#[track_caller]
fn values(lines: &[&str]) -> Vec<String> {
    let headers = headers(lines);
    let finder = finder("sid");
    finder
        .find(&headers)
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

#[test]
fn a_cookie_is_found_wherever_it_stands() {
    for line in [
        "sid=1",
        "sid=1; b=2",
        "a=0; sid=1",
        "a=0; sid=1; b=2",
        "a=0;sid=1;b=2",
    ] {
        assert_eq!(values(&[line]), ["1"], "{line}");
    }
    assert!(values(&[]).is_empty());
    assert!(values(&["a=0; b=2"]).is_empty());
    assert_eq!(values(&["sid="]), [""]);
}

#[test]
fn several_header_lines_are_read_in_order() {
    assert_eq!(values(&["a=0", "sid=1; b=2", "c=3", "sid=4"]), ["1", "4"]);
}

#[test]
fn every_cookie_of_the_name_is_offered() {
    assert_eq!(values(&["sid=1; sid=2; a=0; sid=1"]), ["1", "2", "1"]);
}

#[test]
fn no_more_than_the_limit_are_offered() {
    let line = "sid=1; ".repeat(MAX_CANDIDATES + 5);
    assert_eq!(values(&[&line, "sid=2"]).len(), MAX_CANDIDATES);
    assert_eq!(values(&["sid=1"; MAX_CANDIDATES + 5]).len(), MAX_CANDIDATES);
}

#[test]
fn the_end_of_the_candidates_is_final() {
    let headers = headers(&["sid=1"]);
    let finder = finder("sid");
    let mut candidates = finder.find(&headers);
    assert_eq!(candidates.next(), Some(b"1".as_slice()));
    assert_eq!((candidates.next(), candidates.next()), (None, None));
}

#[test]
fn a_name_within_another_name_or_a_value_does_not_match() {
    for line in [
        "xsid=1",
        "sidx=1",
        "a=sid=1",
        "a= sid=1",
        "a sid=1",
        "a=\"; ssid=1",
        "a=b,sid=1",
    ] {
        assert!(values(&[line]).is_empty(), "{line}");
    }
    assert_eq!(values(&["xsid=1; sidx=2; sid=3"]), ["3"]);
    assert_eq!(values(&["a=sid; sid=3"]), ["3"]);
}

#[test]
fn names_are_compared_byte_by_byte() {
    let headers = headers(&["__host-sid=1; __HOST-SID=2; __Host-SID=3"]);
    assert_eq!(finder("__Host-sid").find(&headers).count(), 0);
    assert!(values(&["SID=1; Sid=2"]).is_empty());
}

#[test]
fn only_spaces_and_tabs_are_trimmed() {
    assert_eq!(values(&["a=0; \t sid \t=\t 1 2 \t; b=2"]), ["1 2"]);
    assert_eq!(values(&["\tsid=1\t"]), ["1"]);
    // No-break space, next line, ideographic space and line separator are part of the name.
    for blank in ["\u{a0}", "\u{85}", "\u{3000}", "\u{2028}"] {
        assert!(values(&[&format!("a=0; {blank}sid=1")]).is_empty());
        assert!(values(&[&format!("sid{blank}=1")]).is_empty());
        assert_eq!(values(&[&format!("sid={blank}1")]), [format!("{blank}1")]);
    }
}

#[test]
fn a_value_begins_behind_the_first_equals_sign_and_is_not_decoded() {
    assert_eq!(values(&["sid==a=b=="]), ["=a=b=="]);
    assert_eq!(values(&["sid=%41%3B+b"]), ["%41%3B+b"]);
    assert!(values(&["%73id=1"]).is_empty());
}

#[test]
fn one_pair_of_quotes_around_a_value_is_taken_off() {
    assert_eq!(values(&["sid=\"a b\"; sid=\"\""]), ["a b", ""]);
    assert_eq!(values(&["sid=\"\"a\"\""]), ["\"a\""]);
    assert_eq!(values(&["sid=\"a; sid=a\"; sid=\""]), ["\"a", "a\"", "\""]);
    assert_eq!(
        values(&["sid=\"a;b\""]),
        ["\"a"],
        "quotes do not protect a semicolon"
    );
}

#[test]
fn a_part_without_an_equals_sign_has_no_name() {
    for line in ["sid", "sid; a=0", "a=0; sid ", "=sid", "=sid=1", ";;sid;;"] {
        assert!(values(&[line]).is_empty(), "{line}");
    }
    assert_eq!(values(&["sid; ; foo; =bar; sid=1"]), ["1"]);
}

#[test]
fn the_old_version_mode_changes_nothing() {
    assert_eq!(
        values(&["$Version=1; sid=\"1\"; $Path=/; $Domain=x"]),
        ["1"]
    );
    assert!(
        values(&["$Version=1, sid=1"]).is_empty(),
        "a comma separates nothing"
    );
}

#[test]
fn hostile_lines_of_ten_megabytes_are_read_in_linear_time() {
    // Quadratic time would take hours.
    let len = 10 << 20;
    let name = "aaaaaaaaaaaaaaab";
    for part in [
        "a",
        ";",
        " ",
        "\t",
        "=",
        "\"",
        "; ",
        "aaaaaaaaaaaaaaab",
        "aaaaaaaaaaaaaaab;",
        "aaaaaaaaaaaaaaab ",
        "xaaaaaaaaaaaaaaab=",
        "aaaaaaaaaaaaaaa;",
        "aaaaaaaaaaaaaaab;   ",
        "; aaaaaaaaaaaaaaab x=",
    ] {
        let headers = headers(&[part.repeat(len / part.len())]);
        let start = Instant::now();
        let finder = finder(name);
        assert_eq!(finder.find(&headers).count(), 0, "{part:?}");
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "{part:?} took {took:?}");
    }
}

/// Finds values by a simple implementation of the finder's rules.
fn reference<'a>(lines: &'a [Vec<u8>], name: &str) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    for part in lines.iter().flat_map(|line| line.split(|&b| b == b';')) {
        let Some(equals) = part.iter().position(|&b| b == b'=') else {
            continue;
        };
        if strip(&part[..equals]) == name.as_bytes() {
            let value = strip(&part[equals + 1..]);
            let quoted = value.len() >= 2 && value.starts_with(b"\"") && value.ends_with(b"\"");
            found.push(if quoted {
                &value[1..value.len() - 1]
            } else {
                value
            });
        }
    }
    found.truncate(MAX_CANDIDATES);
    found
}

fn strip(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let start = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |at| at + 1);
    &bytes[start..end]
}

/// Returns random lines of pieces that the finder for `name` distinguishes.
fn lines(name: &'static str) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        4 => Just(name.as_bytes().to_vec()),
        4 => Just(b"=".to_vec()),
        4 => Just(b";".to_vec()),
        2 => Just(b" ".to_vec()),
        1 => Just(b"\t".to_vec()),
        1 => Just(b"\"".to_vec()),
        1 => Just(name.as_bytes()[..1].to_vec()),
        1 => Just(name.to_ascii_uppercase().into_bytes()),
        2 => proptest::collection::vec(prop_oneof![0x20..0x7f_u8, 0x80..=0xff_u8], 1..3),
    ];
    let line = proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    proptest::collection::vec(line, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_a_naive_splitter(
        (name, lines) in prop_oneof![Just("sid"), Just("a"), Just("aa"), Just("abab")]
            .prop_flat_map(|name| (Just(name), lines(name)))
    ) {
        let headers = headers(&lines);
        let finder = finder(name);
        let found: Vec<&[u8]> = finder.find(&headers).collect();
        prop_assert_eq!(found, reference(&lines, name));
    }
}
