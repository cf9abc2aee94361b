//! The states of sessions are pooled for each thread. A request sees nothing of the request that used its
//! state before: each observation is the same as on a thread without a pool.

use std::{task::Context, task::Waker, thread, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper_session::{
    Session, SessionConfig,
    session::{CookiePolicy, OnStoreFailure},
    store::{ReadOutcome, Store},
};
use serde_json::{Value, json};

use crate::support::{Browser, Call, TestServer, Visit, config, object, test_server};

/// A request that leaves as much as possible in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Former {
    Committed,
    Redirected,
    Regenerated,
    Rotated,
    Destroyed,
    ReadOnly,
    Invisible,
    Expired,
    Renewed,
    SeveralIds,
    LoadFailed,
    LoadFailedReadOnly,
    RenewalFailed,
    WriteFailed,
    WriteFailedAfterCommit,
    CommitAbandoned,
    CommitConflicted,
    Lost,
    HandlerFailed,
    /// The handler does not use the session, and the response sets the cookie of a new id.
    NewVisitor,
    FormInput,
}

impl Former {
    const ALL: [Self; 21] = [
        Self::Committed,
        Self::Redirected,
        Self::Regenerated,
        Self::Rotated,
        Self::Destroyed,
        Self::ReadOnly,
        Self::Invisible,
        Self::Expired,
        Self::Renewed,
        Self::SeveralIds,
        Self::LoadFailed,
        Self::LoadFailedReadOnly,
        Self::RenewalFailed,
        Self::WriteFailed,
        Self::WriteFailedAfterCommit,
        Self::CommitAbandoned,
        Self::CommitConflicted,
        Self::Lost,
        Self::HandlerFailed,
        Self::NewVisitor,
        Self::FormInput,
    ];

    fn config(self) -> SessionConfig {
        let config = config().cookie_policy(CookiePolicy::WhenUsed);
        match self {
            Self::LoadFailedReadOnly => config.on_store_failure(OnStoreFailure::ReadOnly),
            Self::Redirected => config.keep_flash_on_redirect(true),
            Self::NewVisitor => config.cookie_policy(CookiePolicy::Rolling),
            Self::Expired => config.absolute_timeout(Duration::from_secs(7200)),
            _ => config,
        }
    }

    /// Sends the request of another visitor.
    async fn send(self, server: &TestServer, visitor: &mut Browser) {
        let store = &server.store;
        match self {
            Self::Committed => visitor.visit(fill).await,
            Self::Redirected => {
                let mut response = Response::new(Empty::new());
                *response.status_mut() = StatusCode::FOUND;
                visitor.request_with(response, load_and_fill).await;
            }
            Self::Regenerated => visitor.visit(async |s| s.regenerate()).await.unwrap(),
            Self::Rotated => {
                let grace = Duration::from_secs(60);
                visitor.visit(async |s| s.rotate_id(grace)).await.unwrap();
            }
            Self::Destroyed => visitor.visit(async |s| s.destroy()).await.unwrap(),
            Self::ReadOnly => {
                let read = async |s: Session| object(s.load_read_only().await.unwrap());
                visitor.request(read).await;
            }
            Self::Invisible => {
                let mut request = Request::new(());
                *request.method_mut() = Method::HEAD;
                let response = Response::new(Empty::new());
                visitor.send(request, response, load_and_fill).await;
            }
            Self::Expired => {
                server.advance(Duration::from_secs(3700));
                visitor.pass().await;
                server.advance(Duration::from_secs(3700));
                visitor.request(load_and_fill).await;
            }
            Self::Renewed => {
                server.advance(Duration::from_secs(120));
                visitor.pass().await;
            }
            Self::SeveralIds => {
                let own = visitor.cookie().unwrap().to_owned();
                visitor.visit(async |s| s.regenerate()).await.unwrap();
                visitor.jar.plant("session", &own);
                visitor.request(async |s| s.store_key()).await;
            }
            Self::LoadFailed | Self::LoadFailedReadOnly => {
                store.fail(Call::Read);
                visitor.request(async |s| s.load().await.is_ok()).await;
            }
            Self::RenewalFailed => {
                server.advance(Duration::from_secs(120));
                store.fail(Call::Read);
                visitor.pass().await;
            }
            Self::WriteFailed => {
                store.fail(Call::Write);
                visitor.request(load_and_fill).await;
            }
            Self::WriteFailedAfterCommit => {
                store.fail_nth(Call::Write, 1);
                let handler = async |s: Session| {
                    fill(s.load().await.unwrap()).await;
                    s.commit().await.unwrap();
                    fill(&s).await;
                };
                visitor.request(handler).await;
            }
            Self::CommitAbandoned => {
                let _gate = store.hold(Call::Write);
                visitor.request(abandon_commit).await;
            }
            Self::CommitConflicted => self.conflict(server, visitor).await,
            Self::Lost => {
                let mut parallel = visitor.clone();
                let handler = async |s: Session| {
                    fill(s.load().await.unwrap()).await;
                    parallel.visit(async |s| s.destroy()).await.unwrap();
                };
                visitor.request(handler).await;
            }
            Self::HandlerFailed => fail_handler(server, visitor).await,
            Self::NewVisitor => drop(server.browser().pass().await),
            Self::FormInput => {
                let input = async |s: Session| s.set_form_input(json!({"secret": 1}));
                visitor.request(input).await;
            }
        }
    }

