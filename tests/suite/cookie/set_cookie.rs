//! Set-Cookie header values, and the names and values that are refused.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use hyper_session::cookie::{
    Attributes, CookieError, CookieName, MAX_AGE, MAX_PAIR_LEN, Priority, SameSite, SetCookie,
};
use proptest::prelude::*;

fn template(name: &str, attributes: Attributes) -> Result<SetCookie, CookieError> {
    SetCookie::new(CookieName::new(name).unwrap(), attributes)
}

fn sid() -> SetCookie {
    template("sid", Attributes::default()).unwrap()
}

/// Returns all attributes, for cookies on a domain and its subdomains.
fn all_attributes() -> Attributes {
    Attributes::default()
        .path("/app")
        .domain("example.org")
        .same_site(SameSite::None)
        .partitioned(true)
        .priority(Priority::High)
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap()
}

/// Splits a value at `; `. The first part is the cookie.
fn parts(value: &HeaderValue) -> Vec<&str> {
    text(value).split("; ").collect()
}

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

#[test]
fn a_cookie_is_written_with_its_attributes_in_a_fixed_order() {
    let expires = UNIX_EPOCH + Duration::from_secs(784_111_777);
    let all = template("sid", all_attributes()).unwrap();
    assert_eq!(
        text(&all.set_with_expires(b"v", HOUR, expires).unwrap()),
        "sid=v; Max-Age=3600; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Domain=example.org; \
         Path=/app; Secure; HttpOnly; SameSite=None; Partitioned; Priority=High"
    );
    let bare = Attributes::default()
        .secure(false)
        .http_only(false)
        .same_site(None);
    assert_eq!(
        text(&template("sid", bare).unwrap().set(b"v", None).unwrap()),
        "sid=v; Path=/"
    );
}

#[test]
fn the_defaults_are_safe() {
    let value = sid().set(b"v", None).unwrap();
    assert_eq!(
        text(&value),
        "sid=v; Path=/; Secure; HttpOnly; SameSite=Lax"
    );
}

#[test]
fn no_attribute_is_repeated() {
    let all = template("sid", all_attributes()).unwrap();
    for value in [
        all.set_with_expires(b"v", HOUR, UNIX_EPOCH).unwrap(),
        all.removal(),
    ] {
        let names: Vec<_> = parts(&value)[1..]
            .iter()
            .map(|part| part.split('=').next().unwrap().to_ascii_lowercase())
            .collect();
        assert_eq!(
            names.iter().collect::<HashSet<_>>().len(),
            names.len(),
            "{value:?}"
        );
    }
}

#[test]
fn a_cookie_without_a_name_cannot_be() {
    assert!(CookieName::new("").is_err());
}

#[test]
fn a_name_is_a_token() {
    for name in [
        "sid",
        "__Host-sid",
        "a",
        "!#$%&'*+-.^_`|~0A",
        &"n".repeat(256),
    ] {
        assert!(CookieName::new(name).is_ok(), "{name}");
    }
    let mut bad: Vec<String> = (0..=0x7f_u8)
        .map(char::from)
        .filter(|c| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(*c))
        .map(|c| format!("a{c}b"))
        .collect();
    bad.extend(["sid\u{a0}".into(), "ſid".into(), "n".repeat(257)]);
    for name in bad {
        assert!(CookieName::new(name.clone()).is_err(), "{name:?}");
    }
}

#[test]
fn a_value_holds_cookie_octets_only() {
    let sid = sid();
    for byte in 0..=u8::MAX {
        let grammar = matches!(byte, 0x21 | 0x23..=0x2B | 0x2D..=0x3A | 0x3C..=0x5B | 0x5D..=0x7E);
        let value = [b'a', byte, b'b'];
        match sid.set(&value, None) {
            Ok(set) => {
                assert!(grammar, "{byte:#x} was let through");
                assert_eq!(
                    parts(&set)[0].as_bytes(),
                    [b"sid=", value.as_slice()].concat()
                );
            }
            Err(error) => {
                assert!(!grammar, "{byte:#x} was refused");
                assert_eq!(
                    error,
                    CookieError::Value {
                        name: "sid".into(),
                        at: 1
                    }
                );
            }
        }
    }
}

#[test]
fn name_and_value_have_4096_bytes_at_most() {
    let sid = sid();
    let longest = vec![b'v'; MAX_PAIR_LEN - "sid".len()];
    assert!(sid.set(&longest, HOUR).is_ok());
    let error = sid
        .set(&[longest, b"v".to_vec()].concat(), HOUR)
        .unwrap_err();
    assert_eq!(
        error,
        CookieError::TooLarge {
            name: "sid".into(),
            len: 4097
        }
    );
}

