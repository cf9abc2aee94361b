//! Sealing and opening texts.

use hyper_session::{
    cookie::{Attributes, CookieName, SetCookie},
    seal::{Buffer, Codec, KeyRing, MAX_TEXT_LEN, OpenReason, SealError, SealKey},
};
use proptest::prelude::*;

fn key(n: u8) -> SealKey {
    SealKey::from_bytes(&std::array::from_fn(|at| at as u8 + n)).unwrap()
}

fn codec() -> Codec {
    KeyRing::new(key(0)).codec("session id", "__Host-sid")
}

fn seal(codec: &Codec, plain: &[u8]) -> Vec<u8> {
    let mut text = Buffer::new();
    codec.seal(plain, &mut text).unwrap();
    text.to_vec()
}

/// Returns the reason why `codec` does not open `text`. Asserts that the buffer is empty.
#[track_caller]
fn rejection(codec: &Codec, text: &[u8]) -> OpenReason {
    let mut out = Buffer::from(&b"from before"[..]);
    let error = codec.open(text, &mut out).unwrap_err();
    assert!(out.is_empty(), "the buffer is not empty");
    assert_eq!(error.to_string(), "cannot open the sealed text");
    error.reason()
}

#[track_caller]
fn open(codec: &Codec, text: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Buffer::from(&b"from before"[..]);
    let opened = codec.open(text, &mut out).unwrap();
    (out.to_vec(), opened.first_key)
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    base64_simd::URL_SAFE_NO_PAD
        .encode_to_string(bytes)
        .into_bytes()
}

fn unbase64(text: &[u8]) -> Vec<u8> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).unwrap()
}

#[test]
fn a_sealed_value_opens() {
    let codec = codec();
    for len in (0..200).chain([255, 256, 1024, 3000]) {
        let plain: Vec<u8> = (0..len).map(|at| at as u8).collect();
        assert_eq!(
            open(&codec, &seal(&codec, &plain)),
            (plain, true),
            "{len} bytes"
        );
    }
}

#[test]
fn a_text_of_format_version_1_opens_for_ever() {
    // Made with Python's `cryptography`: AESGCMSIV of OpenSSL, key and key id from its HKDF.
    let text = b"AcaHVPZkZWZnaGlqa2xtbm_UO-4HXoXHyKAQPnj9d4vmjTDZO2urcNn_hWwlh2mq64c";
    assert_eq!(open(&codec(), text), (b"pinned plain text".to_vec(), true));
}

#[test]
fn sealing_twice_gives_two_texts() {
    let codec = codec();
    let texts: std::collections::HashSet<_> = (0..1000).map(|_| seal(&codec, b"same")).collect();
    assert_eq!(texts.len(), 1000);
}

#[test]
fn threads_do_not_share_nonces() {
    let codec = codec();
    let seal_some = || (0..100).map(|_| seal(&codec, b"same")).collect::<Vec<_>>();
    let mut texts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(seal_some)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 400);
}

#[test]
fn any_single_changed_byte_of_the_text_is_refused() {
    // With 20, 21 and 22 bytes, the last character has 4, 6 and 2 bits.
    let codec = codec();
    for plain in [[7; 22].as_slice(), &[7; 21], &[7; 20]] {
        let text = seal(&codec, plain);
        for at in 0..text.len() {
            for byte in (0..=u8::MAX).filter(|&byte| byte != text[at]) {
                let mut changed = text.clone();
                changed[at] = byte;
                rejection(&codec, &changed);
            }
        }
    }
}

#[test]
fn any_flipped_bit_of_the_sealed_bytes_is_refused_for_its_reason() {
    let codec = codec();
    let bytes = unbase64(&seal(&codec, &[7; 20]));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let reason = match bit / 8 {
            0 => OpenReason::UnknownVersion,
            1..5 => OpenReason::UnknownKey,
            _ => OpenReason::Forged,
        };
        assert_eq!(rejection(&codec, &base64(&changed)), reason, "bit {bit}");
    }
}

#[test]
fn every_other_version_is_refused() {
    let codec = codec();
    let mut bytes = unbase64(&seal(&codec, &[7; 20]));
    for version in (0..=u8::MAX).filter(|&version| version != 1) {
        bytes[0] = version;
        assert_eq!(
            rejection(&codec, &base64(&bytes)),
            OpenReason::UnknownVersion
        );
    }
}

#[test]
fn a_text_cut_or_lengthened_is_refused() {
    let codec = codec();
    let text = seal(&codec, &[7; 20]);
    (0..text.len()).for_each(|len| _ = rejection(&codec, &text[..len]));
    (1..text.len()).for_each(|from| _ = rejection(&codec, &text[from..]));
    for more in ["A", "AA", "AAA", "AAAA", "=", "==", " ", "\n", ";"] {
        rejection(&codec, &[&text, more.as_bytes()].concat());
        rejection(&codec, &[more.as_bytes(), &text].concat());
    }
}

#[test]
fn no_second_spelling_of_a_text_opens() {
    let codec = codec();
    for len in 20..23 {
        let text = seal(&codec, &vec![7; len]);
        let padded = [&text, b"=".repeat(4 - text.len() % 4).as_slice()].concat();
        rejection(&codec, &padded);
        let (last, head) = text.split_last().unwrap();
        let others = (0..=u8::MAX).filter(|byte| byte != last);
        others.for_each(|byte| _ = rejection(&codec, &[head, &[byte]].concat()));
    }
}

