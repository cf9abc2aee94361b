//! The hyper service: over sockets, with extensions or a session argument, and with broken connections.

use std::{
    convert::Infallible,
    future::Ready,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_session::{
    Session, SessionError, SessionExt, Sessions,
    service::SessionFuture,
    session::{Commit, Load},
    store::{MemoryStore, Store},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use crate::support::{
    Browser, Call, config,
    net::{Remote, serve},
    object, test_server,
};

fn sessions() -> Sessions {
    Sessions::new(config(), MemoryStore::new()).unwrap()
}

fn text(text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::new(text.into()))
}

#[tokio::test]
async fn a_hyper_service_finds_its_session_in_the_extensions_over_http_1_and_2() {
    let inner = service_fn(async |request: Request<Incoming>| {
        let session = request.session().unwrap().load().await.unwrap().clone();
        let n = session.increment("n").unwrap();
        Ok::<_, Infallible>(text(n.to_string()))
    });
    let server = serve(Arc::new(sessions().wrap(inner))).await;
    for mut client in [Remote::http1(server.address), Remote::http2(server.address)] {
        for n in 1..=3 {
            assert_eq!(client.get("/").await.text(), n.to_string());
        }
    }
}

#[tokio::test]
async fn a_cookie_that_http_2_splits_into_crumbs_is_found() {
    let service = sessions().wrap_fn(async |_: Request<Incoming>, session: Session| {
        session.load().await.unwrap();
        Ok::<_, Infallible>(text(session.increment("n").unwrap().to_string()))
    });
    let server = serve(Arc::new(service)).await;
    for mut client in [Remote::http1(server.address), Remote::http2(server.address)] {
        client.get("/").await;
        let mut request = Request::new(Full::default());
        let session_cookie = format!("session={}", client.jar.get("session").unwrap());
        for crumb in ["a=1", "sessions=2", &session_cookie, "z=3"] {
            request
                .headers_mut()
                .append("cookie", crumb.parse().unwrap());
        }
        assert_eq!(client.send_request(request).await.text(), "2");
    }
}

#[tokio::test]
async fn a_request_that_did_not_pass_the_service_says_what_is_missing() {
    let error = Request::new(()).session().unwrap_err();
    assert!(error.to_string().contains("Sessions::wrap"));
}

#[tokio::test]
async fn the_typed_way_leaves_the_extensions_alone() {
    let service = sessions().wrap_fn(async |request: Request<()>, session: Session| {
        assert!(request.extensions().is_empty());
        session.load().await.unwrap();
        Ok::<_, Infallible>(text(""))
    });
    assert!(
        service
            .call(Request::new(()))
            .await
            .unwrap()
            .status()
            .is_success()
    );
}

#[tokio::test]
async fn a_handlers_error_passes_through_and_nothing_is_stored() {
    #[derive(Debug, PartialEq)]
    struct Broken;
    let setup = test_server(config());
    let service = setup
        .sessions
        .wrap_fn(async |_: Request<()>, session: Session| {
            session.load().await.unwrap();
            session.put("n", 1).unwrap();
            Err::<Response<Empty<Bytes>>, _>(Broken)
        });
    assert_eq!(service.call(Request::new(())).await.unwrap_err(), Broken);
    assert_eq!(setup.store.calls(), []);
}

/// A body that counts its polls.
struct Streaming(Vec<&'static str>, Arc<Mutex<usize>>);

impl Body for Streaming {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        *self.1.lock().unwrap() += 1;
        Poll::Ready((!self.0.is_empty()).then(|| Ok(Frame::data(self.0.remove(0).into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|part| part.len() as u64).sum())
    }
}

#[tokio::test]
async fn a_streaming_body_is_passed_on_untouched_and_unpolled() {
    let polls = Arc::new(Mutex::new(0));
    let counts = polls.clone();
    let service = sessions().wrap_fn(move |_: Request<()>, session: Session| {
        let body = Streaming(vec!["a", "bc", "def"], counts.clone());
        async move {
            session.load().await.unwrap().put("n", 1).unwrap();
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    let response = service.call(Request::new(())).await.unwrap();
    assert_eq!(*polls.lock().unwrap(), 0);
    assert_eq!(response.body().size_hint().exact(), Some(6));
    assert!(!response.body().is_end_stream());
    let body = response
        .into_body()
        .into_inner()
        .expect("the handler's own body");
    assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdef");
}

#[tokio::test]
async fn a_connection_that_drops_while_the_handler_runs_stores_nothing() {
    let (running, never) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let store = MemoryStore::new();
    let sessions = Sessions::new(config(), store.clone()).unwrap();
    let dropped = Arc::new(Notify::new());
    let (is_running, waits, on_drop) = (running.clone(), never.clone(), dropped.clone());
    let service = sessions.wrap_fn(move |_: Request<Incoming>, session: Session| {
        let (is_running, waits) = (is_running.clone(), waits.clone());
        let guard = OnDrop(on_drop.clone());
        async move {
            let _guard = guard;
            session.load().await.unwrap().put("n", 1).unwrap();
            is_running.notify_one();
            waits.notified().await;
            Ok::<_, Infallible>(text(""))
        }
    });
    let server = serve(Arc::new(service)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    running.notified().await;
    drop(stream);
    dropped.notified().await;
    assert_eq!(store.count().await.unwrap(), Some(0));
}

struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn the_answer_is_sent_after_the_changes_are_stored() {
    let setup = test_server(config());
    let gate = setup.store.hold(Call::Write);
    let service = setup
        .sessions
        .wrap_fn(async |_: Request<Incoming>, session: Session| {
            session.load().await.unwrap().put("n", 1).unwrap();
            Ok::<_, Infallible>(text("done"))
        });
    let server = serve(Arc::new(service)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    gate.reached().await;
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(30), stream.read(&mut byte)).await;
    assert!(early.is_err(), "no byte before the write is acknowledged");
    gate.open();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("done"));
}

#[tokio::test]
async fn explicit_commits_store_at_once_and_more_writes_may_follow() {
    let setup = test_server(config());
    let mut browser = setup.browser();
    browser
        .visit(async |s| {
            s.put("a", 1).unwrap();
            s.commit().await.unwrap();
            let stored = setup
                .sessions
                .collection()
                .get(&s.store_key().unwrap())
                .await;
            assert!(stored.unwrap().unwrap().has("a").unwrap());
            s.put("b", 2).unwrap();
            s.commit().await.unwrap();
            s.commit().await.unwrap();
            s.put("c", 3).unwrap();
        })
        .await;
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(all, json!({"a": 1, "b": 2, "c": 3}));
}

#[tokio::test]
async fn a_handle_is_used_by_several_tasks_of_one_request() {
    let mut browser = Browser::new(&sessions());
    browser
        .visit(async |s| {
            let tasks = (0..50).map(|at| {
                let session = s.clone();
                tokio::spawn(async move {
                    session.load().await.unwrap().increment("n").unwrap();
                    session.put(format!("k{at}").as_str(), at).unwrap();
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
        })
        .await;
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(
        (&all["n"], all.as_object().unwrap().len()),
        (&json!(50), 51)
    );
}

#[tokio::test]
async fn two_tasks_that_load_at_once_open_one_session() {
    let setup = test_server(config());
    let mut browser = setup.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let gate = setup.store.hold(Call::Read);
    browser
        .request(async |s| {
            let other = s.clone();
            tokio::join!(
                async { s.load().await.unwrap().increment("n").unwrap() },
                async {
                    gate.reached().await;
                    other.load().await.unwrap().increment("n").unwrap();
                    gate.open();
                }
            );
        })
        .await;
    assert_eq!(browser.visit(async |s| s.get("n")).await.unwrap(), Some(3));
}

#[tokio::test]
async fn a_handle_kept_after_the_response_reads_and_refuses_to_write() {
    let mut browser = Browser::new(&sessions());
    let kept = browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            s.clone()
        })
        .await;
    assert_eq!(kept.get("n").unwrap(), Some(1));
    let refused = |error| matches!(error, SessionError::Committed);
    assert!(kept.put("n", 2).is_err_and(refused));
    assert!(kept.increment("n").is_err_and(refused));
    assert!(kept.clear().is_err_and(refused));
    assert!(kept.destroy().is_err_and(refused));
    assert!(kept.regenerate().is_err_and(refused));
    assert!(kept.flash("n", 1).is_err_and(refused));
    assert_eq!(browser.visit(async |s| s.get("n")).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_handle_kept_untouched_cannot_be_opened_after_the_response() {
    let setup = test_server(config());
    let mut browser = setup.browser();
    let kept = browser.request(async |s| s).await.value.unwrap();
    assert!(matches!(
        kept.load().await.map(drop),
        Err(SessionError::Committed)
    ));
    assert_eq!(setup.store.calls(), []);
}

#[tokio::test]
async fn nothing_of_one_visitor_is_in_the_next_ones_session() {
    // A thread reuses the state of finished requests.
    let sessions = sessions();
    for round in 0..100 {
        let mut browser = Browser::new(&sessions);
        browser
            .visit(async |s| {
                assert!(s.is_fresh() && s.is_empty().unwrap() && !s.is_modified());
                assert!(s.flash_messages().unwrap().is_empty() && !s.has_regenerated());
                s.put("round", round).unwrap();
                s.flash("m", round).unwrap();
                s.tag("ada").unwrap();
                match round % 4 {
                    0 => s.regenerate().unwrap(),
                    1 => s.destroy().unwrap(),
                    2 => s.commit().await.unwrap(),
                    _ => {}
                }
            })
            .await;
    }
}

/// A handler's future contains those of its loads and commits, and a request's future contains that of its handler. When
/// the handler has ended, the last commit and the response take its place: only a small handler shows their size.
///
/// Each bound is the size today. The largest part of a load is the record of a store that answers at once, with the key and the
/// times of the read. The largest part of a commit is such an answer with the record of a conflict, and the key. The
/// alternative is an allocation for each of them.
#[test]
fn the_futures_of_a_request_are_small() {
    type HandlerResult = Result<Response<Full<Bytes>>, Infallible>;
    const HANDLER: usize = 800;
    const SPAN: usize = if cfg!(feature = "tracing") { 40 } else { 0 };
    const TIMER: usize = if cfg!(feature = "metrics") { 24 } else { 0 };

    let (load, commit) = (size_of::<Load<'_>>(), size_of::<Commit>());
    assert!(load <= 168 + SPAN + TIMER, "{load}");
    assert!(commit <= 256 + SPAN + TIMER, "{commit}");

    // The handle with its number, and the stage.
    let large = size_of::<SessionFuture<[u64; HANDLER / 8], Full<Bytes>>>();
    assert!(large <= HANDLER + 32, "{large}");
    let small = size_of::<SessionFuture<Ready<HandlerResult>, Full<Bytes>>>();
    let response = size_of::<Response<Full<Bytes>>>();
    assert!(small <= commit + response, "{small}");
}
