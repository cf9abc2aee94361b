//! Reading of forms, and the cost of `Forms` for each request.
//!
//! `cargo bench --features forms --bench form`. The baseline of `read` is `collect`, which only collects
//! the same body. The baseline of `wrap` is the service without `Forms`.

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
const MULTIPART: &str = "multipart/form-data; boundary=----edge";

const CONTACT: &str = "name=Ann+Example&email=ann%40example.com&subject=A+question&\
    message=How+much+is+the+bread%3F+And+is+it+there+on+Sundays%3F&newsletter=on&page=%2Fcontact";

/// Polls in a loop. No future here waits for another task.
fn block_on<T>(future: impl Future<Output = T>) -> T {
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

fn request(content_type: &str, body: &Bytes) -> Request<Full<Bytes>> {
    let request = Request::post("/").header("content-type", content_type);
    request.body(Full::new(body.clone())).unwrap()
}

fn read(criterion: &mut Criterion) {
    for (name, content_type, body) in [
        ("contact form", FORM, CONTACT.to_owned()),
        ("30 nested fields", FORM, order()),
        ("the same in JSON", "application/json", json()),
        ("a file of 256 KB", MULTIPART, upload()),
    ] {
        let body = Bytes::from(body);
        let mut group = criterion.benchmark_group(format!("read/{name}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("collect", |b| {
            b.iter(|| {
                block_on(
                    black_box(request(content_type, &body))
                        .into_body()
                        .collect(),
                )
            });
        });
        let limits = InputLimits::default();
        group.bench_function("input", |b| {
            b.iter(|| {
                block_on(Input::from_request(
                    black_box(request(content_type, &body)),
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

async fn handle<B>(_: Request<B>, session: Session) -> Result<Response<Full<Bytes>>, SessionError> {
    black_box(session.load().await?);
    Ok(Response::new(Full::default()))
}

fn wrap(criterion: &mut Criterion) {
    let (sessions, forms) = (sessions(), Forms::new().csrf_protection());
    let plain = sessions.wrap_fn(handle::<Full<Bytes>>);
    let wrapped = sessions.wrap_fn(forms.wrap_fn(handle::<FormBody<Full<Bytes>>>));
    let token_service = sessions.wrap_fn(|_: Request<()>, session: Session| async move {
        let token = session.csrf_token()?;
        Ok::<_, SessionError>(Response::new(token))
    });
    let response = block_on(token_service.call(Request::new(()))).unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let token = response.into_body().into_inner().unwrap();

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

    let mut group = criterion.benchmark_group("wrap");
    for (name, request) in [("GET", get), ("POST, the token in the form", post)] {
        group.bench_function(format!("{name}, without forms"), |b| {
            b.iter(|| block_on(plain.call(request.clone())).unwrap());
        });
        group.bench_function(name, |b| {
            b.iter(|| {
                let response = block_on(wrapped.call(request.clone())).unwrap();
                assert_eq!(response.status(), 200);
            });
        });
    }
    group.bench_function("create a token", |b| {
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert(COOKIE, cookie.parse().unwrap());
        b.iter(|| block_on(token_service.call(request.clone())).unwrap());
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    read(&mut criterion);
    wrap(&mut criterion);
    criterion.final_summary();
}