#[test]
fn max_age_is_whole_seconds_rounded_up_and_cut_at_400_days() {
    let max_age = |age| {
        let value = sid().set(b"v", Some(age)).unwrap();
        parts(&value)[1].to_owned()
    };
    assert_eq!(max_age(Duration::ZERO), "Max-Age=0");
    assert_eq!(max_age(Duration::from_nanos(1)), "Max-Age=1");
    assert_eq!(max_age(Duration::from_millis(1_001)), "Max-Age=2");
    assert_eq!(max_age(MAX_AGE), "Max-Age=34560000");
    assert_eq!(
        max_age(MAX_AGE - Duration::from_nanos(1)),
        "Max-Age=34560000"
    );
    assert_eq!(
        max_age(MAX_AGE + Duration::from_nanos(1)),
        "Max-Age=34560000"
    );
    assert_eq!(max_age(Duration::MAX), "Max-Age=34560000");
}

#[test]
fn expires_is_an_imf_fixdate_whatever_the_moment() {
    let expires = |at| {
        let value = sid().set_with_expires(b"v", None, at).unwrap();
        parts(&value)[1].to_owned()
    };
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(expires(UNIX_EPOCH), "Expires=Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(
        expires(at(1_709_164_799)),
        "Expires=Wed, 28 Feb 2024 23:59:59 GMT"
    );
    assert_eq!(
        expires(at(1_709_164_800)),
        "Expires=Thu, 29 Feb 2024 00:00:00 GMT"
    );
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(expires(before), "Expires=Thu, 01 Jan 1970 00:00:00 GMT");
    let end = "Expires=Fri, 31 Dec 9999 23:59:59 GMT";
    assert_eq!(expires(at(253_402_300_799)), end);
    assert_eq!(expires(at(253_402_300_800)), end);
    assert_eq!(expires(at(i64::MAX as u64 - 1)), end);
}

#[test]
fn a_removal_has_the_attributes_of_the_cookie_it_removes() {
    for (name, attributes) in [
        ("sid", all_attributes()),
        ("__Host-sid", Attributes::default()),
        ("__Secure-sid", all_attributes()),
        ("__Http-sid", all_attributes()),
        ("__Host-Http-sid", Attributes::default()),
    ] {
        let cookie = template(name, attributes).unwrap();
        let set = cookie.set(b"v", None).unwrap();
        let removal = cookie.removal();
        let removal = parts(&removal);
        assert_eq!(
            removal[..3],
            [
                &format!("{name}="),
                "Max-Age=0",
                "Expires=Thu, 01 Jan 1970 00:00:00 GMT"
            ]
        );
        assert_eq!(removal[3..], parts(&set)[1..]);
    }
}

#[test]
fn errors_never_show_the_value() {
    let error = sid().set(b"secret value", None).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}

proptest! {
    #[test]
    fn another_parser_reads_back_what_was_written(
        value in "[!#-+\\--:<-\\[\\]-~]{0,60}",
        age in proptest::option::of(0_u64..100_000_000),
        domain in proptest::option::of("[a-z]{1,9}\\.example"),
        path in "/[ -:<-~]{0,20}[!-:<-~]",
        same_site in prop_oneof![
            Just(None), Just(Some(SameSite::Lax)), Just(Some(SameSite::Strict)),
            Just(Some(SameSite::None)),
        ],
        (http_only, partitioned) in any::<(bool, bool)>(),
    ) {
        let mut attributes = Attributes::default()
            .path(path.clone())
            .secure(true)
            .http_only(http_only)
            .same_site(same_site)
            .partitioned(partitioned);
        attributes.domain.clone_from(&domain);
        let set = template("sid", attributes).unwrap()
            .set(value.as_bytes(), age.map(Duration::from_secs)).unwrap();
        let read = cookie::Cookie::parse(text(&set)).unwrap();
        prop_assert_eq!(read.name_value(), ("sid", value.as_str()));
        prop_assert_eq!(read.path(), Some(path.as_str()));
        prop_assert_eq!(read.domain(), domain.as_deref());
        prop_assert_eq!(read.secure(), Some(true));
        prop_assert_eq!(read.http_only().unwrap_or(false), http_only);
        prop_assert_eq!(read.partitioned().unwrap_or(false), partitioned);
        let seconds = read.max_age().map(|age| age.whole_seconds().unsigned_abs());
        prop_assert_eq!(seconds, age.map(|age| age.min(MAX_AGE.as_secs())));
        prop_assert_eq!(
            read.same_site().map(|s| s.to_string()),
            same_site.map(|s| format!("{s:?}"))
        );
    }
}
