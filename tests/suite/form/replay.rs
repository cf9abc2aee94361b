//! Bodies that `Forms` reads to find the CSRF token, and that their handler reads again.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::{Service, service_fn};
use hyper_session::{
    Session, SessionExt,
    form::{FormBody, Forms, Input},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    form::support::{BoxError, FORM, LIMITS, Page},
    support::{Jar, TestServer, config, test_server},
};

const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=b";

/// Returns a multipart form with the token before a file.
fn upload(token: &str, file: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"_csrf\"\r\n\r\n{token}\r\n\
         --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\n{file}\r\n--b--\r\n"
    )
}

/// A body of frames that a test sends while the request runs. It ends when the sender is dropped.
struct Channel(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Body for Channel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// Returns a body of frames of `size` bytes, and these trailers.
fn frames(text: &str, size: usize, trailers: Option<HeaderMap>) -> Channel {
    let (sender, receiver) = mpsc::unbounded_channel();
    for chunk in text.as_bytes().chunks(size) {
        let frame = Frame::data(Bytes::copy_from_slice(chunk));
        sender.send(frame).unwrap();
    }
    if let Some(trailers) = trailers {
        sender.send(Frame::trailers(trailers)).unwrap();
    }
    Channel(receiver)
}

/// A visitor with a token.
struct Client {
    setup: TestServer,
    forms: Forms,
    jar: Jar,
    token: String,
}

impl Client {
    async fn new(forms: Forms) -> Self {
        let setup = test_server(config());
        let token = |_: Request<Empty<Bytes>>, session: Session| async move {
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(session.csrf_token()?)))
        };
        let response = setup
            .sessions
            .wrap_fn(token)
            .call(Request::new(Empty::new()));
        let response = response.await.unwrap();
        let mut jar = Jar::default();
        jar.take_from(response.headers());
        let token = response.into_body().collect().await.unwrap().to_bytes();
        Self {
            setup,
            forms,
            jar,
            token: String::from_utf8(token.to_vec()).unwrap(),
        }
    }

    async fn protected() -> Self {
        Self::new(Forms::new().csrf_protection().limits(LIMITS)).await
    }

    /// Sends a form to a handler that gets the request.
    async fn post<B>(
        &self,
        content_type: &str,
        body: B,
        handler: impl AsyncFn(Request<FormBody<B>>) -> Result<Page, BoxError>,
    ) -> Response<Bytes>
    where
        B: Body + Send + 'static,
        B::Data: From<Bytes>,
        B::Error: Into<BoxError>,
    {
        let mut request = Request::post("/").header(CONTENT_TYPE, content_type);
        self.jar.add_to(request.headers_mut().unwrap());
        let request = request.body(body).unwrap();
        let handler = &handler;
        let inner = self
            .forms
            .wrap_fn(|request, _: Session| async move { handler(request).await });
        let response = self.setup.sessions.wrap_fn(inner).call(request);
        let (head, body) = response.await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response::from_parts(head, body)
    }
}

/// Responds with the whole body as the handler receives it.
async fn read_body<B>(request: Request<FormBody<B>>) -> Result<Page, BoxError>
where
    B: Body,
    B::Data: From<Bytes>,
    B::Error: Into<BoxError>,
{
    let collected = request.into_body().collect().await.map_err(Into::into)?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let mut response = Response::new(Full::new(collected.to_bytes()));
    response.headers_mut().extend(trailers);
    Ok(response)
}

#[tokio::test]
async fn a_handler_reads_the_bytes_that_the_client_sent() {
    let client = Client::protected().await;
    let token = &client.token;
    for (content_type, text) in [
        (FORM, format!("a=1&_csrf={token}&b=%20+2")),
        (JSON, format!("{{\"a\" : 1, \"_csrf\":\"{token}\"}}")),
        (MULTIPART, upload(token, "a file")),
        (MULTIPART, upload(token, &"y".repeat(200_000))),
    ] {
        let whole = Full::<Bytes>::from(text.clone());
        let answer = client.post(content_type, whole, read_body).await;
        assert_eq!(answer.status(), StatusCode::OK, "{content_type}");
        assert!(*answer.body() == text, "{content_type}");
        for size in [1, 7, 4096] {
            let trailers = HeaderMap::from_iter([(
                http::header::HeaderName::from_static("x-sum"),
                "12".parse().unwrap(),
            )]);
            let body = frames(&text, size, Some(trailers));
            let answer = client.post(content_type, body, read_body).await;
            assert!(*answer.body() == text, "{content_type} in {size}");
            assert_eq!(answer.headers()["x-sum"], "12", "{content_type}");
        }
    }
}

