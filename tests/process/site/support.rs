//! The example site on a socket, and a client without a browser.

#[path = "../../../examples/site/app.rs"]
mod app;

use http::{
    HeaderName, Method, Request,
    header::{CONTENT_TYPE, LOCATION},
};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_session::{
    SessionConfig, Sessions,
    store::{MemoryStore, Store},
};

use crate::support::{
    KEY,
    net::{self, Answer, Remote, Server},
};

/// Starts the site without accounts, with the sessions of this store.
pub(crate) async fn site_with(config: SessionConfig, store: &(impl Store + Clone)) -> Server {
    let sessions = Sessions::new(config.app_key(KEY), store.clone()).unwrap();
    let app = app::App::new(sessions).unwrap();
    net::serve(service_fn(move |request| app.respond(request))).await
}

pub(crate) async fn site() -> Server {
    site_with(app::config(), &MemoryStore::new()).await
}

/// A client that reads pages and sends their forms.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) remote: Remote,
    address: std::net::SocketAddr,
}

impl Visitor {
    pub(crate) fn new(server: &Server) -> Self {
        Self::with_address(server.address)
    }

    pub(crate) fn with_address(address: std::net::SocketAddr) -> Self {
        Self {
            remote: Remote::http1(address),
            address,
        }
    }

    /// Returns the text of a page.
    pub(crate) async fn read(&mut self, path: &str) -> String {
        let answer = self.remote.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text().to_owned()
    }

    /// Opens a page and sends these fields to `path`, with the token of the page's form. Returns the
    /// path of the redirect.
    pub(crate) async fn send(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> String {
        let text = self.read(page).await;
        let answer = self.send_with_token(token(&text), path, fields).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
        answer.headers[LOCATION].to_str().unwrap().to_owned()
    }

    pub(crate) async fn send_with_token(
        &mut self,
        token: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        self.send_with_headers(&[], token, path, fields).await
    }

    /// Sends a form with these additional headers.
    pub(crate) async fn send_with_headers(
        &mut self,
        headers: &[(HeaderName, &str)],
        token: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("_csrf", token)
            .extend_pairs(fields)
            .finish();
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("http://{}{path}", self.address).parse().unwrap();
        let content_type = "application/x-www-form-urlencoded".parse().unwrap();
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        self.remote.jar.add_to(request.headers_mut());
        self.remote.send_request(request).await
    }

    pub(crate) async fn sign_up(&mut self, name: &str, email: &str) -> String {
        let fields = [
            ("name", name),
            ("email", email),
            ("password", "a long password"),
            ("password_again", "a long password"),
        ];
        self.send("/sign-up", "/sign-up", &fields).await
    }

    pub(crate) async fn sign_in(&mut self, email: &str, password: &str) -> String {
        let fields = [("email", email), ("password", password)];
        self.send("/sign-in", "/sign-in", &fields).await
    }
}

/// Returns the CSRF token of a page's first form.
pub(crate) fn token(page: &str) -> &str {
    let (_, rest) = page.split_once(r#"name="_csrf" value=""#).unwrap();
    rest.split_once('"').unwrap().0
}
