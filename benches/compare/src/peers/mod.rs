//! The contenders.

mod actix_session;
mod axum_session;
mod hyper_session;
mod tower_sessions;

use std::{convert::Infallible, fmt::Debug, hint::black_box};

use ::hyper_session::session::CookiePolicy::{Rolling, WhenUsed};
use http::{Request, Response, StatusCode, header};
use tower::{Service, ServiceExt, service_fn};

use self::hyper_session::Way;
use crate::{
    drive::drive,
    peer::{Call, Peer},
    request::{self, Body, Visitors},
};

/// Every contender, in the order of the table.
pub fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(hyper_session::Contender::new(Rolling, Way::Extension)),
        Box::new(hyper_session::Contender::new(Rolling, Way::Typed)),
        Box::new(hyper_session::Contender::new(WhenUsed, Way::Extension)),
        Box::new(hyper_session::Contender::new(WhenUsed, Way::Typed)),
        Box::new(tower_sessions::Contender::plain()),
        Box::new(tower_sessions::Contender::private()),
        Box::new(axum_session::Contender::plain()),
        Box::new(axum_session::Contender::signed()),
        Box::new(actix_session::Contender::private()),
        Box::new(hyper_session::Contender::cookie()),
    ]
}

/// The requests of `visitors`, answered by a tower service.
fn tower_call<S>(mut service: S, mut visitors: Visitors) -> Call
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Debug> + 'static,
{
    Call::new(move || {
        let response = answered(&mut service, visitors.next());
        assert_eq!(response.status(), StatusCode::OK);
        black_box(response);
    })
}

fn answered<S>(service: &mut S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Debug>,
{
    let answer = async { service.ready().await?.call(request).await };
    drive(answer).expect("the service answers")
}

/// The cookie with which a tower service answers a visitor without one.
fn tower_seed<S>(mut service: S) -> String
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Debug>,
{
    let response = answered(&mut service, request::plain());
    let set = response.headers().get_all(header::SET_COOKIE);
    let cookie = request::session_cookie(set.iter().map(|value| value.as_bytes()));
    cookie.expect("a session with data in it has a cookie")
}

/// The service that every tower contender wraps.
fn tower_raw(visitors: Visitors) -> Call {
    let service = service_fn(|request: Request<Body>| async move {
        drop(request);
        Ok::<_, Infallible>(request::answer())
    });
    tower_call(service, visitors)
}
