//! actix-session with its cookie store. The whole document is in an encrypted cookie.

use std::hint::black_box;

use actix_http::{
    Request as ActixRequest,
    header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE},
};
use actix_session::{
    SessionExt, SessionMiddleware,
    config::{CookieContentSecurity, PersistentSession},
    storage::CookieSessionStore,
};
use actix_web::{
    App, Error, HttpRequest, HttpResponse,
    body::MessageBody,
    cookie::{Key, time::Duration},
    dev::{Service, ServiceResponse},
    test, web,
};
use http::Request;

use crate::{
    case::Job,
    document::{COUNTER, Size},
    drive::drive,
    peer::{Call, Peer},
    request::{self, Body, COOKIE, Visitors},
};

pub struct Contender {
    key: Key,
}

impl Contender {
    pub fn private() -> Self {
        Self {
            key: Key::generate(),
        }
    }

    fn middleware(&self) -> SessionMiddleware<CookieSessionStore> {
        SessionMiddleware::builder(CookieSessionStore::default(), self.key.clone())
            .cookie_name(COOKIE.into())
            .cookie_content_security(CookieContentSecurity::Private)
            .session_lifecycle(PersistentSession::default().session_ttl(Duration::hours(2)))
            .build()
    }
}

/// Makes an actix application with one handler, with or without the middleware.
macro_rules! app {
    ($handler:expr $(, $middleware:expr)?) => {{
        let app = App::new()$(.wrap($middleware))?.default_service(web::to($handler));
        drive(test::init_service(app))
    }};
}

impl Peer for Contender {
    fn name(&self) -> &str {
        "actix-session cookie private"
    }

    /// Returns the small size only. A cookie holds 4 KB, and sealing and base64 take a third of it.
    fn sizes(&self) -> &[Size] {
        &[Size::Small]
    }

    fn seed(&self, size: Size) -> String {
        let seed = move |request: HttpRequest| async move {
            let session = request.get_session();
            for (key, value) in size.entries() {
                session.insert(key, value).expect("JSON can be serialized");
            }
            response()
        };
        let app = app!(seed, self.middleware());
        let response =
            drive(app.call(actix_request(&headers(&request::plain())))).expect("an answer");
        let set = response.headers().get_all(SET_COOKIE);
        let cookie = request::session_cookie(set.map(|value| value.as_bytes()));
        cookie.expect("a session with data in it has a cookie")
    }

    fn call(&self, job: Job, visitors: Visitors) -> Call {
        match job {
            Job::Ignore => call(app!(ignore, self.middleware()), &visitors),
            Job::Read => call(app!(read, self.middleware()), &visitors),
            Job::Increment => call(app!(increment, self.middleware()), &visitors),
        }
    }

    fn raw(&self, visitors: Visitors) -> Call {
        call(app!(ignore), &visitors)
    }
}

fn call<S, B>(app: S, visitors: &Visitors) -> Call
where
    S: Service<ActixRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    let visitors: Vec<HeaderMap> = visitors.requests().iter().map(headers).collect();
    let mut next = 0;
    Call::new(move || {
        let request = actix_request(&visitors[next]);
        next = (next + 1) % visitors.len();
        let response = drive(app.call(request)).expect("the service answers");
        assert!(response.status().is_success());
        black_box(response);
    })
}

fn actix_request(headers: &HeaderMap) -> ActixRequest {
    let mut request = ActixRequest::new();
    *request.uri_mut() = actix_http::Uri::from_static("/articles/7");
    *request.headers_mut() = headers.clone();
    request
}

/// Returns the same headers in actix's own map.
fn headers(request: &Request<Body>) -> HeaderMap {
    let both = request.headers().iter().map(|(name, value)| {
        let name = HeaderName::try_from(name.as_str()).expect("the name is valid");
        (
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("the value is valid"),
        )
    });
    both.collect()
}

fn response() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok")
}

async fn ignore(_request: HttpRequest) -> HttpResponse {
    response()
}

async fn read(request: HttpRequest) -> HttpResponse {
    let counter = request.get_session().get(COUNTER);
    request::set_seen(
        counter
            .expect("the counter is a number")
            .unwrap_or_default(),
    );
    response()
}

async fn increment(request: HttpRequest) -> HttpResponse {
    let session = request.get_session();
    let counter: Option<i64> = session.get(COUNTER).expect("the counter is a number");
    let next = counter.unwrap_or_default() + 1;
    session
        .insert(COUNTER, next)
        .expect("a number can be serialized");
    request::set_seen(next);
    response()
}
