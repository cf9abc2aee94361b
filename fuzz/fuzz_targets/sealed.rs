//! Any text as a sealed text and as a seal key. A text opens if and only if a key of the ring has sealed it for
//! the purpose and the name. The model keeps the texts that were sealed, and knows the reason why a text does not open.
#![no_main]

use hyper_session::seal::{Buffer, Codec, KeyId, KeyRing, OpenReason, SealKey, SealKeyError};
use libfuzzer_sys::fuzz_target;

/// A text has at most this length.
const MAX_TEXT_LEN: usize = 600;
/// The version, the key id and the nonce; the tag.
const OVERHEAD: usize = 17 + 16;

/// A codec, and what the model knows about it.
struct Ring {
    codec: Codec,
    /// The first key seals.
    keys: Vec<KeyId>,
    /// The purpose and the name.
    bound: (&'static str, &'static str),
}

/// A sealed text, as the model keeps it.
struct Sealed {
    text: Vec<u8>,
    plain: Vec<u8>,
    key: KeyId,
    bound: (&'static str, &'static str),
}

/// Returns rings with new keys. libFuzzer learns the sealed texts of earlier inputs, which their keys would open.
fn rings() -> [Ring; 5] {
    let [a, b, c] = [(); 3].map(|()| SealKey::generate().expect("random bytes"));
    [
        ring(&[&a, &b], ("fuzz", "sid")),
        ring(&[&b, &a], ("fuzz", "sid")),
        ring(&[&a], ("fuzz", "side")),
        ring(&[&a], ("fuzzs", "id")),
        ring(&[&c, &b], ("fuzz", "sid")),
    ]
}

fn ring(keys: &[&SealKey], bound: (&'static str, &'static str)) -> Ring {
    let ring = KeyRing::new(keys[0].clone());
    let ring = keys[1..].iter().fold(ring, |ring, key| {
        ring.with_previous((*key).clone())
            .expect("two keys are few")
    });
    Ring {
        codec: ring.codec(bound.0, bound.1).with_max_text_len(MAX_TEXT_LEN),
        keys: keys.iter().map(|key| key.id()).collect(),
        bound,
    }
}

// Input: three bytes for the change of a sealed text, then the bytes to seal. The whole input is also a sealed
// text and the text of a key.
fuzz_target!(|data: &[u8]| {
    let rings = rings();
    check_open(&rings, data, &[]);
    if let Ok(text) = std::str::from_utf8(data) {
        check_key(text);
    }
    let [kind, at, change, plain @ ..] = data else {
        return;
    };
    let sealed: Vec<Sealed> = rings.iter().filter_map(|ring| seal(ring, plain)).collect();
    for one in &sealed {
        check_open(&rings, &one.text, &sealed);
    }
    if let [one, other, ..] = &sealed[..] {
        let changed = changed(&one.text, &other.text, [*kind, *at, *change]);
        check_open(&rings, &changed, &sealed);
    }
});

/// Seals `plain` with a ring. Returns `None` if the text would be too long.
fn seal(ring: &Ring, plain: &[u8]) -> Option<Sealed> {
    let mut text = Buffer::new();
    let len = (plain.len() + OVERHEAD) * 8;
    let fits = len.div_ceil(6) <= MAX_TEXT_LEN;
    assert_eq!(ring.codec.seal(plain, &mut text).is_ok(), fits);
    assert_eq!(text.len(), if fits { len.div_ceil(6) } else { 0 });
    fits.then(|| Sealed {
        text: text.to_vec(),
        plain: plain.to_vec(),
        key: ring.keys[0],
        bound: ring.bound,
    })
}

/// Changes a text: another character, another bit of the bytes, another length, or an end of another text.
fn changed(text: &[u8], other: &[u8], [kind, at, change]: [u8; 3]) -> Vec<u8> {
    let mut changed = text.to_vec();
    let at = usize::from(at) % text.len();
    match kind % 6 {
        0 => changed[at] ^= change,
        1 => {
            let mut bytes = decode(text, URL_SAFE).expect("a sealed text is base64url");
            let at = at % bytes.len();
            bytes[at] ^= change;
            changed = encode(&bytes);
        }
        2 => changed.truncate(at),
        3 => changed.extend_from_slice(&text[..at]),
        4 => changed
            .splice(at.., other[at..].iter().copied())
            .for_each(drop),
        _ => changed.insert(at, change),
    }
    changed
}

