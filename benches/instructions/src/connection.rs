//! Requests over a connection of hyper's server, in memory or over a socket.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_session::{
    Session, Sessions,
    session::CookiePolicy,
    store::{MemoryStore, Store},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

use crate::{
    operations::file_store,
    support::{self, COUNTER, Call, Job, Size, config, seed, with_cookie},
};

/// Number of strangers: more than a row has calls.
const STRANGERS: usize = 512;

/// The end of every response.
const END: &[u8] = b"\r\n\r\nok";

/// The connection between client and server. Both run on one thread.
#[derive(Clone, Copy)]
pub(crate) enum Transport {
    /// A pipe in memory, so that no call enters the kernel.
    Memory,
    /// TCP on the loopback interface.
    Socket,
}

/// The visitors who send the requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visitors {
    /// One visitor, whose cookie is in the cache.
    One,
    /// Each request is the first one of its visitor in this process.
    Strangers,
}

impl Transport {
    /// Returns a call that sends a request to a service without sessions.
    pub(crate) fn bare(self) -> Call {
        let runtime = runtime();
        let requests = requests(
            &sessions(MemoryStore::new(), CookiePolicy::WhenUsed),
            Visitors::One,
        );
        let service = service_fn(|request: Request<Incoming>| async move {
            drop(request);
            Ok::<_, Infallible>(response())
        });
        self.connect(runtime, requests, service)
    }

    /// Returns a call that sends a request to a service with the memory store.
    pub(crate) fn with_memory(self, visitors: Visitors, policy: CookiePolicy, job: Job) -> Call {
        self.with_store(MemoryStore::new(), visitors, policy, job)
    }

    /// Returns a call that sends a request to a service with a file store.
    pub(crate) fn with_file(self, job: Job) -> Call {
        let store = Arc::new(file_store());
        self.with_store(store, Visitors::One, CookiePolicy::WhenUsed, job)
    }

    fn with_store<S>(self, store: S, visitors: Visitors, policy: CookiePolicy, job: Job) -> Call
    where
        S: Store + Clone,
    {
        let runtime = runtime();
        let entered = runtime.enter();
        // Another service writes the sessions, so that their cookies are not in this one's cache.
        let requests = requests(&sessions(store.clone(), policy), visitors);
        let sessions = sessions(store, policy);
        let service = sessions.wrap_fn(move |request, session| handle(job, request, session));
        drop(entered);
        self.connect(runtime, requests, service)
    }

    /// Starts a server and returns a call that sends the requests in turn.
    fn connect<S>(self, runtime: Runtime, requests: Vec<Vec<u8>>, service: S) -> Call
    where
        S: HttpService<Incoming, Error: std::error::Error + Send + Sync, Future: Send>
            + Send
            + 'static,
        S::ResBody: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        match self {
            Self::Memory => {
                let (client, server) = duplex(64 * 1024);
                runtime.spawn(serve(server, service));
                calls(runtime, client, requests)
            }
            Self::Socket => {
                let (client, server) = runtime.block_on(async {
                    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                    let address = listener.local_addr().expect("the listener is bound");
                    let client = TcpStream::connect(address)
                        .await
                        .expect("the listener accepts");
                    client.set_nodelay(true).expect("the socket is open");
                    let (server, _) = listener.accept().await.expect("a client connects");
                    server.set_nodelay(true).expect("the socket is open");
                    (client, server)
                });
                runtime.spawn(serve(server, service));
                calls(runtime, client, requests)
            }
        }
    }
}

async fn serve<S, T>(transport: T, service: S)
where
    S: HttpService<Incoming, Error: std::error::Error + Send + Sync> + 'static,
    S::ResBody: Body<Error: std::error::Error + Send + Sync> + 'static,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let connection = http1::Builder::new().serve_connection(TokioIo::new(transport), service);
    connection
        .await
        .expect("the client keeps the connection open");
}

/// Returns a call that sends the next request and reads the response.
fn calls<T>(runtime: Runtime, mut client: T, requests: Vec<Vec<u8>>) -> Call
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut next = 0;
    let mut buffer = vec![0; 4096];
    Box::new(move || {
        let request = &requests[next];
        next = (next + 1) % requests.len();
        runtime.block_on(async {
            client.write_all(request).await.expect("the server reads");
            let mut len = 0;
            while !buffer[..len].ends_with(END) {
                len += client
                    .read(&mut buffer[len..])
                    .await
                    .expect("the server answers");
            }
            assert!(buffer.starts_with(b"HTTP/1.1 200"), "the request failed");
        });
    })
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a current-thread runtime can be built")
}

fn sessions(store: impl Store, policy: CookiePolicy) -> Sessions {
    Sessions::new(config(policy), store).expect("the configuration is valid")
}

async fn handle(
    job: Job,
    request: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, Infallible> {
    drop(request);
    if job != Job::Ignore {
        let session = session.load().await.expect("the store responds");
        if job == Job::Increment {
            session.increment(COUNTER).expect("the value is a number");
        }
        let count: Option<i64> = session.get(COUNTER).expect("the value is a number");
        assert!(
            count.is_some_and(|count| count >= 41),
            "the session was lost"
        );
    }
    Ok(response())
}

fn response() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

/// Returns one request of each visitor as HTTP/1.1 text, after their sessions were stored.
fn requests(sessions: &Sessions, visitors: Visitors) -> Vec<Vec<u8>> {
    let count = match visitors {
        Visitors::One => 1,
        Visitors::Strangers => STRANGERS,
    };
    (0..count)
        .map(|_| text(&with_cookie(&seed(sessions, Size::Small))))
        .collect()
}

fn text(request: &Request<support::Body>) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}