#[tokio::test]
async fn the_replayed_body_states_its_size_and_its_end() {
    let client = Client::protected().await;
    for text in [
        upload(&client.token, &"y".repeat(100_000)),
        upload(&client.token, "a file"),
    ] {
        let len = text.len() as u64;
        let check = async |request: Request<FormBody<Full<Bytes>>>| {
            let mut body = request.into_body();
            assert_eq!(body.size_hint().exact(), Some(len));
            assert!(!body.is_end_stream());
            let first = body.frame().await.unwrap()?.into_data().unwrap();
            let rest = len - first.len() as u64;
            assert_eq!(body.size_hint().exact(), Some(rest));
            assert_eq!(body.is_end_stream(), rest == 0);
            while body.frame().await.transpose()?.is_some() {}
            assert!(body.is_end_stream() && body.frame().await.is_none());
            Ok(Page::default())
        };
        let answer = client.post(MULTIPART, Full::from(text), check).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn the_first_reader_gets_the_body() {
    let client = Client::protected().await;
    let form = format!("a=1&_csrf={}", client.token);
    let input_first = async |request: Request<FormBody<Full<Bytes>>>| {
        let (head, body) = request.into_parts();
        let input = Input::from_parts(&head, Empty::<Bytes>::new(), &LIMITS).await?;
        assert_eq!(*input.value(), json!({"a": "1"}));
        assert!(body.is_end_stream() && body.size_hint().exact() == Some(0));
        assert!(body.collect().await?.to_bytes().is_empty());
        Ok(Page::default())
    };
    let body = Full::from(form.clone());
    let answer = client.post(FORM, body, input_first).await;
    assert_eq!(answer.status(), StatusCode::OK);

    let body_first = async |request: Request<FormBody<Full<Bytes>>>| {
        let (head, body) = request.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let input = Input::from_parts(&head, Full::new(bytes), &LIMITS).await?;
        assert_eq!(*input.value(), json!({"a": "1"}));
        Ok(Page::default())
    };
    let answer = client.post(FORM, Full::from(form), body_first).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_handler_of_an_upload_runs_before_the_upload_ends() {
    let client = Client::protected().await;
    let (sender, receiver) = mpsc::unbounded_channel();
    let send = |text: String| sender.send(Frame::data(text.into())).unwrap();
    let (head, tail) = (upload(&client.token, ""), "\r\n--b--\r\n");
    // The parser finds the start of the file only in a full chunk.
    send(head.replace(tail, &"y".repeat(20_000)));
    let sender = Mutex::new(Some(sender));
    let read = async |request: Request<FormBody<Channel>>| {
        let sender = sender.lock().unwrap().take().unwrap();
        for chunk in ["z", tail] {
            sender.send(Frame::data(chunk.into())).unwrap();
        }
        drop(sender);
        read_body(request).await
    };
    let answer = client.post(MULTIPART, Channel(receiver), read).await;
    let sent = upload(&client.token, &format!("{}z", "y".repeat(20_000)));
    assert!(*answer.body() == sent);
}

#[tokio::test]
async fn a_body_over_the_limits_is_refused_before_the_handler() {
    let client = Client::protected().await;
    let (token, long) = (&client.token, "x".repeat(3000));
    for (content_type, text) in [
        (FORM, format!("_csrf={token}&a={long}")),
        (JSON, format!("{{\"_csrf\":\"{token}\",\"a\":\"{long}\"}}")),
        (
            JSON,
            format!("{{\"_csrf\":\"{token}\",\"a\":[{}0]}}", "0,".repeat(20)),
        ),
        (
            MULTIPART,
            upload(token, "").replace(
                token,
                &format!(
                    "{token}\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{long}"
                ),
            ),
        ),
    ] {
        let handler = async |_: Request<FormBody<Channel>>| panic!("the handler runs");
        let body = frames(&text, 100, None);
        let answer = client.post(content_type, body, handler).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{text}");
    }
}

#[tokio::test]
async fn json_may_contain_its_token() {
    let client = Client::protected().await;
    let token = &client.token;
    let input = async |request: Request<FormBody<Full<Bytes>>>| {
        let input = Input::from_request(request, &LIMITS).await?;
        Ok(Page::new(input.value().to_string().into()))
    };
    let send = async |text: String| client.post(JSON, Full::from(text), input).await;
    let answer = send(format!("{{\"_csrf\":\"{token}\",\"a\":[1]}}")).await;
    assert_eq!(*answer.body(), "{\"a\":[1]}");
    for wrong in [
        "{\"a\":1}".to_owned(),
        "{\"_csrf\":\"\"}".to_owned(),
        "{\"_csrf\":[1]}".to_owned(),
        format!("{{\"_csrf\":\"{}\"}}", &token[1..]),
        format!("{{\"a\":{{\"_csrf\":\"{token}\"}}}}"),
    ] {
        let answer = send(wrong).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
    for broken in [format!("[\"{token}\"]"), "{".to_owned(), String::new()] {
        let answer = send(broken).await;
        assert!(answer.status().is_client_error());
    }
}

#[tokio::test]
async fn the_handler_of_json_keeps_its_own_limits() {
    let forms = Forms::new().csrf_protection();
    let client = Client::new(forms).await;
    let text = format!(
        "{{\"_csrf\":\"{}\",\"a\":\"{}\"}}",
        client.token,
        "x".repeat(3000)
    );
    let input = async |request: Request<FormBody<Full<Bytes>>>| {
        Input::from_request(request, &LIMITS).await?;
        Ok(Page::default())
    };
    let answer = client.post(JSON, Full::from(text), input).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_wrapped_hyper_service_reads_the_body_too() {
    let client = Client::protected().await;
    let seen = Arc::new(Mutex::new(Bytes::new()));
    let copy = seen.clone();
    let inner = service_fn(move |request: Request<FormBody<Full<Bytes>>>| {
        let copy = copy.clone();
        async move {
            assert!(request.session().is_ok());
            *copy.lock().unwrap() = request.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>(Page::default())
        }
    });
    let form = format!("a=1&_csrf={}", client.token);
    let mut request = Request::post("/").header(CONTENT_TYPE, FORM);
    client.jar.add_to(request.headers_mut().unwrap());
    let request = request.body(Full::from(form.clone())).unwrap();
    let service = client.setup.sessions.wrap(client.forms.wrap(inner));
    let answer = service.call(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(*seen.lock().unwrap(), form);
}

#[tokio::test]
async fn a_token_in_a_header_leaves_the_body_unread() {
    let client = Client::new(Forms::new().csrf_protection()).await;
    let (sender, receiver) = mpsc::unbounded_channel();
    let handler = |request: Request<FormBody<Channel>>, _: Session| {
        // The handler runs although the client has sent nothing.
        sender.send(Frame::data("late".into())).unwrap();
        async move {
            let mut body = request.into_body().into_inner().expect("the client's body");
            let frame = body.frame().await.unwrap()?;
            Ok::<_, BoxError>(Page::new(Full::new(frame.into_data().unwrap())))
        }
    };
    let mut request = Request::post("/").header(CONTENT_TYPE, FORM);
    client.jar.add_to(request.headers_mut().unwrap());
    let request = request.header("x-csrf-token", &client.token);
    let request = request.body(Channel(receiver)).unwrap();
    let service = client.setup.sessions.wrap_fn(client.forms.wrap_fn(handler));
    let answer = service.call(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "late");
}
