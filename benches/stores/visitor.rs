//! Visitors who follow the cookies of the responses, and the services that answer them.

use std::{fmt::Debug, sync::Arc};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::service::{Service, service_fn};
use hyper_session::{Session, SessionError, Sessions};
use serde_json::Value;

use crate::{
    documents::Document,
    support::{self, Body, COUNTER},
};

/// The work of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Read,
    Increment,
    /// A new visitor's session is stored.
    Create,
    /// The session gets a new id.
    Regenerate,
    /// The session ends, and the next request stores a new one: two requests.
    Destroy,
}

impl Job {
    pub(crate) const ALL: [Self; 5] = [
        Self::Read,
        Self::Increment,
        Self::Create,
        Self::Regenerate,
        Self::Destroy,
    ];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Increment => "increment",
            Self::Create => "create",
            Self::Regenerate => "regenerate",
            Self::Destroy => "destroy and create",
        }
    }
}

/// A visitor with a stored session.
pub(crate) struct Visitor {
    /// The session's cookies as `name=value; name=value`.
    pairs: Box<str>,
    /// The line of all cookies.
    line: HeaderValue,
}

impl Visitor {
    /// Stores a session and returns its visitor.
    pub(crate) fn new(sessions: &Sessions, document: Document) -> Self {
        Self::created_by(&client(sessions, Job::Create, document))
    }

    /// Returns the visitor of a session that a client of [`Job::Create`] stores.
    pub(crate) fn created_by(client: &Client<impl SessionService>) -> Self {
        let mut visitor = Self {
            pairs: "".into(),
            line: HeaderValue::from_static(""),
        };
        let headers = client.send(&visitor);
        visitor.follow(&headers);
        visitor
    }

    /// Takes the cookies that a response sets, and keeps the others.
    pub(crate) fn follow(&mut self, headers: &HeaderMap) {
        let lines = headers.get_all(header::SET_COOKIE).iter();
        let set: Vec<(&str, &str)> = lines.filter_map(pair).collect();
        if set.is_empty() {
            return;
        }
        let is_set = |name: &str| set.iter().any(|(other, _)| *other == name);
        let old = self.pairs.split("; ").filter_map(|it| it.split_once('='));
        let kept = old.filter(|(name, _)| !is_set(name));
        let new = set.iter().copied().filter(|(_, value)| !value.is_empty());
        let mut pairs = String::with_capacity(400);
        for (name, value) in kept.chain(new) {
            if !pairs.is_empty() {
                pairs += "; ";
            }
            pairs.extend([name, "=", value]);
        }
        self.line = support::cookie_line(&pairs);
        self.pairs = pairs.into();
    }
}

/// Returns name and value of a cookie.
fn pair(line: &HeaderValue) -> Option<(&str, &str)> {
    line.to_str().ok()?.split(';').next()?.split_once('=')
}

/// A service that answers without a body of interest.
pub(crate) trait SessionService {
    /// Answers a request, and returns the headers of the response.
    fn answer(&self, request: Request<Body>) -> HeaderMap;
}

impl<S, B> SessionService for S
where
    S: Service<Request<Body>, Response = Response<B>, Error: Debug>,
{
    fn answer(&self, request: Request<Body>) -> HeaderMap {
        let response = support::drive(self.call(request)).expect("the store responds");
        assert_eq!(response.status(), StatusCode::OK);
        response.into_parts().0.headers
    }
}

/// A service and the request that its visitors send, except for their cookies.
pub(crate) struct Client<S> {
    service: S,
    request: Request<Body>,
    with_cookie: bool,
}

/// Returns a client of the service with sessions.
///
/// # Panics
/// The service panics if the session is not found. A time measured on a missing session would be wrong.
pub(crate) fn client(
    sessions: &Sessions,
    job: Job,
    document: Document,
) -> Client<impl SessionService + Sync + use<>> {
    let members = Arc::new(document.members());
    let handler = move |_: Request<Body>, session: Session| {
        let members = Arc::clone(&members);
        async move {
            work(job, &members, session.load().await?)?;
            Ok::<_, SessionError>(Response::new(Body::default()))
        }
    };
    Client::new(sessions.wrap_fn(handler), job)
}

/// Returns a client of a service without sessions, which does nothing.
pub(crate) fn raw_client(job: Job) -> Client<impl SessionService + Sync> {
    let answer = |request: Request<Body>| async move {
        drop(request);
        Ok::<_, SessionError>(Response::new(Body::default()))
    };
    Client::new(service_fn(answer), job)
}

impl<S> Client<S> {
    fn new(service: S, job: Job) -> Self {
        Self {
            service,
            request: support::plain(),
            with_cookie: job != Job::Create,
        }
    }
}

impl<S: SessionService> Client<S> {
    /// Sends a request of a visitor, and returns the headers of the response.
    pub(crate) fn send(&self, visitor: &Visitor) -> HeaderMap {
        let mut request = self.request.clone();
        if self.with_cookie {
            let headers = request.headers_mut();
            headers.insert(header::COOKIE, visitor.line.clone());
        }
        self.service.answer(request)
    }
}

fn work(job: Job, members: &[(String, Value)], session: &Session) -> Result<(), SessionError> {
    if job == Job::Create {
        for (key, value) in members {
            session.put([key.as_str()], value)?;
        }
        return Ok(());
    }
    if job == Job::Increment {
        let next = session.increment(COUNTER)?.as_f64();
        assert!(next >= 42.0, "the session was lost");
        return Ok(());
    }
    let count: Option<i64> = session.get(COUNTER)?;
    assert!(count.is_some_and(|it| it >= 41), "the session was lost");
    match job {
        Job::Regenerate => session.regenerate(),
        Job::Destroy => session.destroy(),
        Job::Read | Job::Increment | Job::Create => Ok(()),
    }
}
