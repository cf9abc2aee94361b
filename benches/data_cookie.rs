//! The cost of a session in its visitor's cookie, compared with its unavoidable parts.
//!
//! `cargo bench --bench data_cookie`. The session is 1 KB of JSON. `floor` opens a sealed text of the
//! same length and reads one path of a loaded document. A request that reads costs its median minus
//! `raw`. `encode` measures the benefit of the index that a record contains beside its text.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use hyper_session::{
    Sessions,
    document::Document,
    seal::{Buffer, KeyRing, SealKey},
    session::CookiePolicy,
    store::{CookieStore, MemoryStore, Store},
};
use mimalloc::MiMalloc;
use support::{Access, COUNTER, Job, Size};

#[allow(dead_code, unused_imports, reason = "made for several targets")]
mod support;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Bytes of a data cookie besides the document's text and index.
const HEADER_LEN: usize = 60 + 26;

fn document() -> Document {
    let mut document = Document::new();
    for (key, value) in Size::Medium.members() {
        document.put([key], &value).expect("it is small");
    }
    document
}

fn index(document: &Document) -> Bytes {
    let mut index = Vec::new();
    document.write_index(&mut index);
    index.into()
}

/// Opens the text, including its base64 encoding, and reads one path.
fn floor(criterion: &mut Criterion) {
    let key = SealKey::from_text("a key that is long enough to measure with").expect("it is");
    let codec = KeyRing::new(key).codec("hyper-session data", "session-data");
    let document = document();
    let plain = vec![7; HEADER_LEN + document.text().len() + index(&document).len()];
    let (mut text, mut out) = (Buffer::new(), Buffer::new());
    codec.seal(&plain, &mut text).expect("it is small");
    let mut group = criterion.benchmark_group("data cookie, 1 KB");
    group.bench_function("floor", |bencher| {
        bencher.iter(|| {
            codec
                .open(black_box(&text), &mut out)
                .expect("it was sealed");
            let value = document.get(black_box(COUNTER)).expect("it is sound");
            value
                .expect("it is there")
                .deserialize::<i64>()
                .expect("a number")
        });
    });
    group.finish();
}

fn requests(criterion: &mut Criterion, name: &str, store: impl Store, policy: CookiePolicy) {
    let sessions = Sessions::new(support::config(policy), store).expect("the settings are right");
    let request = support::with_cookie(&support::seed(&sessions, Size::Medium));
    let mut group = criterion.benchmark_group("data cookie, 1 KB");
    let mut raw = support::raw(request.clone());
    group.bench_function(format!("{name}, {policy:?}, raw"), |bencher| {
        bencher.iter(&mut raw)
    });
    for job in Job::ALL {
        let mut call = support::call(&sessions, Access::Typed, job, request.clone());
        let case = format!("{name}, {policy:?}, {}", job.label());
        group.bench_function(case, |bencher| bencher.iter(&mut call));
    }
    group.finish();
}

fn all_requests(criterion: &mut Criterion) {
    for policy in [CookiePolicy::WhenUsed, CookiePolicy::Rolling] {
        requests(criterion, "cookie", CookieStore::new(), policy);
    }
    let memory = MemoryStore::new();
    let list = MemoryStore::builder().refuse_when_full(true).build();
    let revoking = CookieStore::new().with_revocation(list);
    requests(
        criterion,
        "cookie, revocation",
        revoking,
        CookiePolicy::WhenUsed,
    );
    requests(criterion, "memory", memory, CookiePolicy::WhenUsed);
}

/// Uses more visitors than the cache has slots, so that every cookie is opened.
fn cold_visitors(criterion: &mut Criterion) {
    const VISITORS: usize = 1024;
    let config = support::config(CookiePolicy::WhenUsed);
    let sessions = Sessions::new(config, CookieStore::new()).expect("the settings are right");
    let request = |_| support::with_cookie(&support::seed(&sessions, Size::Medium));
    let requests: Vec<_> = (0..VISITORS).map(request).collect();
    let mut raw = support::raw_each(requests.clone());
    let mut group = criterion.benchmark_group("data cookie, 1 KB, cold visitors");
    group.bench_function("raw", |bencher| bencher.iter(&mut raw));
    for job in [Job::Read, Job::Increment] {
        let mut call = support::call_each(&sessions, Access::Typed, job, requests.clone());
        group.bench_function(job.label(), |bencher| bencher.iter(&mut call));
    }
    group.finish();
}

/// Loads a record with its index, and without. Then the whole text is scanned.
fn encode(criterion: &mut Criterion) {
    let document = document();
    let (text, index) = (Bytes::copy_from_slice(document.text()), index(&document));
    let mut group = criterion.benchmark_group("encode, 1 KB");
    let mut loaded = Document::new();
    group.bench_function("load with its index", |bencher| {
        bencher.iter(|| loaded.load(black_box(&text).clone(), index.clone()));
    });
    let outer = [b"{\"all\":", &text[..], b"}"].concat();
    let outer = Document::parse(&outer).expect("it is an object");
    let all = outer.get("all").expect("it is sound").expect("it is there");
    group.bench_function("load and index", |bencher| {
        bencher.iter(|| loaded.load_object(black_box(all)));
    });
    group.finish();
}

fn criterion() -> Criterion {
    use std::time::Duration;
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group!(name = benches; config = criterion(); targets = floor, all_requests, cold_visitors, encode);
criterion_main!(benches);