#[test]
fn a_text_other_than_base64url_is_refused() {
    let codec = codec();
    let text = seal(&codec, &[7; 20]);
    for (from, to) in [
        (b'A', b'+'),
        (b'A', b'/'),
        (b'A', b'%'),
        (b'A', 0xff),
        (b'A', b' '),
    ] {
        let at = text.iter().position(|&byte| byte == from).unwrap();
        let mut changed = text.clone();
        changed[at] = to;
        assert_eq!(rejection(&codec, &changed), OpenReason::Encoding);
    }
    // An unsealed text is rejected in any encoding.
    let plain = br#"{"user":1,"admin":true,"padding":"so that it is long enough"}"#;
    assert_eq!(rejection(&codec, plain), OpenReason::Encoding);
    assert_eq!(
        rejection(&codec, &base64(plain)),
        OpenReason::UnknownVersion
    );
}

#[test]
fn lengths_are_checked_before_anything_else() {
    let codec = codec();
    assert_eq!(rejection(&codec, b""), OpenReason::TooShort);
    assert_eq!(rejection(&codec, &[b'!'; 43]), OpenReason::TooShort);
    assert_eq!(rejection(&codec, &[b'!'; 44]), OpenReason::Encoding);
    assert_eq!(
        rejection(&codec, &[b'!'; MAX_TEXT_LEN]),
        OpenReason::Encoding
    );
    assert_eq!(
        rejection(&codec, &[b'!'; MAX_TEXT_LEN + 1]),
        OpenReason::TooLong
    );
    assert_eq!(
        rejection(&codec, &vec![b'A'; 100 << 20]),
        OpenReason::TooLong
    );
}

#[test]
fn a_value_that_could_not_be_opened_again_is_not_sealed() {
    for max in [44, 45, 46, 47, 48, 100, 4096, 10_000] {
        let codec = codec().with_max_text_len(max);
        let longest = max * 3 / 4 - 33;
        let text = seal(&codec, &vec![7; longest]);
        assert!(text.len() <= max);
        assert_eq!(open(&codec, &text).0.len(), longest);

        let mut out = Buffer::from(&b"from before"[..]);
        let error = codec.seal(&vec![7; longest + 1], &mut out).unwrap_err();
        assert_eq!(
            error,
            SealError::TooLong {
                len: longest + 1,
                max
            }
        );
        assert!(out.is_empty());
    }
}

#[test]
fn a_text_opens_for_its_own_purpose_and_name_only() {
    let ring = KeyRing::new(key(0));
    let text = seal(&ring.codec("session id", "sid"), b"plain");
    for (purpose, name) in [
        ("session data", "sid"),
        ("session id", "__Host-sid"),
        ("session id", "SID"),
        ("session id", ""),
        ("", "session idsid"),
        // The same letters, split at another place.
        ("session ids", "id"),
        ("session i", "dsid"),
    ] {
        assert_eq!(
            rejection(&ring.codec(purpose, name), &text),
            OpenReason::Forged
        );
    }
    assert_eq!(open(&ring.codec("session id", "sid"), &text).0, b"plain");
}

#[test]
fn another_key_does_not_open() {
    let text = seal(&codec(), b"plain");
    let other = KeyRing::new(key(1)).codec("session id", "__Host-sid");
    assert_eq!(rejection(&other, &text), OpenReason::UnknownKey);
    // Nor if its id replaces the correct one.
    let mut bytes = unbase64(&text);
    bytes[1..5].copy_from_slice(&unbase64(&seal(&other, b"plain"))[1..5]);
    assert_eq!(rejection(&other, &base64(&bytes)), OpenReason::Forged);
}

#[test]
fn previous_keys_open_and_report_that_they_are_not_the_first() {
    let codec = |ring: KeyRing| ring.codec("session id", "__Host-sid");
    let texts: Vec<_> = (0..3)
        .map(|n| seal(&codec(KeyRing::new(key(n))), &[n; 20]))
        .collect();
    let ring = KeyRing::new(key(2)).with_previous(key(1)).unwrap();
    let rotated = codec(ring.with_previous(key(0)).unwrap());
    assert_eq!(open(&rotated, &texts[2]), (vec![2; 20], true));
    assert_eq!(open(&rotated, &texts[1]), (vec![1; 20], false));
    assert_eq!(open(&rotated, &texts[0]), (vec![0; 20], false));
    // The first key of a ring seals.
    let fresh = seal(&rotated, b"fresh");
    assert_eq!(
        open(&codec(KeyRing::new(key(2))), &fresh),
        (b"fresh".to_vec(), true)
    );
}

proptest! {
    #[test]
    fn any_bytes_open_as_they_were_and_fit_into_a_cookie(
        plain in proptest::collection::vec(any::<u8>(), 0..600)
    ) {
        let codec = codec();
        let text = seal(&codec, &plain);
        prop_assert_eq!(open(&codec, &text), (plain, true));
        let cookie = SetCookie::new(CookieName::new("sid").unwrap(), Attributes::default()).unwrap();
        prop_assert!(cookie.set(&text, None).is_ok());
    }

    #[test]
    fn no_made_up_text_opens(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        rejection(&codec(), &text);
    }

    #[test]
    fn no_made_up_text_of_the_right_shape_opens(
        body in proptest::collection::vec(any::<u8>(), 28..200)
    ) {
        // A valid version and key id, and random bytes.
        let head = &unbase64(&seal(&codec(), b""))[..5];
        let text = base64(&[head, &body].concat());
        prop_assert_eq!(rejection(&codec(), &text), OpenReason::Forged);
    }
}
