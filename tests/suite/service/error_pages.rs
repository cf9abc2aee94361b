//! Pages for error responses, with hyper, tower and axum.

use std::sync::{Arc, Mutex};

use axum::{Router, routing::any};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper_session::{
    Session, SessionError, Sessions,
    form::{Forms, ValidationErrors},
    service::{ErrorPages, Messages, RequestFailure, UnloadedSession},
};
use hyper_util::service::TowerToHyperService;
use serde_json::json;

use crate::support::{
    Browser, Call, Jar, TestServer, change, config,
    net::{Answer, Remote, Server, serve},
    test_server,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Failures = Arc<Mutex<Vec<(u16, String)>>>;

const HTML: (&str, &str) = ("accept", "text/html");
const JSON: (&str, &str) = ("accept", "application/json");

/// Renders a page or JSON, in English or German. Records the failures.
fn error_pages(failures: &Failures) -> ErrorPages {
    let failures = failures.clone();
    let german: Messages =
        toml::from_str(include_str!("../../../examples/site/messages/german.toml")).unwrap();
    ErrorPages::new(move |failure: &RequestFailure<'_>| {
        let (request, status) = (failure.request(), failure.status().as_u16());
        failures.lock().unwrap().push((status, failure.reason()));
        if request.uri().query() == Some("plain") {
            return None;
        }
        let language = request.preferred_language(&["en", "de"]).unwrap_or("en");
        let message = failure.message(&match language {
            "de" => german.clone(),
            _ => Messages::default(),
        });
        let page = Response::builder().header("content-language", language);
        if request.wants_json() {
            let body = json!({ "message": message, "method": request.method().as_str() });
            let page = page.header("content-type", "application/json");
            return page.body(body.to_string()).ok();
        }
        let page = page.header("set-cookie", "seen=1");
        page.body(format!("<p>{message}</p>")).ok()
    })
}

/// The routes that fail, and the jar of the visitor.
#[derive(Clone)]
struct Pages {
    sessions: Sessions,
    jar: Arc<Mutex<Jar>>,
}

impl Pages {
    async fn respond(
        self,
        path: &str,
        session: Session,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        match path {
            "/conflict" => {
                session.load().await?.increment("n")?;
                let jar = self.jar.lock().unwrap().clone();
                let put = |s: &Session| s.put("n", "text").unwrap();
                assert_eq!(change(self.sessions.clone(), jar, put).await, 200);
            }
            "/committed" => {
                session.load().await?.put("kept", true)?;
                session.regenerate()?;
                session.commit().await?;
                session.put("n", 1)?;
            }
            "/invalid" => {
                let errors = ValidationErrors::new().with_error("a", "b");
                return Ok(errors.into_response::<String>().map(Full::from));
            }
            "/teapot" => return Ok(Response::builder().status(418).body("own".into())?),
            "/own" => return Ok(Response::builder().status(503).body("own".into())?),
            _ => {
                session.load().await?.increment("visits")?;
            }
        }
        Ok(Response::builder()
            .header("content-type", "text/css")
            .header("content-length", "4")
            .body("page".into())?)
    }
}

struct Site {
    setup: TestServer,
    server: Server,
    jar: Arc<Mutex<Jar>>,
    failures: Failures,
}

/// Starts the routes as functions of hyper, or as handlers of axum.
async fn site(with_axum: bool) -> Site {
    let setup = test_server(config());
    let (jar, failures) = (Arc::default(), Failures::default());
    let (pages, forms) = (error_pages(&failures), Forms::new().csrf_protection());
    let routes = Pages {
        sessions: setup.sessions.clone(),
        jar: Arc::clone(&jar),
    };
    let server = if with_axum {
        let handler = async move |UnloadedSession(session): UnloadedSession,
                                  request: Request<_>| {
            let request: Request<axum::body::Body> = request;
            let path = request.uri().path().to_owned();
            routes.respond(&path, session).await.map_err(|error| {
                let error = error.downcast::<SessionError>().unwrap();
                axum::response::ErrorResponse::from(*error)
            })
        };
        let router = Router::new()
            .route("/{*path}", any(handler))
            .layer(forms.layer())
            .layer(setup.sessions.layer())
            .layer(pages.layer());
        serve(TowerToHyperService::new(router)).await
    } else {
        let handler = move |request: Request<_>, session| {
            let (routes, path) = (routes.clone(), request.uri().path().to_owned());
            async move { routes.respond(&path, session).await }
        };
        let service = setup.sessions.wrap_fn(forms.wrap_fn(handler));
        serve(pages.wrap(service)).await
    };
    Site {
        setup,
        server,
        jar,
        failures,
    }
}

