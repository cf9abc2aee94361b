//! A visitor who calls the service in this process, and keeps its cookies.

use std::{cell::Cell, convert::Infallible, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::SET_COOKIE};
use http_body_util::Empty;
use hyper::service::Service;
use hyper_session::{Session, Sessions};

use super::Jar;

/// One visitor. A clone is the same visitor's second request: it has the same cookies from then on
/// its own way.
#[derive(Clone)]
pub struct Browser {
    sessions: Sessions,
    pub jar: Jar,
}

/// What came of a request.
#[derive(Debug)]
pub struct Visit<T> {
    /// What the handler gave; `None` where it was never asked or did not end.
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

    /// The same visitor, who comes to another machine of the service.
    pub fn at(self, sessions: &Sessions) -> Self {
        Self {
            sessions: sessions.clone(),
            ..self
        }
    }

    /// One request with the session opened: gives what the handler gives.
    pub async fn visit<T>(&mut self, handler: impl AsyncFnOnce(&Session) -> T) -> T {
        let visit = self
            .request(async |session| handler(session.load().await.unwrap()).await)
            .await;
        assert_eq!(visit.status, StatusCode::OK);
        visit.value.unwrap()
    }

    /// One request; the handler has to open the session itself.
    pub async fn request<T>(&mut self, handler: impl AsyncFnOnce(Session) -> T) -> Visit<T> {
        self.request_with(Response::new(Empty::new()), handler)
            .await
    }

    /// One request that is answered with this response.
    pub async fn request_with<T>(
        &mut self,
        response: Response<Empty<Bytes>>,
        handler: impl AsyncFnOnce(Session) -> T,
    ) -> Visit<T> {
        let parts = Rc::new(Cell::new(Some((handler, response))));
        let value = Rc::new(Cell::new(None));
        let gives = value.clone();
        let service = self
            .sessions
            .wrap_fn(move |_: Request<()>, session: Session| {
                let (handler, response) = parts.take().expect("one request");
                let gives = gives.clone();
                async move {
                    gives.set(Some(handler(session).await));
                    Ok::<_, Infallible>(response)
                }
            });
        let mut request = Request::new(());
        self.jar.add_to(request.headers_mut());
        let (head, _) = service.call(request).await.unwrap().into_parts();
        self.jar.take_from(&head.headers);
        Visit {
            value: value.take(),
            status: head.status,
            headers: head.headers,
        }
    }

    /// A request whose handler leaves the session alone.
    pub async fn pass(&mut self) -> Visit<()> {
        self.request(async |_| ()).await
    }

    pub fn cookie(&self) -> Option<&str> {
        self.jar.get("session")
    }
}

impl<T> Visit<T> {
    /// The `Set-Cookie` lines.
    pub fn cookies(&self) -> Vec<&str> {
        let lines = self.headers.get_all(SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap()).collect()
    }

    /// The one `Set-Cookie` line.
    pub fn cookie(&self) -> &str {
        let [cookie] = self.cookies()[..] else {
            panic!("not one cookie: {:?}", self.headers);
        };
        cookie
    }

    pub fn says_nothing(&self) -> bool {
        self.headers.is_empty()
    }
}
