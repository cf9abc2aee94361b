//! A site with forms on a loopback port, and its visitors.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::LOCATION};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    Session,
    form::{FormBody, Forms, Input, InputLimits, ValidationErrors},
};
use serde_json::{Value, json};

use crate::support::{
    TestServer, config,
    net::{Answer, Remote, Server, serve},
    test_server,
};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Page = Response<Full<Bytes>>;

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Small limits that tests can reach.
pub(crate) const LIMITS: InputLimits = InputLimits::new()
    .bytes(2000)
    .fields(20)
    .depth(4)
    .files(2)
    .file_bytes(5000);

/// The limits of `/strict`.
pub(crate) const STRICT_LIMITS: InputLimits = InputLimits::new().depth(1).bytes(100);

/// A running site.
pub(crate) struct Site {
    pub(crate) setup: TestServer,
    pub(crate) server: Server,
}

impl Site {
    pub(crate) async fn new(forms: &Forms) -> Self {
        let setup = test_server(config());
        let service = setup.sessions.wrap_fn(forms.wrap_fn(pages));
        let server = serve(service).await;
        Self { setup, server }
    }

    /// Returns a visitor that uses HTTP/1.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor(Remote::http1(self.server.address))
    }

    pub(crate) fn http2_visitor(&self) -> Visitor {
        Visitor(Remote::http2(self.server.address))
    }

    /// Returns an absolute URL on this site.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }
}

pub(crate) async fn pages(
    request: Request<FormBody<Incoming>>,
    session: Session,
) -> Result<Page, BoxError> {
    let path = request.uri().path().to_owned();
    match (request.method(), &*path) {
        (&Method::POST, "/contact") => contact(request, session).await,
        (_, "/echo") => echo(request, &LIMITS).await,
        (_, "/strict") => echo(request, &STRICT_LIMITS).await,
        (_, "/flash") => {
            session.load().await?;
            page(session.flash_messages()?.as_json()?.to_owned())
        }
        (_, "/token") => page(session.csrf_token()?),
        (_, "/form") => {
            session.load().await?;
            let path = request.uri().path_and_query().map(ToString::to_string);
            session.set_previous_url(&path.unwrap_or_default())?;
            page("a form".to_owned())
        }
        (_, "/regenerate") => {
            session.load().await?;
            session.regenerate()?;
            page("another id".to_owned())
        }
        (_, "/destroy") => {
            session.load().await?;
            session.destroy()?;
            page("destroyed".to_owned())
        }
        (_, "/cached") => {
            session.load().await?;
            let response = Response::builder().header("cache-control", "public");
            Ok(response.body(Full::default())?)
        }
        (_, "/put") => {
            session.load().await?;
            session.put("put", true)?;
            page("put".to_owned())
        }
        _ => page("a page".to_owned()),
    }
}

/// Handles the guide's contact form.
async fn contact(request: Request<FormBody<Incoming>>, session: Session) -> Result<Page, BoxError> {
    session.load().await?;
    let input = Input::from_request(request, &LIMITS).await?;
    if input.text("title").is_none_or(str::is_empty) {
        let errors = ValidationErrors::new()
            .with_error("title", "Give it a title.")
            .with_error("items.0.name", "Name it.");
        return Err(errors.into());
    }
    let notice = json!({"type": "success", "message": "Thanks for contacting."});
    session.flash("notification", notice)?;
    see_other("/contact")
}

/// Responds with the input of the request; `?take` reads its files.
async fn echo(
    request: Request<FormBody<Incoming>>,
    limits: &InputLimits,
) -> Result<Page, BoxError> {
    let mut taken = Vec::new();
    let takes = request.uri().query() == Some("take");
    let mut reader = Input::reader(request, limits).await?;
    while takes && let Some(file) = reader.next_file().await? {
        while let Some(chunk) = file.chunk().await? {
            taken.extend_from_slice(&chunk);
        }
    }
    let input = reader.finish().await?;
    let files: Vec<Value> = input
        .files()
        .iter()
        .map(|file| json!([file.field, file.file_name, file.content_type, file.bytes]))
        .collect();
    let taken = String::from_utf8(taken)?;
    page(json!({"input": input.value(), "files": files, "taken": taken}).to_string())
}

pub(crate) fn page(text: String) -> Result<Page, BoxError> {
    Ok(Response::new(text.into()))
}

pub(crate) fn see_other(path: &str) -> Result<Page, BoxError> {
    let response = Response::builder().status(303).header(LOCATION, path);
    Ok(response.body(Full::default())?)
}

/// A client that stores cookies.
pub(crate) struct Visitor(pub(crate) Remote);

impl Visitor {
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.0.get(path).await
    }

    /// Sends a form with these additional headers.
    pub(crate) async fn post(&mut self, path: &str, lines: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("content-type", FORM)];
        all.extend(lines);
        self.send(Method::POST, path, &all, body.to_owned()).await
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        lines: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let uri = format!("http://{}{path}", self.0.address());
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Full::new(body.into())).unwrap();
        self.0.jar.add_to(request.headers_mut());
        self.0.send_request(request).await
    }

    /// Returns the current flash messages, which ends them.
    pub(crate) async fn flashed(&mut self) -> Value {
        self.get("/flash").await.json()
    }

    /// Stores a session. Returns a token of it and its cookie.
    pub(crate) async fn token_with_cookie(&mut self) -> (String, String) {
        self.get("/form").await;
        let token = self.token().await;
        let cookie = self.0.jar.get("session").unwrap().to_owned();
        (token, cookie)
    }

    pub(crate) async fn token(&mut self) -> String {
        self.get("/token").await.text().to_owned()
    }
}

/// Returns the path of a redirect.
pub(crate) fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    answer.headers[LOCATION].to_str().unwrap()
}
