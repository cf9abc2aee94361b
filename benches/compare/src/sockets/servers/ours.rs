//! This crate, with each of its stores.

use std::env;

use http::Request;
use hyper_session::{
    Session, SessionConfig, Sessions,
    session::CookiePolicy,
    store::{CookieStore, FileStore, MemoryStore, RedisStore, Store},
};

use crate::{
    document::{COUNTER, Size},
    job::Job,
    request::{Body, COOKIE},
    server::{HandlerResult, response, serve_hyper},
};

pub(super) fn when_used() {
    serve(CookiePolicy::WhenUsed, async { MemoryStore::new() });
}

pub(super) fn rolling() {
    serve(CookiePolicy::Rolling, async { MemoryStore::new() });
}

pub(super) fn file() {
    let folder = env::var("FOLDER").expect("the benchmark sets it");
    serve(CookiePolicy::WhenUsed, async {
        FileStore::open(folder).expect("the folder is writable")
    });
}

pub(super) fn cookie() {
    serve(CookiePolicy::WhenUsed, async { CookieStore::new() });
}

pub(super) fn redis() {
    serve(CookiePolicy::WhenUsed, async {
        let store = RedisStore::builder(&url()).connect().await;
        store.expect("the server answers")
    });
}

pub(super) fn near_cache() {
    serve(CookiePolicy::WhenUsed, async {
        let store = RedisStore::builder(&url())
            .with_near_cache()
            .connect()
            .await;
        store.expect("the server answers")
    });
}

fn url() -> String {
    env::var("REDIS_URL").expect("the benchmark sets it")
}

fn serve<T: Store>(policy: CookiePolicy, store: impl Future<Output = T>) {
    let config = SessionConfig::default()
        .cookie_name(COOKIE)
        .cookie_policy(policy)
        .app_key("sixty-four hexadecimal digits would do as well as this");
    serve_hyper(async {
        let sessions = Sessions::new(config, store.await).expect("the settings are right");
        sessions.wrap_fn(answer)
    });
}

async fn answer(request: Request<Body>, session: Session) -> HandlerResult {
    let job = Job::of(request.uri().path());
    drop(request);
    if job == Job::Untouched {
        return Ok(response(None));
    }
    let session = session.load().await.expect("the store answers");
    let number: Option<i64> = match job {
        Job::Untouched => None,
        Job::Seed => {
            for (key, value) in Size::Small.entries() {
                session.put(key, value).expect("a new session takes data");
            }
            None
        }
        Job::Read => session.get(COUNTER).expect("it is a number"),
        Job::Increment => {
            let next = session.increment(COUNTER).expect("it is a number");
            Some(next.as_f64() as i64)
        }
    };
    Ok(response(number))
}
