//! Reading and changing one value in stored bytes: the root index compared with alternatives, on
//! documents of 200 B, 1 KB, 4 KB and 64 KB.
//!
//! Every case starts from the stored bytes. A read ends with the number at a nested path in the middle
//! of the document. A change increments that number and ends with the bytes to store.

#![allow(clippy::expect_used)] // a failure ends the benchmark

use std::{hint::black_box, time::Duration};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hyper_session::{
    document::Document,
    patch::{ChangeLimits, Patch},
};
use serde_json::Value;
use simd_json::{Buffers, prelude::*};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [(&str, usize); 4] = [
    ("200B", 200),
    ("1K", 1 << 10),
    ("4K", 4 << 10),
    ("64K", 64 << 10),
];

/// Returns session data of about `size` bytes (a user and many cart entries), and the path of a number
/// in the middle.
fn session(size: usize) -> (String, [String; 2]) {
    let mut members = vec![r#""user":{"id":4711,"email":"ann@example.org"}"#.to_owned()];
    while members.iter().map(|member| member.len() + 1).sum::<usize>() + 1 < size {
        let n = members.len();
        members.push(format!(
            r#""item_{n}":{{"name":"Thing \"{n}\"","tags":["a","b"],"price":{n}.5,"seen":{n}}}"#
        ));
    }
    let middle = format!("item_{}", members.len() / 2);
    (
        format!("{{{}}}", members.join(",")),
        [middle, "seen".to_owned()],
    )
}

/// Returns text and index in the form that a store returns.
fn stored(text: &str) -> (Bytes, Bytes) {
    let document = Document::parse(text.as_bytes()).expect("the session is JSON");
    let mut index = Vec::new();
    document.write_index(&mut index);
    (Bytes::copy_from_slice(document.text()), index.into())
}

fn read_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("read one nested value");
    for (name, size) in SIZES {
        let (text, keys) = session(size);
        let path = keys.join(".");
        let (stored_text, index) = stored(&text);
        let mut document = Document::new();
        group.bench_function(BenchmarkId::new("root index", name), |b| {
            b.iter(|| {
                document
                    .load(stored_text.clone(), index.clone())
                    .expect("sound");
                let raw = document.get(black_box(path.as_str())).expect("sound");
                raw.and_then(|raw| raw.deserialize::<u64>().ok())
            });
        });
        // As the only member of another document, the whole text must be scanned.
        let (wrapped_text, wrapped_index) = stored(&format!(r#"{{"s":{text}}}"#));
        let (mut wrapped, wrapped_path) = (Document::new(), format!("s.{path}"));
        group.bench_function(BenchmarkId::new("scan without index", name), |b| {
            b.iter(|| {
                wrapped
                    .load(wrapped_text.clone(), wrapped_index.clone())
                    .expect("sound");
                let raw = wrapped
                    .get(black_box(wrapped_path.as_str()))
                    .expect("sound");
                raw.and_then(|raw| raw.deserialize::<u64>().ok())
            });
        });
        let (mut buffers, mut copy) = (Buffers::default(), Vec::new());
        group.bench_function(
            BenchmarkId::new("simd-json tape, reused buffers", name),
            |b| {
                b.iter(|| {
                    copy.clear();
                    copy.extend_from_slice(&stored_text);
                    let tape =
                        simd_json::to_tape_with_buffers(&mut copy, &mut buffers).expect("JSON");
                    tape.as_value()
                        .get(black_box(keys[0].as_str()))?
                        .get("seen")?
                        .as_u64()
                });
            },
        );
        group.bench_function(BenchmarkId::new("serde_json::Value", name), |b| {
            b.iter(|| {
                let value: Value = serde_json::from_slice(&stored_text).expect("JSON");
                value.get(&keys[0])?.get(&keys[1])?.as_u64()
            });
        });
    }
    group.finish();
}

fn change_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("increment one and write");
    for (name, size) in SIZES {
        let (text, keys) = session(size);
        let path = keys.join(".");
        let (stored_text, index) = stored(&text);
        let (mut document, mut patch) = (Document::new(), Patch::new(ChangeLimits::default()));
        group.bench_function(BenchmarkId::new("patch", name), |b| {
            b.iter(|| {
                document
                    .load(stored_text.clone(), index.clone())
                    .expect("sound");
                patch.reset();
                patch
                    .add(&mut document, black_box(path.as_str()), 1)
                    .expect("a number");
                let mut record = Vec::with_capacity(document.text().len() + index.len());
                document.write_index(&mut record);
                record.extend_from_slice(document.text());
                record
            });
        });
        let (mut buffers, mut copy) = (Buffers::default(), Vec::new());
        group.bench_function(
            BenchmarkId::new("simd-json value, reused buffers", name),
            |b| {
                b.iter(|| {
                    copy.clear();
                    copy.extend_from_slice(&stored_text);
                    let value = simd_json::to_borrowed_value_with_buffers(&mut copy, &mut buffers);
                    let mut value = value.expect("JSON");
                    let seen = value.get_mut(keys[0].as_str())?.get_mut("seen")?;
                    *seen = (seen.as_u64()? + 1).into();
                    Some(value.encode())
                });
            },
        );
        group.bench_function(BenchmarkId::new("serde_json::Value", name), |b| {
            b.iter(|| {
                let mut value: Value = serde_json::from_slice(&stored_text).expect("JSON");
                let seen = value.get_mut(&keys[0])?.get_mut(&keys[1])?;
                *seen = (seen.as_u64()? + 1).into();
                serde_json::to_vec(&value).ok()
            });
        });
    }
    group.finish();
}

fn read_all(c: &mut Criterion) {
    let mut group = c.benchmark_group("read the whole document");
    for (name, size) in SIZES {
        let document = Document::parse(session(size).0.as_bytes()).expect("JSON");
        group.bench_function(BenchmarkId::new("Document::to", name), |b| {
            b.iter(|| document.deserialize::<Value>());
        });
        group.bench_function(BenchmarkId::new("serde_json", name), |b| {
            b.iter(|| serde_json::from_slice::<Value>(document.text()));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = read_one, change_one, read_all
}
criterion_main!(benches);
