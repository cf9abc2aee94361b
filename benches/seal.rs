//! Sealing and opening, compared with the bare cipher and base64.
//!
//! Run it with `cargo bench --bench seal`. `bare` is the lower bound: the cipher in place with a
//! prepared nonce, and base64 between two allocated buffers.

use std::hint::black_box;

use aes_gcm_siv::{
    Aes256GcmSiv, Nonce, Tag,
    aead::{AeadInOut, KeyInit},
};
use base64_simd::{Out, URL_SAFE_NO_PAD};
use criterion::Criterion;
use hyper_session::seal::{Buffer, Codec, KeyRing, SealKey};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONTEXT: &[u8] = b"v1 key session id __Host-session";

fn codec() -> Codec {
    let key = SealKey::from_text("a key that is long enough to measure with").unwrap();
    KeyRing::new(key).codec("session id", "__Host-session")
}

fn seal(criterion: &mut Criterion, len: usize) {
    let mut group = criterion.benchmark_group(format!("seal, {len} B"));
    let plain = vec![7; len];

    let (codec, mut text) = (codec(), Buffer::new());
    group.bench_function("codec", |b| {
        b.iter(|| codec.seal(black_box(&plain), &mut text).unwrap());
    });

    let cipher = Aes256GcmSiv::new(&[9; 32].into());
    let nonce = Nonce::from([1; 12]);
    let mut raw = [vec![0; 17], plain, vec![0; 16]].concat();
    let mut out = vec![0; URL_SAFE_NO_PAD.encoded_length(raw.len())];
    group.bench_function("bare", |b| {
        b.iter(|| {
            let body = &mut raw[17..17 + len];
            let tag = cipher
                .encrypt_inout_detached(black_box(&nonce), CONTEXT, body.into())
                .unwrap();
            raw[17 + len..].copy_from_slice(&tag);
            URL_SAFE_NO_PAD
                .encode(black_box(&raw), Out::from_slice(&mut out))
                .len()
        });
    });
    group.finish();
}

fn open(criterion: &mut Criterion, len: usize) {
    let mut group = criterion.benchmark_group(format!("open, {len} B"));
    let plain = vec![7; len];

    let (codec, mut text, mut out) = (codec(), Buffer::new(), Buffer::new());
    codec.seal(&plain, &mut text).unwrap();
    group.bench_function("codec", |b| {
        b.iter(|| codec.open(black_box(&text), &mut out).unwrap());
    });

    let cipher = Aes256GcmSiv::new(&[9; 32].into());
    let nonce = Nonce::from([1; 12]);
    let mut body = plain.clone();
    let tag = cipher
        .encrypt_inout_detached(&nonce, CONTEXT, body.as_mut_slice().into())
        .unwrap();
    let raw = [&[0; 17], body.as_slice(), &tag].concat();
    let text = URL_SAFE_NO_PAD.encode_to_string(&raw);
    let mut raw = raw;
    group.bench_function("bare", |b| {
        b.iter(|| {
            let raw = URL_SAFE_NO_PAD
                .decode(black_box(text.as_bytes()), Out::from_slice(&mut raw))
                .unwrap();
            let (head, tag) = raw.split_last_chunk_mut::<16>().unwrap();
            let body = &mut head[17..];
            cipher
                .decrypt_inout_detached(black_box(&nonce), CONTEXT, body.into(), &Tag::from(*tag))
                .unwrap();
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    // The first length is that of an id cookie's content.
    for len in [42, 256, 1024] {
        seal(&mut criterion, len);
        open(&mut criterion, len);
    }
    criterion.final_summary();
}