/// Opens a text with every ring, and compares the results with the model.
fn check_open(rings: &[Ring], text: &[u8], sealed: &[Sealed]) {
    let mut out = Buffer::new();
    for ring in rings {
        let may_open = |one: &&Sealed| {
            one.text == text && one.bound == ring.bound && ring.keys.contains(&one.key)
        };
        let result = ring.codec.open(text, &mut out);
        match sealed.iter().find(may_open) {
            Some(one) => {
                let info = result.expect("this ring opens it");
                assert_eq!(out.as_slice(), one.plain);
                assert_eq!(info.first_key, one.key == ring.keys[0]);
            }
            None => {
                let error = result.expect_err("no key of the ring sealed it");
                assert_eq!(error.reason(), reason(text, &ring.keys));
                assert!(out.is_empty());
            }
        }
    }
}

/// Returns the reason why a text that was not sealed does not open.
fn reason(text: &[u8], keys: &[KeyId]) -> OpenReason {
    if text.len() < (OVERHEAD * 8).div_ceil(6) {
        return OpenReason::TooShort;
    }
    if text.len() > MAX_TEXT_LEN {
        return OpenReason::TooLong;
    }
    let Some(bytes) = decode(text, URL_SAFE) else {
        return OpenReason::Encoding;
    };
    let id: String = bytes[1..5]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match bytes[0] {
        1 if keys.iter().any(|key| key.to_string() == id) => OpenReason::Forged,
        1 => OpenReason::UnknownKey,
        _ => OpenReason::UnknownVersion,
    }
}

const URL_SAFE: &[u8; 2] = b"-_";
const STANDARD: &[u8; 2] = b"+/";

/// Decodes canonical base64 without padding. The last two digits are `last`.
fn decode(text: &[u8], last: &[u8; 2]) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut len) = (Vec::new(), 0_u32, 0);
    for digit in text {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            _ => 62 + u8::try_from(last.iter().position(|other| other == digit)?).ok()?,
        };
        (bits, len) = (bits << 6 | u32::from(value), len + 6);
        if len >= 8 {
            len -= 8;
            bytes.push((bits >> len) as u8);
            bits &= (1 << len) - 1;
        }
    }
    (len < 6 && bits == 0).then_some(bytes)
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let digit = |bits: &[u8]| {
        let bits = std::str::from_utf8(bits).expect("digits");
        let value = u8::from_str_radix(&format!("{bits:0<6}"), 2).expect("six bits");
        match value {
            0..26 => b'A' + value,
            26..52 => b'a' + value - 26,
            52..62 => b'0' + value - 52,
            62 => b'-',
            _ => b'_',
        }
    };
    bits.as_bytes().chunks(6).map(digit).collect()
}

/// Compares the key of a text with the documented forms.
fn check_key(text: &str) {
    let key = SealKey::from_text(text);
    let expected = secret(text.trim());
    match (&key, &expected) {
        (Err(error), Err(expected)) => assert_eq!(error, expected),
        (Ok(key), Ok(secret)) => {
            if let Ok(secret) = <&[u8; 32]>::try_from(secret.as_slice()) {
                let same = SealKey::from_bytes(secret).expect("it is no repetition");
                assert_eq!(key.id(), same.id());
            }
        }
        _ => panic!("{text:?}: {key:?}"),
    }
}

/// Returns the secret that a text without white space around it stands for.
fn secret(text: &str) -> Result<Vec<u8>, SealKeyError> {
    if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
        return Err(SealKeyError::Quoted);
    }
    let secret = match text.strip_prefix("base64:") {
        Some(encoded) => base64(encoded).ok_or(SealKeyError::NotBase64)?,
        None if text.len() < 32 => return Err(SealKeyError::TooShort { len: text.len() }),
        None => hex(text)
            .or_else(|| base64(text))
            .unwrap_or_else(|| text.as_bytes().to_vec()),
    };
    let repeats = |len: usize| {
        secret
            .iter()
            .eq(secret.iter().take(len).cycle().take(secret.len()))
    };
    let is_weak = (1..=32).any(|len| 2 * len <= secret.len() && repeats(len));
    if is_weak {
        Err(SealKeyError::Weak)
    } else {
        Ok(secret)
    }
}

/// Decodes 32 bytes, with any alphabet and with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_suffix('=').unwrap_or(text).as_bytes();
    let bytes = decode(digits, STANDARD).or_else(|| decode(digits, URL_SAFE));
    bytes.filter(|bytes| bytes.len() == 32)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    let bytes = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8);
    Some(bytes.collect())
}
