//! The removal of the session's cookies from a request and a response that a proxy forwards.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};
use hyper_session::{
    CookieStore, MemoryStore, MigratingStore, Sessions,
    cookie::{CookieName, Finder},
    store::cookie::MAX_CHUNKS,
};
use proptest::prelude::*;

use crate::support::config;

fn sessions() -> Sessions {
    Sessions::new(config(), MemoryStore::new()).unwrap()
}

fn headers<L: AsRef<[u8]>>(name: HeaderName, lines: &[L]) -> HeaderMap {
    let line = |line: &L| {
        (
            name.clone(),
            HeaderValue::from_bytes(line.as_ref()).unwrap(),
        )
    };
    lines.iter().map(line).collect()
}

fn lines(headers: &HeaderMap, name: &HeaderName) -> Vec<Vec<u8>> {
    let lines = headers.get_all(name).into_iter();
    lines.map(|line| line.as_bytes().to_vec()).collect()
}

/// Strips `Cookie` lines.
fn strip<L: AsRef<[u8]>>(sessions: &Sessions, sent: &[L]) -> Vec<Vec<u8>> {
    let mut headers = headers(COOKIE, sent);
    sessions.strip_cookies(&mut headers);
    lines(&headers, &COOKIE)
}

#[track_caller]
fn assert_stripped(sent: &[&str], left: &[&str]) {
    assert_eq!(
        strip(&sessions(), sent),
        left.iter().map(|line| line.as_bytes()).collect::<Vec<_>>(),
        "{sent:?}"
    );
}

#[test]
fn the_session_cookie_is_removed_wherever_it_is() {
    assert_stripped(&[], &[]);
    assert_stripped(&["session=1"], &[]);
    assert_stripped(&["session=1; b=2"], &["b=2"]);
    assert_stripped(&["a=0; session=1"], &["a=0"]);
    assert_stripped(&["a=0; session=1; b=2"], &["a=0; b=2"]);
    assert_stripped(&["a=0;session=1;b=2"], &["a=0;b=2"]);
    assert_stripped(&["session="], &[]);
    assert_stripped(&["session = 1 "], &[]);
    assert_stripped(&["\tsession\t=1; a=0"], &["a=0"]);
    assert_stripped(&["session=1;", "session=2; ;"], &[]);
}

#[test]
fn every_cookie_of_the_name_is_removed_from_every_line() {
    let many = "session=1; ".repeat(100) + "a=0";
    assert_stripped(&[&many], &["a=0"]);
    assert_stripped(
        &["session=1", "a=0", "session=2; session=3", "b=0; session=4"],
        &["a=0", "b=0"],
    );
}

#[test]
fn quotes_do_not_hide_a_session_cookie() {
    assert_stripped(&["a=\"0; session=1\"; b=2"], &["a=\"0; b=2"]);
    assert_stripped(&["session=\"1\""], &[]);
}

#[test]
fn other_cookies_keep_their_bytes() {
    for line in [
        "Session=1",
        "xsession=1",
        "sessionx=1",
        "session.1=1",
        "session-data=1",
        "a=session=1",
        "session",
        "=session",
        ";;  ; a=0 ;\t;",
        "",
        "a==;b;=c",
        "session\u{a0}=1",
    ] {
        assert_stripped(&[line], &[line]);
        // A line that has a session cookie loses no more than it.
        assert_stripped(&[&format!("x={line}; session=1")], &[&format!("x={line}")]);
    }
    let sent = [&b"a=\xff\x80; session=\xfe; b=\"\xe9\""[..]];
    assert_eq!(strip(&sessions(), &sent), [b"a=\xff\x80; b=\"\xe9\""]);
}

#[test]
fn other_headers_and_the_mark_of_a_secret_stay() {
    let mut line = HeaderValue::from_static("a=0; session=1");
    line.set_sensitive(true);
    let mut headers = headers(HeaderName::from_static("x-other"), &["session=1"]);
    headers.insert(COOKIE, line);
    sessions().strip_cookies(&mut headers);
    assert_eq!(headers["x-other"], "session=1");
    assert_eq!(headers[COOKIE], "a=0");
    assert!(headers[COOKIE].is_sensitive());
}

#[test]
fn all_cookies_of_a_cookie_store_are_removed() {
    let cookie_store = || CookieStore::new().with_overflow(MemoryStore::new());
    let migrating = MigratingStore::new(cookie_store(), MemoryStore::new());
    for sessions in [
        Sessions::new(config(), cookie_store()).unwrap(),
        Sessions::new(config(), migrating).unwrap(),
    ] {
        let mut sent = vec!["a=0; session=1; session-data=2.xyz".to_owned()];
        sent.extend((1..MAX_CHUNKS).map(|nth| format!("session-data.{nth}=x")));
        sent.push(format!(
            "session-data.{MAX_CHUNKS}=other; session-dat=other"
        ));
        let left = strip(&sessions, &sent);
        assert_eq!(left, [b"a=0", sent.last().unwrap().as_bytes()]);
    }
}

#[test]
fn the_upstream_server_cannot_set_the_session_cookie() {
    let sent = [
        "session=theirs; Path=/",
        "theme=dark; Path=/",
        "session=; Max-Age=0",
        " session = theirs",
        // A browser sends a cookie without a name as its value.
        "=session=theirs",
        "= = session=theirs; Secure",
        "session",
        "Session=1",
        "a=session=1; session=1",
    ];
    let mut headers = headers(SET_COOKIE, &sent);
    sessions().strip_set_cookies(&mut headers);
    let left = lines(&headers, &SET_COOKIE);
    assert_eq!(left, [sent[1], sent[7], sent[8]].map(str::as_bytes));
}

/// Returns the named cookies in these lines, by a naive parser.
fn cookies(lines: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let parts = lines
        .iter()
        .flat_map(|line| line.split(|&byte| byte == b';'));
    let cookie = |part: &[u8]| {
        let equals = part.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (part[..equals].trim_ascii(), &part[equals + 1..]);
        Some((name.to_vec(), value.to_vec()))
    };
    parts.filter_map(cookie).collect()
}

proptest! {
    #[test]
    fn exactly_the_session_cookies_are_removed(
        sent in prop::collection::vec("(session|[a-s]|=|;|; | |\t|\"){0,12}", 0..4)
    ) {
        let sent: Vec<Vec<u8>> = sent.into_iter().map(String::into_bytes).collect();
        let sessions = sessions();
        let left = strip(&sessions, &sent);
        let mut expected = cookies(&sent);
        expected.retain(|(name, _)| name != b"session");
        prop_assert_eq!(cookies(&left), expected);
        let finder = Finder::new(&CookieName::new("session").unwrap());
        prop_assert!(finder.find(&headers(COOKIE, &left)).next().is_none());
        let is_own = |line: &&Vec<u8>| finder.find_in(line).next().is_some();
        let unchanged = |lines: &[Vec<u8>]| -> Vec<Vec<u8>> {
            lines.iter().filter(|line| !is_own(line)).cloned().collect()
        };
        let mut rest = left.iter();
        for line in unchanged(&sent) {
            prop_assert!(rest.any(|other| *other == line), "a line without a session cookie stays");
        }
        prop_assert_eq!(strip(&sessions, &left), left, "nothing is left to strip");
    }
}
