//! Services with and without a session, and calls to them.

use std::{
    convert::Infallible,
    fmt::Debug,
    future::Future,
    hint::black_box,
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use http::{Request, Response, StatusCode, header::SET_COOKIE};
use hyper::service::{Service, service_fn};
use hyper_session::{Session, SessionError, SessionExt, Sessions};
use tokio::runtime::{Builder, EnterGuard, Runtime};

use super::{
    document::{COUNTER, Size},
    request::{self, Body},
};

/// A function that sends one request and drops the response.
pub(crate) type Call = Box<dyn FnMut()>;

/// The work of the handler with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Ignore,
    Read,
    Increment,
}

impl Job {
    pub(crate) const ALL: [Self; 3] = [Self::Ignore, Self::Read, Self::Increment];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Ignore => "untouched",
            Self::Read => "read one key",
            Self::Increment => "increment one key",
        }
    }
}

/// The way in which the handler gets its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// From the request's extensions.
    Extension,
    /// As an argument of the handler.
    Typed,
}

type HandlerResult = Result<Response<Body>, Infallible>;

/// Returns a call of the service with sessions, which sends clones of `request`.
///
/// # Panics
/// The call panics if the handler does not read the expected number. A time measured on a missing
/// session would be wrong.
pub(crate) fn call(sessions: &Sessions, access: Access, job: Job, request: Request<Body>) -> Call {
    call_each(sessions, access, job, vec![request])
}

/// Calls the service like [`call`], with the requests in turn.
pub(crate) fn call_each(
    sessions: &Sessions,
    access: Access,
    job: Job,
    requests: Vec<Request<Body>>,
) -> Call {
    match access {
        Access::Extension => {
            let service = service_fn(move |request| with_extension(job, request));
            repeat(sessions.wrap(service), requests)
        }
        Access::Typed => {
            let handler = move |request, session| with_argument(job, request, session);
            repeat(sessions.wrap_fn(handler), requests)
        }
    }
}

/// Returns a call of the service without sessions.
pub(crate) fn raw(request: Request<Body>) -> Call {
    raw_each(vec![request])
}

/// Calls the service like [`raw`], with the requests in turn.
pub(crate) fn raw_each(requests: Vec<Request<Body>>) -> Call {
    let service = service_fn(|request: Request<Body>| async {
        drop(request);
        HandlerResult::Ok(request::response())
    });
    repeat(service, requests)
}

/// Stores a session with a document, and returns its cookies as `name=value; name=value`.
pub(crate) fn seed(sessions: &Sessions, size: Size) -> String {
    let service = sessions.wrap_fn(move |_: Request<Body>, session: Session| async move {
        let session = session.load().await?;
        for (key, value) in size.members() {
            session.put(key, value)?;
        }
        assert_eq!(session.snapshot()?.as_json()?.len(), size.bytes());
        Ok::<_, SessionError>(request::response())
    });
    let response = drive(service.call(request::plain())).expect("a new session can be written");
    let lines = response.headers().get_all(SET_COOKIE).iter();
    let pairs = lines.map(|cookie| {
        let cookie = cookie.to_str().expect("a cookie is visible ASCII");
        cookie.split(';').next().unwrap_or_default()
    });
    pairs.collect::<Vec<_>>().join("; ")
}

async fn with_extension(job: Job, request: Request<Body>) -> HandlerResult {
    if job != Job::Ignore {
        work(
            job,
            request.session().expect("the service provides a session"),
        )
        .await;
    }
    Ok(request::response())
}

async fn with_argument(job: Job, request: Request<Body>, session: Session) -> HandlerResult {
    drop(request);
    if job != Job::Ignore {
        work(job, &session).await;
    }
    Ok(request::response())
}

async fn work(job: Job, session: &Session) {
    let session = session.load().await.expect("the store responds");
    if job == Job::Increment {
        session.increment(COUNTER).expect("the value is a number");
    }
    let count: Option<i64> = session.get(COUNTER).expect("the value is a number");
    assert!(
        count.is_some_and(|count| count >= 41),
        "the session was lost"
    );
}

fn repeat<S, B>(service: S, requests: Vec<Request<Body>>) -> Call
where
    S: Service<Request<Body>, Response = Response<B>, Error: Debug> + 'static,
    B: 'static,
{
    let mut next = 0;
    Box::new(move || {
        let request = requests[next].clone();
        next = (next + 1) % requests.len();
        let response = drive(service.call(request)).expect("the service responds");
        assert_eq!(response.status(), StatusCode::OK);
        black_box(response);
    })
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a current-thread runtime can be built")
});

/// Enters the runtime, which stores with I/O need. Hold the guard while calls run.
pub(crate) fn enter() -> EnterGuard<'static> {
    RUNTIME.enter()
}

/// Returns the output of a future. It polls once, and runs the runtime only if that was not enough.
pub(crate) fn drive<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => RUNTIME.block_on(future),
    }
}
