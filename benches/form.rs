//! Reading forms, and what stands around a handler of them.
//!
//! `cargo bench --features forms --bench form`. The measure of `read` is `collect`: the same bytes
//! taken from the same body and nothing else. That of `around` is the service without forms.

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use http::{Request, Response, header::COOKIE};
use http_body_util::{BodyExt, Full};
use hyper::service::Service;
use hyper_session::{
    Session, SessionConfig, SessionError, Sessions,
    form::{FormBody, Forms, Input, InputLimits},
    store::MemoryStore,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FORM: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=----edge";

const CONTACT: &str = "name=Ann+Example&email=ann%40example.com&subject=A+question&\
    message=How+much+is+the+bread%3F+And+is+it+there+on+Sundays%3F&newsletter=on&page=%2Fcontact";

/// Polls until it is ready: nothing here waits for anything but itself.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

fn order() -> String {
    let item = |n| format!("&items[{n}][name]=bread&items[{n}][count]={n}&items[{n}][tags][]=a");
    (0..10).map(item).collect::<String>()
}

fn json() -> String {
    let item = |n| format!(r#"{{"name":"bread","count":{n},"tags":["a"]}}"#);
    let items: Vec<String> = (0..10).map(item).collect();
    format!(r#"{{"items":[{}]}}"#, items.join(","))
}

fn upload() -> String {
    let field = "------edge\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nA photo\r\n";
    let file =
        "------edge\r\nContent-Disposition: form-data; name=\"f\"; filename=\"p.jpg\"\r\n\r\n";
    format!(
        "{field}{file}{}\r\n------edge--\r\n",
        "y".repeat(256 * 1024)
    )
}

fn request(kind: &str, body: &Bytes) -> Request<Full<Bytes>> {
    let request = Request::post("/").header("content-type", kind);
    request.body(Full::new(body.clone())).unwrap()
}

fn read(criterion: &mut Criterion) {
    for (name, kind, body) in [
        ("contact form", FORM, CONTACT.to_owned()),
        ("30 nested fields", FORM, order()),
        ("the same in JSON", "application/json", json()),
        ("a file of 256 KB", PARTS, upload()),
    ] {
        let body = Bytes::from(body);
        let mut group = criterion.benchmark_group(format!("read/{name}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("collect", |b| {
            b.iter(|| finish(black_box(request(kind, &body)).into_body().collect()));
        });
        let limits = InputLimits::default();
        group.bench_function("input", |b| {
            b.iter(|| {
                finish(Input::from_request(
                    black_box(request(kind, &body)),
                    &limits,
                ))
            });
        });
        group.finish();
    }
}

fn sessions() -> Sessions {
    let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
    Sessions::new(config, MemoryStore::new()).unwrap()
}

async fn answer<B>(_: Request<B>, session: Session) -> Result<Response<Full<Bytes>>, SessionError> {
    black_box(session.load().await?);
    Ok(Response::new(Full::default()))
}

fn around(criterion: &mut Criterion) {
    let (sessions, forms) = (sessions(), Forms::new().csrf_protection());
    let plain = sessions.wrap_fn(answer::<Full<Bytes>>);
    let guarded = sessions.wrap_fn(forms.wrap_fn(answer::<FormBody<Full<Bytes>>>));
    let made = sessions.wrap_fn(|_: Request<()>, session: Session| async move {
        let token = session.csrf_token()?;
        Ok::<_, SessionError>(Response::new(token))
    });
    let first = finish(made.call(Request::new(()))).unwrap();
    let cookie = first.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let token = first.into_body().into_inner().unwrap();

    let get = Request::get("/")
        .header(COOKIE, &cookie)
        .header("host", "www.example.com");
    let get = get.body(Full::<Bytes>::default()).unwrap();
    let post = Request::post("/")
        .header(COOKIE, &cookie)
        .header("content-type", FORM);
    let post = post
        .body(Full::from(format!("{CONTACT}&_csrf={token}")))
        .unwrap();

    let mut group = criterion.benchmark_group("around");
    for (name, request) in [("GET", get), ("POST, the token in the form", post)] {
        group.bench_function(format!("{name}, without forms"), |b| {
            b.iter(|| finish(plain.call(request.clone())).unwrap());
        });
        group.bench_function(name, |b| {
            b.iter(|| {
                let response = finish(guarded.call(request.clone())).unwrap();
                assert_eq!(response.status(), 200);
            });
        });
    }
    group.bench_function("a token made", |b| {
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert(COOKIE, cookie.parse().unwrap());
        b.iter(|| finish(made.call(request.clone())).unwrap());
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    read(&mut criterion);
    around(&mut criterion);
    criterion.final_summary();
}