    /// Ends with a conflict of an explicit commit, whose later changes do not fit either.
    async fn conflict(self, _: &TestServer, visitor: &mut Browser) {
        let mut parallel = visitor.clone();
        let handler = async |s: Session| {
            fill(s.load().await.unwrap()).await;
            s.increment("other").unwrap();
            parallel
                .visit(async |s| s.put("other", "text"))
                .await
                .unwrap();
            assert!(s.commit().await.unwrap_err().is_conflict());
        };
        visitor.request(handler).await;
    }
}

async fn load_and_fill(session: Session) {
    fill(session.load().await.unwrap()).await;
}

/// Leaves something in each part of the state.
async fn fill(session: &Session) {
    session.put("secret", "of another visitor").unwrap();
    session.forget("n").unwrap();
    session.tag("secret").unwrap();
    session.untag("own").unwrap();
    session.flash("secret", 1).unwrap();
    session.reflash().unwrap();
    session.set_form_input(json!({"secret": 1}));
    session.flash_all().unwrap();
    session.set_intended_url("/secret").unwrap();
    session.csrf_token().unwrap();
}

/// Starts an explicit commit and drops it.
async fn abandon_commit(session: Session) {
    fill(session.load().await.unwrap()).await;
    let mut commit = Box::pin(session.commit());
    let polled = commit
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

/// Sends a request whose handler returns an error.
async fn fail_handler(server: &TestServer, visitor: &Browser) {
    use hyper::service::Service;
    let handler = |_: Request<()>, session: Session| async move {
        load_and_fill(session).await;
        Err::<Response<Empty<Bytes>>, _>("failed")
    };
    let mut request = Request::new(());
    visitor.jar.add_to(request.headers_mut());
    let failed = server.sessions.wrap_fn(handler).call(request).await;
    assert_eq!(failed.unwrap_err(), "failed");
}

/// The request that gets the state.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Its handler does not use the session.
    Untouched,
    Read,
    ReadOnly,
    Write,
    Commit,
    Destroy,
}

impl Next {
    const ALL: [Self; 6] = [
        Self::Untouched,
        Self::Read,
        Self::ReadOnly,
        Self::Write,
        Self::Commit,
        Self::Destroy,
    ];

