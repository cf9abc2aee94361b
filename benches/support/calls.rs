//! Services with and without a session, and calls of them.

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

/// One request, answered.
pub(crate) type Call = Box<dyn FnMut()>;

/// What the handler does with its session.
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

/// How the handler comes by its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In the request's extensions.
    Extension,
    /// As an argument.
    Typed,
}

type Answer = Result<Response<Body>, Infallible>;

/// The service with a session around it, called with clones of `request`.
///
/// # Panics
/// When the handler does not find the number that it should: a figure for a session that was not
/// found would be worse than none.
pub(crate) fn call(sessions: &Sessions, way: Way, job: Job, request: Request<Body>) -> Call {
    call_each(sessions, way, job, vec![request])
}

/// Like [`call`], with each of the requests in turn.
pub(crate) fn call_each(
    sessions: &Sessions,
    way: Way,
    job: Job,
    requests: Vec<Request<Body>>,
) -> Call {
    match way {
        Way::Extension => {
            let service = service_fn(move |request| by_extension(job, request));
            repeat(sessions.wrap(service), requests)
        }
        Way::Typed => {
            let handler = move |request, session| by_argument(job, request, session);
            repeat(sessions.wrap_fn(handler), requests)
        }
    }
}

/// The same service with nothing around it.
pub(crate) fn raw(request: Request<Body>) -> Call {
    raw_each(vec![request])
}

/// Like [`raw`], with each of the requests in turn.
pub(crate) fn raw_each(requests: Vec<Request<Body>>) -> Call {
    let service = service_fn(|request: Request<Body>| async {
        drop(request);
        Answer::Ok(request::answer())
    });
    repeat(service, requests)
}

/// Opens a session that holds the document, and returns its cookies as `name=value; name=value`.
pub(crate) fn seed(sessions: &Sessions, size: Size) -> String {
    let service = sessions.wrap_fn(move |_: Request<Body>, session: Session| async move {
        let session = session.load().await?;
        for (key, value) in size.members() {
            session.put(key, &value)?;
        }
        assert_eq!(session.snapshot()?.as_json()?.len(), size.bytes());
        Ok::<_, SessionError>(request::answer())
    });
    let response = drive(service.call(request::plain())).expect("a new session takes data");
    let set = response.headers().get_all(SET_COOKIE).iter();
    let pairs = set.map(|cookie| {
        let cookie = cookie.to_str().expect("a cookie is visible ASCII");
        cookie.split(';').next().unwrap_or_default()
    });
    pairs.collect::<Vec<_>>().join("; ")
}

async fn by_extension(job: Job, request: Request<Body>) -> Answer {
    if job != Job::Ignore {
        work(job, request.session().expect("the service gives one")).await;
    }
    Ok(request::answer())
}

async fn by_argument(job: Job, request: Request<Body>, session: Session) -> Answer {
    drop(request);
    if job != Job::Ignore {
        work(job, &session).await;
    }
    Ok(request::answer())
}

async fn work(job: Job, session: &Session) {
    let session = session.load().await.expect("the store answers");
    if job == Job::Increment {
        session.increment(COUNTER).expect("there is a number");
    }
    let seen: Option<i64> = session.get(COUNTER).expect("there is a number");
    assert!(seen.is_some_and(|seen| seen >= 41), "the session was lost");
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
        let response = drive(service.call(request)).expect("the service answers");
        assert_eq!(response.status(), StatusCode::OK);
        black_box(response);
    })
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a current-thread runtime can be built")
});

/// Makes this thread one that a store which does I/O can work on. Hold it while calls run.
pub(crate) fn enter() -> EnterGuard<'static> {
    RUNTIME.enter()
}

/// The future's output. One that is ready at once costs one poll; the runtime waits for the rest.
fn drive<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => RUNTIME.block_on(future),
    }
}
