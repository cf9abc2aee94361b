//! This crate with its memory store, for both cookie policies and both ways to access the session; and
//! with its cookie store, which keeps the document in an encrypted cookie.

use std::{convert::Infallible, fmt::Debug, hint::black_box};

use ::hyper_session::{
    Session, SessionConfig, SessionExt, Sessions,
    session::CookiePolicy,
    store::{CookieStore, MemoryStore, Store},
};
use http::{Request, Response, StatusCode, header};
use hyper::service::{Service, service_fn};

use crate::{
    case::Job,
    document::{COUNTER, Size},
    drive::drive,
    peer::{Call, Peer},
    request::{self, Body, Visitors},
};

type HandlerResult = Result<Response<Body>, Infallible>;

/// The way in which the handler gets its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionAccess {
    Extension,
    Typed,
}

pub struct Contender {
    name: String,
    sessions: Sessions,
    access: SessionAccess,
    sizes: &'static [Size],
}

impl Contender {
    pub fn new(policy: CookiePolicy, access: SessionAccess) -> Self {
        let name = format!("hyper-session {policy:?} {access:?}");
        Self::with_store(name, policy, access, MemoryStore::new(), &Size::ALL)
    }

    /// Returns a contender with sessions in cookies, which hold at most 4 KB.
    pub fn cookie() -> Self {
        let (policy, access) = (CookiePolicy::WhenUsed, SessionAccess::Extension);
        let name = "hyper-session cookie".to_owned();
        Self::with_store(name, policy, access, CookieStore::new(), &[Size::Small])
    }

    fn with_store(
        name: String,
        policy: CookiePolicy,
        access: SessionAccess,
        store: impl Store,
        sizes: &'static [Size],
    ) -> Self {
        let config = SessionConfig::default()
            .cookie_name(request::COOKIE)
            .cookie_policy(policy)
            .app_key("sixty-four hexadecimal digits would do as well as this");
        Self {
            name,
            sessions: Sessions::new(config, store).expect("the settings are right"),
            access,
            sizes,
        }
    }
}

impl Peer for Contender {
    fn name(&self) -> &str {
        &self.name
    }

    fn sizes(&self) -> &[Size] {
        self.sizes
    }

    fn seed(&self, size: Size) -> String {
        let service = self
            .sessions
            .wrap_fn(move |_: Request<Body>, session: Session| async move {
                let session = session.load().await.expect("the store answers");
                for (key, value) in size.entries() {
                    session.put(key, value).expect("a new session takes data");
                }
                HandlerResult::Ok(request::response())
            });
        let response = drive(service.call(request::plain())).expect("the service answers");
        let set = response.headers().get_all(header::SET_COOKIE);
        let cookie = request::session_cookie(set.iter().map(|value| value.as_bytes()));
        cookie.expect("a session with data in it has a cookie")
    }

    fn call(&self, job: Job, visitors: Visitors) -> Call {
        match (self.access, job) {
            (SessionAccess::Extension, Job::Ignore) => {
                call_service(self.sessions.wrap(service_fn(ignore)), visitors)
            }
            (SessionAccess::Extension, Job::Read) => {
                call_service(self.sessions.wrap(service_fn(read)), visitors)
            }
            (SessionAccess::Extension, Job::Increment) => {
                call_service(self.sessions.wrap(service_fn(increment)), visitors)
            }
            (SessionAccess::Typed, Job::Ignore) => {
                call_service(self.sessions.wrap_fn(ignore_typed), visitors)
            }
            (SessionAccess::Typed, Job::Read) => {
                call_service(self.sessions.wrap_fn(read_typed), visitors)
            }
            (SessionAccess::Typed, Job::Increment) => {
                call_service(self.sessions.wrap_fn(increment_typed), visitors)
            }
        }
    }

    fn raw(&self, visitors: Visitors) -> Call {
        call_service(service_fn(ignore), visitors)
    }
}

async fn ignore(request: Request<Body>) -> HandlerResult {
    drop(request);
    Ok(request::response())
}

async fn read(request: Request<Body>) -> HandlerResult {
    read_counter(request.session().expect("the service gives one")).await
}

async fn increment(request: Request<Body>) -> HandlerResult {
    increment_counter(request.session().expect("the service gives one")).await
}

async fn ignore_typed(request: Request<Body>, _: Session) -> HandlerResult {
    ignore(request).await
}

async fn read_typed(request: Request<Body>, session: Session) -> HandlerResult {
    drop(request);
    read_counter(&session).await
}

async fn increment_typed(request: Request<Body>, session: Session) -> HandlerResult {
    drop(request);
    increment_counter(&session).await
}

async fn read_counter(session: &Session) -> HandlerResult {
    let session = session.load().await.expect("the store answers");
    let number: Option<i64> = session.get(COUNTER).expect("it is a number");
    request::set_seen(number.unwrap_or_default());
    Ok(request::response())
}

async fn increment_counter(session: &Session) -> HandlerResult {
    let session = session.load().await.expect("the store answers");
    let next = session.increment(COUNTER).expect("it is a number");
    request::set_seen(next.as_f64() as i64);
    Ok(request::response())
}

/// Returns a call that sends the requests of `visitors` to a hyper service.
fn call_service<S, B>(service: S, mut visitors: Visitors) -> Call
where
    S: Service<Request<Body>, Response = Response<B>, Error: Debug> + 'static,
{
    Call::new(move || {
        let response = drive(service.call(visitors.next())).expect("the service answers");
        assert_eq!(response.status(), StatusCode::OK);
        black_box(response);
    })
}