impl Site {
    async fn get(&self, client: &mut Remote, path: &str, lines: &[(&str, &str)]) -> Answer {
        *self.jar.lock().unwrap() = client.jar.clone();
        client.send_with(Method::GET, path, lines, "").await
    }

    /// Returns the failures since the last call.
    fn failures(&self) -> Vec<(u16, String)> {
        std::mem::take(&mut self.failures.lock().unwrap())
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// Compares the page and the JSON of a failure, in both languages.
fn assert_pages(answers: [&Answer; 3], status: u16) {
    let key = format!("status.{status}");
    let english = Messages::default().text(&key).to_owned();
    let [page, german, json] = answers;
    for answer in answers {
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(
            header(answer, "content-length"),
            answer.body.len().to_string()
        );
    }
    assert_eq!(page.text(), format!("<p>{english}</p>"));
    assert_eq!(header(page, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(page, "content-language"), "en");
    assert_ne!(german.text(), page.text());
    assert_eq!(header(german, "content-language"), "de");
    assert_eq!(json.json()["message"], english);
    assert_eq!(header(json, "content-type"), "application/json");
}

#[tokio::test]
async fn each_failure_has_a_page_and_json_in_the_language_of_the_client() {
    for with_axum in [false, true] {
        let site = site(with_axum).await;
        let mut client = Remote::http1(site.server.address);
        let lines = [&[HTML][..], &[HTML, ("accept-language", "de")], &[JSON]];
        client.get("/").await;
        client.get("/visit").await;
        let mut answers = Vec::new();
        for lines in lines {
            site.setup.store.fail(Call::Read);
            answers.push(site.get(&mut client, "/visit", lines).await);
        }
        assert_pages(std::array::from_fn(|n| &answers[n]), 503);
        assert_eq!(header(&answers[0], "cache-control"), "no-store");
        assert_eq!(header(&answers[0], "set-cookie"), "seen=1");
        let failures = site.failures();
        assert_eq!(failures.len(), 3, "{failures:?}");
        assert_eq!(failures[0].0, 503);
        let mut answers = Vec::new();
        for lines in lines {
            let mut reset = Browser::new(&site.setup.sessions);
            reset.jar = client.jar.clone();
            reset.visit(async |s| s.put("n", 1)).await.unwrap();
            answers.push(site.get(&mut client, "/conflict", lines).await);
        }
        assert_pages(std::array::from_fn(|n| &answers[n]), 409);
        assert!(site.failures()[0].1.contains("change of \"n\" conflicts"));
        let mut answers = Vec::new();
        for lines in lines {
            let answer = client.send_with(Method::POST, "/visit", lines, "").await;
            answers.push(answer);
        }
        assert_pages(std::array::from_fn(|n| &answers[n]), 403);
        assert_eq!(answers[2].json()["method"], "POST");
        let reason = "CSRF check failed: the token is missing".to_owned();
        assert_eq!(site.failures()[0], (403, reason));
    }
}

#[tokio::test]
async fn a_failure_that_the_hook_leaves_alone_and_responses_of_handlers_pass_unchanged() {
    for with_axum in [false, true] {
        let site = site(with_axum).await;
        let mut client = Remote::http1(site.server.address);
        client.get("/visit").await;
        let answer = client.get("/visit").await;
        assert_eq!(
            (answer.text(), header(&answer, "content-type")),
            ("page", "text/css")
        );
        for (path, status, text) in [("/teapot", 418, "own"), ("/own", 503, "own")] {
            let answer = client.get(path).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (status, text));
        }
        let invalid = site.get(&mut client, "/invalid", &[JSON]).await;
        assert_eq!(
            (invalid.status.as_u16(), header(&invalid, "content-type")),
            (422, "application/json")
        );
        let back = site.get(&mut client, "/invalid", &[HTML]).await;
        assert_eq!(back.status, 303);
        assert_eq!(site.failures(), []);
        site.setup.store.fail(Call::Read);
        let answer = client.get("/visit?plain").await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (503, 0));
        assert_eq!(header(&answer, "content-type"), "");
        let answer = client.post("/visit?plain", "").await;
        let text = "The request was rejected: CSRF check failed: the token is missing.";
        assert_eq!((answer.status.as_u16(), answer.text()), (403, text));
        assert_eq!(site.failures().len(), 2);
    }
}

#[tokio::test]
async fn a_page_keeps_the_cookies_of_the_response() {
    let site = site(false).await;
    let mut client = Remote::http1(site.server.address);
    client.get("/visit").await;
    let before = client.jar.clone();
    site.setup.store.fail_nth(Call::Write, 2);
    let answer = site.get(&mut client, "/committed", &[HTML]).await;
    assert_eq!(answer.status, 503);
    let cookies = answer.headers.get_all("set-cookie").iter();
    let cookies: Vec<&str> = cookies.map(|line| line.to_str().unwrap()).collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(cookies[0].starts_with("session=") && cookies[1] == "seen=1");
    assert_ne!(format!("{before:?}"), format!("{:?}", client.jar));
    assert!(answer.text().starts_with("<p>"));
}

/// The compression layer is between the hook and the forms, so it has compressed the body that the page replaces.
#[tokio::test]
async fn a_page_keeps_no_header_of_the_body_that_it_replaces() {
    const REMOVED: [&str; 13] = [
        "accept-ranges",
        "content-digest",
        "content-disposition",
        "content-encoding",
        "content-location",
        "content-md5",
        "content-range",
        "digest",
        "etag",
        "last-modified",
        "repr-digest",
        "trailer",
        "transfer-encoding",
    ];
    let setup = test_server(config());
    let add_headers = |mut response: axum::response::Response| async move {
        for name in REMOVED {
            if name != "content-encoding" {
                let value = "x".parse().unwrap();
                response.headers_mut().insert(name, value);
            }
        }
        response.headers_mut().insert("x-own", "1".parse().unwrap());
        response
    };
    let router = Router::new()
        .route("/{*path}", any("page"))
        .layer(Forms::new().csrf_protection().layer())
        .layer(setup.sessions.layer())
        .layer(tower_http::compression::CompressionLayer::new())
        .layer(axum::middleware::map_response(add_headers))
        .layer(error_pages(&Failures::default()).layer());
    let server = serve(TowerToHyperService::new(router)).await;
    let mut client = Remote::http1(server.address);
    let lines = [HTML, ("accept-encoding", "gzip")];
    let post = Method::POST;
    let kept = client.send_with(post.clone(), "/a?plain", &lines, "").await;
    assert_eq!(header(&kept, "content-encoding"), "gzip");
    let page = client.send_with(post, "/a", &lines, "").await;
    assert_eq!(page.status, 403);
    let text = Messages::default().text("status.403").to_owned();
    assert_eq!(page.text(), format!("<p>{text}</p>"));
    let length = page.body.len().to_string();
    assert_eq!(header(&page, "content-length"), length);
    assert_eq!(header(&page, "content-language"), "en");
    assert_eq!(header(&page, "x-own"), "1");
    for name in REMOVED {
        assert_eq!(page.headers.get(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_wrong_setup_is_a_500_with_a_page() {
    let failures = Failures::default();
    let pages = error_pages(&failures);
    let [outer, inner] = [(); 2].map(|()| test_server(config()).sessions);
    let handler = hyper::service::service_fn(async |_: Request<hyper::body::Incoming>| {
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("page")))
    });
    let server = serve(pages.wrap(outer.wrap(inner.wrap(handler)))).await;
    let answer = Remote::http1(server.address).get("/").await;
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.text(),
        "<p>An error occurred. Please try again later.</p>"
    );
    let missing = async |_: Session| "page";
    let router = Router::new()
        .route("/", axum::routing::get(missing))
        .layer(pages.layer());
    let server = serve(TowerToHyperService::new(router)).await;
    let answer = Remote::http2(server.address).get("/").await;
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.text(),
        "<p>An error occurred. Please try again later.</p>"
    );
    let reasons = failures.lock().unwrap();
    assert!(reasons[0].1.contains("two session layers"), "{reasons:?}");
    assert!(reasons[1].1.contains("`Sessions::layer`"), "{reasons:?}");
}
