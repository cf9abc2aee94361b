//! What the parts below a store can do, without this crate.

use std::{fs::File, hint::black_box, io::Write};

use aes_gcm_siv::{AeadInOut, Aes256GcmSiv, KeyInit, Nonce};
use dashmap::DashMap;

use crate::{documents::Document, results::Results, timing::time};

/// Prints and records the limits.
pub(crate) fn measure(results: &mut Results, _redis: Option<&str>) {
    println!("limits, ns");
    let mut report = |name: &str, contender: &str, value: f64| {
        println!("  {name:26} {contender:36} {value:8.0}");
        results.add(name, contender, "ns", value);
    };
    let map: DashMap<u64, Vec<u8>> = (0..1_000_000).map(|key| (key, vec![b'x'; 8])).collect();
    let mut next = 0;
    let get = time(|| {
        next = (next + 7919) % 1_000_000;
        black_box(map.get(&next).map(|it| it.len()));
    });
    report("read, of 1,000,000", "limit: dashmap", get);
    let cookies = format!("{}; session=1", "name=0123456789abcdef; ".repeat(16));
    let finder = memchr::memmem::Finder::new("session=");
    let find = time(|| {
        black_box(finder.find(black_box(cookies.as_bytes())));
    });
    report("cookie in 400 B", "limit: memchr", find);
    let cipher = Aes256GcmSiv::new(&[7; 32].into());
    for document in [Document::Login, Document::Cart, Document::FlashHeavy] {
        let plain = vec![b'x'; document.bytes()];
        let mut buffer = plain.clone();
        let mut text = vec![0; 2 * plain.len()];
        let seal = time(|| {
            let tag =
                cipher.encrypt_inout_detached(&Nonce::default(), b"", buffer.as_mut_slice().into());
            black_box(tag.expect("it is short"));
            let out = base64_simd::Out::from_slice(&mut text);
            black_box(base64_simd::URL_SAFE_NO_PAD.encode(&buffer, out));
        });
        report(document.label(), "limit: AES-256-GCM-SIV and base64", seal);
    }
    let path = std::env::temp_dir().join(format!("hyper-session-limit-{}", std::process::id()));
    let mut file = File::create(&path).expect("the temporary directory is writable");
    let record = [b'x'; 328];
    let append = time(|| file.write_all(&record).expect("the disk has room"));
    report("login, 260 B", "limit: append", append);
    let sync = time(|| {
        file.write_all(&record).expect("the disk has room");
        file.sync_data().expect("the disk works");
    });
    report("login, 260 B", "limit: append and fdatasync", sync);
    let _removed = std::fs::remove_file(path);
    #[cfg(feature = "redis")]
    if let Some(url) = _redis {
        report("login, 260 B", "limit: GET by fred", get_by_fred(url));
    }
}

#[cfg(feature = "redis")]
fn get_by_fred(url: &str) -> f64 {
    use fred::prelude::{Builder, ClientLike, Config, KeysInterface};

    let runtime = tokio::runtime::Handle::current();
    let config = Config::from_url(url).expect("the address is valid");
    let client = Builder::from_config(config)
        .build()
        .expect("the settings are right");
    runtime
        .block_on(client.init())
        .expect("the server responds");
    let set = client.set::<(), _, _>("limit", "x".repeat(260), None, None, false);
    runtime.block_on(set).expect("the server responds");
    time(|| {
        let value: String =
            crate::support::drive(client.get("limit")).expect("the server responds");
        black_box(value);
    })
}
