//! This crate with its memory store, under both cookie policies and both ways to hand the session
//! over; and with its cookie store, where the document travels in an encrypted cookie.

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

type Answer = Result<Response<Body>, Infallible>;

/// How the handler comes by its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Extension,
    Typed,
}

pub struct Contender {
    name: String,
    sessions: Sessions,
    way: Way,
    sizes: &'static [Size],
}

impl Contender {
    pub fn new(policy: CookiePolicy, way: Way) -> Self {
        let name = format!("hyper-session {policy:?} {way:?}");
        Self::with(name, policy, way, MemoryStore::new(), &Size::ALL)
    }

    /// Sessions in their visitors' cookies, which hold no more than 4 KB.
    pub fn cookie() -> Self {
        let (policy, way) = (CookiePolicy::WhenUsed, Way::Extension);
        let name = "hyper-session cookie".to_owned();
        Self::with(name, policy, way, CookieStore::new(), &[Size::Small])
    }

    fn with(
        name: String,
        policy: CookiePolicy,
        way: Way,
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
            way,
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
                    session.put(key, &value).expect("a new session takes data");
                }
                Answer::Ok(request::answer())
            });
        let response = drive(service.call(request::plain())).expect("the service answers");
        let set = response.headers().get_all(header::SET_COOKIE);
        let cookie = request::session_cookie(set.iter().map(|value| value.as_bytes()));
        cookie.expect("a session with data in it has a cookie")
    }

    fn call(&self, job: Job, visitors: Visitors) -> Call {
        match (self.way, job) {
            (Way::Extension, Job::Ignore) => {
                repeat(self.sessions.wrap(service_fn(ignore)), visitors)
            }
            (Way::Extension, Job::Read) => repeat(self.sessions.wrap(service_fn(read)), visitors),
            (Way::Extension, Job::Increment) => {
                repeat(self.sessions.wrap(service_fn(increment)), visitors)
            }
            (Way::Typed, Job::Ignore) => repeat(self.sessions.wrap_fn(ignore_typed), visitors),
            (Way::Typed, Job::Read) => repeat(self.sessions.wrap_fn(read_typed), visitors),
            (Way::Typed, Job::Increment) => {
                repeat(self.sessions.wrap_fn(increment_typed), visitors)
            }
        }
    }

    fn raw(&self, visitors: Visitors) -> Call {
        repeat(service_fn(ignore), visitors)
    }
}

async fn ignore(request: Request<Body>) -> Answer {
    drop(request);
    Ok(request::answer())
}

async fn read(request: Request<Body>) -> Answer {
    saw_one(request.session().expect("the service gives one")).await
}

async fn increment(request: Request<Body>) -> Answer {
    add_one(request.session().expect("the service gives one")).await
}

async fn ignore_typed(request: Request<Body>, _: Session) -> Answer {
    ignore(request).await
}

async fn read_typed(request: Request<Body>, session: Session) -> Answer {
    drop(request);
    saw_one(&session).await
}

async fn increment_typed(request: Request<Body>, session: Session) -> Answer {
    drop(request);
    add_one(&session).await
}

async fn saw_one(session: &Session) -> Answer {
    let session = session.load().await.expect("the store answers");
    let number: Option<i64> = session.get(COUNTER).expect("it is a number");
    request::saw(number.unwrap_or_default());
    Ok(request::answer())
}

async fn add_one(session: &Session) -> Answer {
    let session = session.load().await.expect("the store answers");
    session.increment(COUNTER).expect("it is a number");
    let number: Option<i64> = session.get(COUNTER).expect("it is a number");
    request::saw(number.unwrap_or_default());
    Ok(request::answer())
}

/// The requests of `visitors`, answered by a hyper service.
fn repeat<S, B>(service: S, mut visitors: Visitors) -> Call
where
    S: Service<Request<Body>, Response = Response<B>, Error: Debug> + 'static,
{
    Call::new(move || {
        let response = drive(service.call(visitors.next())).expect("the service answers");
        assert_eq!(response.status(), StatusCode::OK);
        black_box(response);
    })
}