    /// Sends the request, and returns all that it sees and does.
    async fn observe(self, server: &TestServer, browser: &mut Browser, tokens: &[String]) -> Value {
        server.events.clear();
        server.store.calls();
        let visit = browser
            .request(async |s| {
                let seen = match self {
                    Self::Untouched => return Value::Null,
                    Self::ReadOnly => seen(s.load_read_only().await.unwrap(), tokens),
                    _ => seen(s.load().await.unwrap(), tokens),
                };
                match self {
                    Self::Write => drop(s.increment("n").unwrap()),
                    Self::Commit => {
                        s.put("list", json!([1])).unwrap();
                        s.tag("more").unwrap();
                        s.commit().await.unwrap();
                        s.flash("next", 1).unwrap();
                    }
                    Self::Destroy => s.destroy().unwrap(),
                    _ => {}
                }
                seen
            })
            .await;
        let events = server.events.all();
        let events: Vec<_> = events.iter().map(|it| (it.name, &it.text)).collect();
        json!({
            "events": events,
            "calls": format!("{:?}", server.store.calls()),
            "response": response(&visit),
            "seen": visit.value,
            "stored": stored(server, browser).await,
        })
    }
}

/// Returns all that a handler can see of its session.
fn seen(session: &Session, tokens: &[String]) -> Value {
    let flash: Value = session.flash_messages().unwrap().all().unwrap();
    let accepts_token = tokens.iter().any(|token| session.verify_csrf_token(token));
    json!({
        "data": object(session),
        "flash": flash,
        "input": session.form_input().map(|input| (*input).clone()),
        "intended": session.intended_url().unwrap(),
        "fresh": session.is_fresh(),
        "modified": session.is_modified(),
        "regenerated": session.has_regenerated(),
        "read_only": session.is_read_only(),
        "accepts_token": accepts_token,
    })
}

/// Returns the status and the headers of a response, without the values of cookies.
fn response(visit: &Visit<Value>) -> Value {
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let text = value.to_str().unwrap();
        let attributes = text.split_once(';').map_or("", |(_, rest)| rest);
        match name.as_str() {
            "set-cookie" => format!("set-cookie: {attributes}"),
            name => format!("{name}: {text}"),
        }
    };
    let headers: Vec<String> = visit.headers.iter().map(header).collect();
    json!([visit.status.as_u16(), headers])
}

/// Returns what is stored of the browser's session, as its next request sees it.
async fn stored(server: &TestServer, browser: &mut Browser) -> Value {
    let read = async |s: Session| {
        s.load_read_only().await.unwrap();
        let messages: Value = s.flash_messages().unwrap().all().unwrap();
        (object(&s), messages, s.store_key().unwrap())
    };
    let (data, messages, key) = browser.request(read).await.value.unwrap();
    let tags = match server.memory.read(&key, None).await.unwrap() {
        ReadOutcome::Found(record) => record.tags.iter().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    json!([data, messages, tags])
}

/// Returns what the request `next` observes after `former`. On a thread without a pool if `is_first`.
async fn observed(former: Former, next: Next, is_stranger: bool, is_first: bool) -> Value {
    let server = test_server(former.config());
    let prepare = async |browser: &mut Browser| {
        let prepared = async |s: &Session| {
            s.put("n", 1).unwrap();
            s.tag("own").unwrap();
            s.flash("own", 1).unwrap();
            s.csrf_token().unwrap()
        };
        browser.visit(prepared).await
    };
    let (mut visitor, mut own) = (server.browser(), server.browser());
    let tokens = vec![prepare(&mut visitor).await];
    former.send(&server, &mut visitor).await;
    server.store.clear_rules();
    if !is_stranger {
        thread::scope(|scope| scope.spawn(|| block_on(prepare(&mut own))).join()).unwrap();
    }
    if !is_first {
        return next.observe(&server, &mut own, &tokens).await;
    }
    let observe = || block_on(next.observe(&server, &mut own, &tokens));
    thread::scope(|scope| scope.spawn(observe).join()).unwrap()
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

#[test]
fn a_pooled_state_carries_nothing_of_one_request_to_the_next() {
    for former in Former::ALL {
        for next in Next::ALL {
            for is_stranger in [true, false] {
                let [first, pooled] = [true, false]
                    .map(|is_first| block_on(observed(former, next, is_stranger, is_first)));
                assert_eq!(pooled, first, "{next:?} after {former:?}, {is_stranger}");
                let text = pooled.to_string();
                assert!(
                    !text.contains("secret"),
                    "{next:?} after {former:?}: {text}"
                );
            }
        }
    }
}
