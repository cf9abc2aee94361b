//! The session middlewares to compare.

mod actix_session;
mod axum_session;
mod hyper_session;
mod tower_sessions;

use std::{convert::Infallible, fmt::Debug, hint::black_box};

use ::hyper_session::session::CookiePolicy::{Rolling, WhenUsed};
use http::{Request, Response, StatusCode, header};
use tower::{Service, ServiceExt, service_fn};

use self::hyper_session::SessionAccess;
use crate::{
    drive::drive,
    peer::{Call, Peer},
    request::{self, Body, Visitors},
};

/// Returns every contender, in the order of the table.
pub fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(hyper_session::Contender::new(
            Rolling,
            SessionAccess::Extension,
        )),
        Box::new(hyper_session::Contender::new(Rolling, SessionAccess::Typed)),
        Box::new(hyper_session::Contender::new(
            WhenUsed,
            SessionAccess::Extension,
        )),
        Box::new(hyper_session::Contender::new(
            WhenUsed,
            SessionAccess::Typed,
        )),
        Box::new(tower_sessions::Contender::plain()),
        Box::new(tower_sessions::Contender::private()),
        Box::new(axum_session::Contender::plain()),
        Box::new(axum_session::Contender::signed()),
        Box::new(actix_session::Contender::private()),
        Box::new(hyper_session::Contender::cookie()),
    ]
}

/// Returns a call that sends the requests of `visitors` to a tower service.
fn tower_call<S>(mut service: S, mut visitors: Visitors) -> Call
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Debug> + 'static,
{
    Call::new(move || {
        let response = send(&mut service, visitors.next());
        assert_eq!(response.status(), StatusCode::OK);
        black_box(response);
    })
}

fn send<S>(service: &mut S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Debug>,
{
    let response = async { service.ready().await?.call(request).await };
    drive(response).expect("the service answers")
}

/// Returns the cookie that a tower service sets for a visitor without one.
fn tower_seed<S>(mut service: S) -> String
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Debug>,
{
    let response = send(&mut service, request::plain());
    let set = response.headers().get_all(header::SET_COOKIE);
    let cookie = request::session_cookie(set.iter().map(|value| value.as_bytes()));
    cookie.expect("a session with data in it has a cookie")
}

/// Returns a call of the service that every tower contender wraps.
fn tower_raw(visitors: Visitors) -> Call {
    let service = service_fn(|request: Request<Body>| async move {
        drop(request);
        Ok::<_, Infallible>(request::response())
    });
    tower_call(service, visitors)
}
