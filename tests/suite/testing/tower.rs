//! The client of the testing kit calls tower services.

use axum::{Router, routing::get};
use hyper_session::{
    Session, SessionError,
    testing::{StoreCall, TestClient, TestSessions},
};

async fn visit(session: Session) -> Result<String, SessionError> {
    Ok(session.increment("visits")?.to_string())
}

#[tokio::test]
async fn a_router_of_axum_is_called_with_its_layers() {
    let test = TestSessions::new();
    let app = Router::new()
        .route("/visit", get(visit))
        .layer(test.sessions().layer());
    let client = TestClient::tower(test.sessions(), app);
    client
        .with_session(|session| session.put("visits", 4))
        .await;
    let page = client.get("/visit").send().await;
    assert_eq!(page.text(), "5");
    page.assert_status(200).assert_session("visits", 5);
    test.store().fail(StoreCall::Read);
    client.get("/visit").send().await.assert_status(503);
    client.get("/nowhere").send().await.assert_status(404);
}

/// A tower service is called after it is ready only.
#[tokio::test]
async fn a_service_is_ready_before_it_is_called() {
    use std::{
        convert::Infallible,
        future::{Ready, ready},
        task::{Context, Poll},
    };

    use http::{Request, Response};
    use hyper::body::Incoming;

    #[derive(Clone, Default)]
    struct Reserved(bool);

    impl tower_service::Service<Request<Incoming>> for Reserved {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = Ready<Result<Response<String>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Incoming>) -> Self::Future {
            ready(Ok(Response::new(std::mem::take(&mut self.0).to_string())))
        }
    }

    let test = TestSessions::new();
    let client = TestClient::tower(test.sessions(), Reserved::default());
    assert_eq!(client.get("/").send().await.text(), "true");
}
