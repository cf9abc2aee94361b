//! A visitor who follows the cookies of the responses.

use http::{HeaderValue, Request, StatusCode, header};
use hyper::service::Service;
use hyper_session::{Session, SessionError, Sessions};

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

pub(crate) struct Visitor {
    sessions: Sessions,
    document: Document,
    /// The cookies as `name=value`, separated by `; `.
    cookies: String,
}

impl Visitor {
    /// Returns a visitor with a stored session.
    pub(crate) fn new(sessions: &Sessions, document: Document) -> Self {
        let mut visitor = Self {
            sessions: sessions.clone(),
            document,
            cookies: String::new(),
        };
        visitor.send(Job::Create);
        visitor
    }

    /// Sends a request and checks the result.
    ///
    /// # Panics
    /// If the session is not found. A time measured on a missing session would be wrong.
    pub(crate) fn send(&mut self, job: Job) {
        let request = match job {
            Job::Create => support::plain(),
            _ => support::with_cookie(&self.cookies),
        };
        let document = self.document;
        let service = self
            .sessions
            .wrap_fn(move |_: Request<Body>, session: Session| async move {
                work(job, document, session.load().await?)?;
                Ok::<_, SessionError>(http::Response::new(Body::default()))
            });
        let response = support::drive(service.call(request)).expect("the store responds");
        assert_eq!(response.status(), StatusCode::OK);
        let lines = response.headers().get_all(header::SET_COOKIE);
        let pairs: Vec<&str> = lines.iter().filter_map(pair).collect();
        match job {
            Job::Destroy => self.send(Job::Create),
            _ if pairs.is_empty() => {}
            _ => self.cookies = pairs.join("; "),
        }
    }
}

/// Returns `name=value` of a cookie.
fn pair(line: &HeaderValue) -> Option<&str> {
    line.to_str().ok()?.split(';').next()
}

fn work(job: Job, document: Document, session: &Session) -> Result<(), SessionError> {
    if job == Job::Create {
        for (key, value) in document.members() {
            session.put([key.as_str()], value)?;
        }
        return Ok(());
    }
    let count: Option<i64> = session.get(COUNTER)?;
    assert!(count.is_some_and(|it| it >= 41), "the session was lost");
    match job {
        Job::Increment => session.increment(COUNTER).map(drop),
        Job::Regenerate => session.regenerate(),
        Job::Destroy => session.destroy(),
        Job::Read | Job::Create => Ok(()),
    }
}
