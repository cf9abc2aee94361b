//! Strings as keys, and their forms in `Debug` and errors.

use hyper_session::seal::{Buffer, KeyRing, KeyRingError, MAX_KEYS, SealKey, SealKeyError};

const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn bytes() -> [u8; 32] {
    std::array::from_fn(|at| at as u8)
}

fn id(text: &str) -> String {
    SealKey::from_text(text).unwrap().id().to_string()
}

#[test]
fn all_spellings_of_32_bytes_are_one_key() {
    let key = SealKey::from_bytes(&bytes()).unwrap().id().to_string();
    for text in [
        HEX.to_owned(),
        HEX.to_uppercase(),
        BASE64.to_owned(),
        BASE64.trim_end_matches('=').to_owned(),
        format!("base64:{BASE64}"),
        format!(" {BASE64}\r\n"),
    ] {
        assert_eq!(id(&text), key, "{text:?}");
    }
    let (standard, url) = ("a/+".repeat(14) + "8=", "a_-".repeat(14) + "8=");
    assert_eq!(id(&standard), id(&url));
}

#[test]
fn the_derivation_stays_as_it_is() {
    // Computed with Python's `cryptography`: HKDF-SHA256 of the secret with the salt
    // "hyper-session seal 1" and the info "key id".
    assert_eq!(id(HEX), "c68754f6");
    assert_eq!(id("correct horse battery staple, and more"), "40113db5");
}

#[test]
fn another_long_text_is_a_secret_to_derive_from() {
    let secret = "correct horse battery staple, and more";
    assert_ne!(id(secret), id(&format!("{secret}!")));
    assert_ne!(id(&format!("{secret} ")), id(&format!("{secret} .")));
    // One digit less, or one that is not hexadecimal: no longer 32 bytes, but still a long secret.
    assert_ne!(id(&HEX[1..]), id(HEX));
    assert_ne!(id(&HEX.replace('f', "g")), id(HEX));
}

#[test]
fn a_short_key_is_refused() {
    for text in [
        "",
        "secret",
        "changeme",
        &"k".repeat(31),
        &format!("{}     ", "ab".repeat(15)),
    ] {
        let len = text.trim().len();
        assert_eq!(
            SealKey::from_text(text).unwrap_err(),
            SealKeyError::TooShort { len }
        );
    }
    let error = SealKey::from_text("größeres Geheimnis").unwrap_err();
    assert_eq!(error, SealKeyError::TooShort { len: 20 });
    assert!(
        error
            .to_string()
            .starts_with("key has 20 bytes, minimum is 32; ")
    );
    assert!(SealKey::from_text(&"abcdefghijklmnopqrstuvwxyz".repeat(2)[..32]).is_ok());
}

#[test]
fn a_key_marked_as_base64_must_be_the_base64_of_32_bytes() {
    for text in [
        "base64:",
        "base64:AAEC",
        "base64:not base64 at all, though it is long enough",
        HEX,
    ] {
        let text = format!("base64:{}", text.trim_start_matches("base64:"));
        assert_eq!(
            SealKey::from_text(&text).unwrap_err(),
            SealKeyError::NotBase64,
            "{text}"
        );
    }
}

#[test]
fn a_key_of_something_short_over_and_over_is_refused() {
    let weak = SealKeyError::Weak;
    assert_eq!(SealKey::from_bytes(&[7; 32]).unwrap_err(), weak);
    for text in [
        &"0".repeat(64),
        &"x".repeat(40),
        &format!("{}=", "A".repeat(43)),
        &"ab".repeat(16),
        &"9a0b".repeat(16),
        &"password".repeat(4),
        &"0123456789".repeat(4)[..33],
        &format!("base64:{}", "-_".repeat(21) + "8="),
    ] {
        assert_eq!(SealKey::from_text(text).unwrap_err(), weak, "{text}");
    }
}

#[test]
fn generated_keys_differ() {
    let id = || SealKey::generate().unwrap().id();
    assert_ne!(id(), id());
}

#[test]
fn a_ring_is_bounded_and_holds_each_key_once() {
    let key =
        |n: usize| SealKey::from_text(&format!("a long enough secret, number {n:10}")).unwrap();
    let ring = (1..MAX_KEYS).fold(KeyRing::new(key(0)), |ring, n| {
        ring.with_previous(key(n)).unwrap()
    });
    assert_eq!(ring.with_previous(key(99)).unwrap_err(), KeyRingError::Full);

    let twice = KeyRing::new(key(0)).with_previous(key(1)).unwrap();
    for n in [0, 1] {
        let id = key(n).id();
        let refused = twice.clone().with_previous(key(n)).unwrap_err();
        assert_eq!(refused, KeyRingError::Duplicate { id });
    }
}

#[test]
fn nothing_secret_is_shown() {
    let secret = "a secret that is never shown to anyone";
    let key = SealKey::from_text(secret).unwrap();
    let id = key.id().to_string();
    let ring = KeyRing::new(SealKey::from_text(HEX).unwrap())
        .with_previous(key.clone())
        .unwrap();
    let codec = ring.codec("session id", "sid");
    let mut text = Buffer::new();
    codec.seal(b"plain", &mut text).unwrap();

    assert_eq!(format!("{key:?}"), format!("SealKey({id})"));
    let errors = [
        SealKey::from_text("hunter2").unwrap_err().to_string(),
        SealKey::from_text("base64:hunter2")
            .unwrap_err()
            .to_string(),
    ];
    let shown = format!("{key:?} {ring:?} {ring:#?} {codec:?} {codec:#?} {errors:?}");
    // The secret itself, and its bytes as numbers or digits.
    let derived = [
        "97, 32, 115",
        "6120736563",
        "0, 1, 2",
        "000102",
        "hunter",
        "plain",
    ];
    for part in [secret, HEX, BASE64].iter().chain(&derived) {
        assert!(!shown.contains(part), "{part:?} is shown in {shown}");
    }
}
