//! Any text as a sealed text. No made-up text opens, and a sealed text opens unless a byte of it is
//! changed.
#![no_main]

use std::sync::LazyLock;

use hyper_session::seal::{Buffer, Codec, KeyRing, SealKey};
use libfuzzer_sys::fuzz_target;

static CODEC: LazyLock<Codec> = LazyLock::new(|| {
    let key = |text| SealKey::from_text(text).expect("it is long enough");
    KeyRing::new(key("the first key, which seals and opens"))
        .with_previous(key("the second key, which opens and no more"))
        .expect("two keys are few")
        .codec("fuzz", "sid")
});

// The first two bytes select the byte of the sealed text to change, and the change.
fuzz_target!(|data: &[u8]| {
    let mut out = Buffer::new();
    assert!(CODEC.open(data, &mut out).is_err() && out.is_empty());
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = SealKey::from_text(text);
    }

    let [at, change, plain @ ..] = data else {
        return;
    };
    let mut text = Buffer::new();
    if CODEC.seal(plain, &mut text).is_err() {
        assert!(plain.len() > 3000 && text.is_empty());
        return;
    }
    assert!(
        CODEC
            .open(&text, &mut out)
            .expect("it was sealed here")
            .first_key
    );
    assert_eq!(out.as_slice(), plain);

    let at = usize::from(*at) % text.len();
    text[at] ^= (*change).max(1);
    assert!(CODEC.open(&text, &mut out).is_err() && out.is_empty());
});
