//! A browser whose handler is a closure of the test, with its cookies.
//!
//! The library's `testing::TestClient` calls one service and shares its cookies among clones. Tests of parallel
//! requests need a handler for each request, and clones with cookies of their own.

use std::{cell::Cell, convert::Infallible, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::SET_COOKIE};
use http_body_util::Empty;
use hyper::service::Service;
use hyper_session::{Session, Sessions};

use super::Jar;

/// One browser. A clone is a parallel request of the same browser: it starts with the same cookies
/// and then has a cookie jar of its own.
#[derive(Clone)]
pub struct Browser {
    sessions: Sessions,
    pub jar: Jar,
}

/// The result of a request.
#[derive(Debug)]
pub struct Visit<T> {
    /// The value that the handler returned. `None` if the handler was not called or did not finish.
    pub value: Option<T>,
    pub status: StatusCode,
    pub headers: HeaderMap,
}

impl Browser {
    pub fn new(sessions: &Sessions) -> Self {
        Self {
            sessions: sessions.clone(),
            jar: Jar::default(),
        }
    }

    /// Moves the browser to another server of the service.
    pub fn with_sessions(self, sessions: &Sessions) -> Self {
        Self {
            sessions: sessions.clone(),
            ..self
        }
    }

    /// Sends one request, loads the session, and returns the value of the handler.
    pub async fn visit<T>(&mut self, handler: impl AsyncFnOnce(&Session) -> T) -> T {
        let visit = self
            .request(async |session| handler(session.load().await.unwrap()).await)
            .await;
        assert_eq!(visit.status, StatusCode::OK);
        visit.value.unwrap()
    }

    /// Sends one request. The handler loads the session itself.
    pub async fn request<T>(&mut self, handler: impl AsyncFnOnce(Session) -> T) -> Visit<T> {
        self.request_with(Response::new(Empty::new()), handler)
            .await
    }

    /// Sends one request that gets this response.
    pub async fn request_with<T>(
        &mut self,
        response: Response<Empty<Bytes>>,
        handler: impl AsyncFnOnce(Session) -> T,
    ) -> Visit<T> {
        self.send(Request::new(()), response, handler).await
    }

    /// Sends this request, with the browser's cookies, and gets this response.
    pub async fn send<T>(
        &mut self,
        mut request: Request<()>,
        response: Response<Empty<Bytes>>,
        handler: impl AsyncFnOnce(Session) -> T,
    ) -> Visit<T> {
        let parts = Rc::new(Cell::new(Some((handler, response))));
        let value = Rc::new(Cell::new(None));
        let result = value.clone();
        let service = self
            .sessions
            .wrap_fn(move |_: Request<()>, session: Session| {
                let (handler, response) = parts.take().expect("one request");
                let result = result.clone();
                async move {
                    result.set(Some(handler(session).await));
                    Ok::<_, Infallible>(response)
                }
            });
        self.jar.add_to(request.headers_mut());
        let (head, _) = service.call(request).await.unwrap().into_parts();
        self.jar.take_from(&head.headers);
        Visit {
            value: value.take(),
            status: head.status,
            headers: head.headers,
        }
    }

    /// Sends one request whose handler does not use the session.
    pub async fn pass(&mut self) -> Visit<()> {
        self.request(async |_| ()).await
    }

    pub fn cookie(&self) -> Option<&str> {
        self.jar.get("session")
    }
}

impl<T> Visit<T> {
    /// Returns the `Set-Cookie` lines.
    pub fn cookies(&self) -> Vec<&str> {
        let lines = self.headers.get_all(SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap()).collect()
    }

    /// Returns the one `Set-Cookie` line.
    pub fn cookie(&self) -> &str {
        let [cookie] = self.cookies()[..] else {
            panic!("not one cookie: {:?}", self.headers);
        };
        cookie
    }

    pub fn has_no_headers(&self) -> bool {
        self.headers.is_empty()
    }
}
