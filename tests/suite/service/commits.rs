//! Requests that fail after an explicit commit, over sockets and with every kind of wrapped handler.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_session::{Session, SessionExt};
use hyper_util::service::TowerToHyperService;
use tower_layer::Layer;

use crate::support::{
    Call, GateStore, TestServer, config,
    net::{Remote, Server, serve},
    test_server,
};

type Page = Response<Full<Bytes>>;

/// Signs in and commits. Then responds with the status in the path, or makes the store fail (`/lost`).
async fn handle(path: String, session: Session, store: GateStore) -> Result<Page, Infallible> {
    let session = session.load().await.unwrap();
    let user: Option<String> = session.get("user").unwrap();
    let mut response = Response::new(Full::from(user.unwrap_or_default()));
    if path == "/" {
        return Ok(response);
    }
    session.regenerate().unwrap();
    session.put("user", &path).unwrap();
    session.commit().await.unwrap();
    match path.as_str() {
        "/lost" => {
            store.fail(Call::Write);
            session.put("late", 1).unwrap();
        }
        status => *response.status_mut() = status[1..].parse().unwrap(),
    }
    Ok(response)
}

async fn wrapped(setup: &TestServer) -> Server {
    let store = setup.store.clone();
    let inner = service_fn(move |request: Request<Incoming>| {
        let session = request.session().unwrap().clone();
        handle(request.uri().path().to_owned(), session, store.clone())
    });
    serve(Arc::new(setup.sessions.wrap(inner))).await
}

async fn wrapped_fn(setup: &TestServer) -> Server {
    let store = setup.store.clone();
    let function = move |request: Request<Incoming>, session: Session| {
        handle(request.uri().path().to_owned(), session, store.clone())
    };
    serve(Arc::new(setup.sessions.wrap_fn(function))).await
}

#[derive(Clone)]
struct TowerService(GateStore);

impl tower_service::Service<Request<Incoming>> for TowerService {
    type Response = Page;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Page, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let session = request.session().unwrap().clone();
        let path = request.uri().path().to_owned();
        Box::pin(handle(path, session, self.0.clone()))
    }
}

async fn layered(setup: &TestServer) -> Server {
    let service = setup
        .sessions
        .layer()
        .layer(TowerService(setup.store.clone()));
    serve(TowerToHyperService::new(service)).await
}

#[tokio::test]
async fn a_visitor_stays_signed_in_when_the_request_that_signed_in_fails_later() {
    let setup = test_server(config());
    for server in [
        wrapped(&setup).await,
        wrapped_fn(&setup).await,
        layered(&setup).await,
    ] {
        for mut visitor in [Remote::http1(server.address), Remote::http2(server.address)] {
            for (path, status) in [("/200", 200), ("/500", 500), ("/503", 503), ("/lost", 503)] {
                assert_eq!(visitor.get(path).await.status, status, "{path}");
                assert_eq!(visitor.get("/").await.text(), path);
            }
        }
    }
}
