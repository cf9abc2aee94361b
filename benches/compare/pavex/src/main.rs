//! pavex_session with its memory store and an encrypted cookie, around a hyper handler.
//!
//! A session of this crate stays on one thread, and is used between the steps that pavex would generate: the
//! cookies are read, the session is made, the handler runs, and the cookie is sealed.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Request, header};
use hyper::service::service_fn;
use pavex::cookie::{
    Key, Processor, ProcessorConfig, RequestCookies, ResponseCookies,
    config::{CryptoAlgorithm, CryptoRule},
};
use pavex_session::{IncomingSession, Session, SessionConfig, SessionStore};
use pavex_session_memory_store::InMemorySessionStore;

#[allow(dead_code, reason = "shared with the comparison")]
#[path = "../../src/document.rs"]
mod document;
#[allow(dead_code, reason = "shared with the comparison")]
#[path = "../../src/sockets/job.rs"]
mod job;
#[allow(dead_code, reason = "shared with the comparison")]
#[path = "../../src/request.rs"]
mod request;
#[path = "../../src/sockets/server.rs"]
mod server;

use document::{COUNTER, Size};
use job::Job;
use request::{Body, COOKIE};
use server::{HandlerResult, response, serve_hyper};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Settings {
    store: SessionStore,
    config: SessionConfig,
    processor: Processor,
}

fn main() {
    server::end_with_parent();
    let mut config = SessionConfig::new();
    config.cookie.name = COOKIE.into();
    let mut cookies = ProcessorConfig::default();
    cookies.crypto_rules.push(CryptoRule {
        cookie_names: vec![COOKIE.into()],
        algorithm: CryptoAlgorithm::Encryption,
        key: Key::generate(),
        fallbacks: Vec::new(),
    });
    let settings = Settings {
        store: SessionStore::new(InMemorySessionStore::new()),
        config,
        processor: cookies.into(),
    };
    let settings = Arc::new(settings);
    serve_hyper(async {
        service_fn(move |request| {
            let settings = Arc::clone(&settings);
            // The memory store answers at once.
            let answer = at_once(answer(&settings, &request));
            async move { answer }
        })
    });
}

async fn answer(settings: &Settings, request: &Request<Body>) -> HandlerResult {
    let mut cookies = RequestCookies::new();
    for header in request.headers().get_all(header::COOKIE) {
        let text = header.to_str().expect("the load sends ASCII");
        // pavex ignores cookies that it cannot read.
        let _unreadable = cookies.extend_from_header(text, &settings.processor);
    }
    let incoming = IncomingSession::extract(&cookies, &settings.config.cookie);
    let mut session = Session::new(&settings.store, &settings.config, incoming);
    let mut response = response(run(Job::of(request.uri().path()), &mut session).await);
    let cookie = session.finalize().await.expect("the store answers");
    let mut cookies = ResponseCookies::new();
    if let Some(cookie) = cookie {
        cookies.insert(cookie);
    }
    for value in cookies.header_values(&settings.processor) {
        let value = HeaderValue::try_from(value).expect("a cookie is ASCII");
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    Ok(response)
}

async fn run(job: Job, session: &mut Session<'_>) -> Option<i64> {
    match job {
        Job::Untouched => return None,
        Job::Seed => {
            for (key, value) in Size::Small.entries() {
                let inserted = session.insert_raw(key, value).await;
                inserted.expect("a new session takes data");
            }
            return None;
        }
        Job::Read | Job::Increment => {}
    }
    let number: Option<i64> = session.get(COUNTER).await.expect("the store answers");
    let mut number = number.unwrap_or_default();
    if job == Job::Increment {
        number += 1;
        let inserted = session.insert(COUNTER, number).await;
        inserted.expect("the store answers");
    }
    Some(number)
}

/// Returns the output of a future that does not wait.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the memory store waits"),
    }
}
