//! Requests over a connection of hyper's server, in memory or over a socket.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    pin::Pin,
    sync::Arc,
    task::Poll,
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_session::{
    Session, SessionConfig, Sessions,
    document::Number,
    session::CookiePolicy,
    store::{MemoryStore, Store},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use crate::{
    operations::file_store,
    support::{self, COUNTER, Call, Job, Size, config, seed, with_cookie},
};

/// Number of strangers: more than a row has calls.
const STRANGERS: usize = 600;

/// The end of every response.
const END: &[u8] = b"\r\n\r\nok";

/// The connection between client and server. Both run on one thread.
#[derive(Clone, Copy)]
pub(crate) enum Transport {
    /// A pipe in memory, so that no call enters the kernel.
    Memory,
    /// TCP on the loopback interface, in a process with a second thread, as most have. The C library then checks
    /// for the cancellation of a thread in each system call.
    Socket,
}

/// The visitors who send the requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visitors {
    /// One visitor, whose cookie is in the cache.
    One,
    /// One visitor, whose browser sends as many headers as browsers do.
    Browser,
    /// Each request is the first one of its visitor in this process.
    Strangers,
}

/// The headers of a browser, beside those of all rows.
const BROWSER: [(&str, &str); 11] = [
    (
        "sec-ch-ua",
        r#""Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140""#,
    ),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", r#""Linux""#),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("referer", "https://www.example.org/articles"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
];

impl Transport {
    /// Returns a call that sends a request to a service without sessions.
    pub(crate) fn bare(self, visitors: Visitors) -> Call {
        let runtime = runtime();
        let requests = requests(
            &sessions(MemoryStore::new(), config(CookiePolicy::WhenUsed)),
            visitors,
        );
        let service = service_fn(|request: Request<Incoming>| async move {
            drop(request);
            Ok::<_, Infallible>(response())
        });
        self.connect(runtime, requests, service)
    }

    /// Returns a call that sends a request to a service with the memory store.
    pub(crate) fn with_memory(self, visitors: Visitors, policy: CookiePolicy, job: Job) -> Call {
        self.with_store(MemoryStore::new(), visitors, config(policy), job)
    }

    /// Returns a call that sends a request to a service with the memory store. The handler does not use the session,
    /// but its renewal is due.
    pub(crate) fn with_renewal(self) -> Call {
        let config = config(CookiePolicy::Rolling).touch_interval(Duration::ZERO);
        self.with_store(MemoryStore::new(), Visitors::One, config, Job::Ignore)
    }

    /// Returns a call that sends a request to a service with a file store.
    pub(crate) fn with_file(self, job: Job) -> Call {
        let store = Arc::new(file_store());
        self.with_store(store, Visitors::One, config(CookiePolicy::WhenUsed), job)
    }

    fn with_store<S>(self, store: S, visitors: Visitors, config: SessionConfig, job: Job) -> Call
    where
        S: Store + Clone,
    {
        let runtime = runtime();
        let entered = runtime.enter();
        // Another service writes the sessions, so that their cookies are not in this one's cache.
        let requests = requests(&sessions(store.clone(), config.clone()), visitors);
        let sessions = sessions(store, config);
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
        if let Self::Memory = self {
            let (client, server) = duplex(64 * 1024);
            runtime.spawn(serve(server, service));
            return memory_calls(runtime, client, requests);
        }
        thread::spawn(thread::park);
        let (client, server) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("the listener is bound");
            let client = TcpStream::connect(address).expect("the listener accepts");
            client.set_nodelay(true).expect("the socket is open");
            client.set_nonblocking(true).expect("the socket is open");
            let (server, _) = listener.accept().await.expect("a client connects");
            server.set_nodelay(true).expect("the socket is open");
            (client, server)
        });
        socket_calls(runtime, client, requests, Box::pin(serve(server, service)))
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
fn memory_calls(runtime: Runtime, mut client: DuplexStream, requests: Vec<Vec<u8>>) -> Call {
    let mut buffer = vec![0; 4096];
    each(requests, move |request| {
        runtime.block_on(async {
            client.write_all(request).await.expect("the server reads");
            let mut len = 0;
            while !is_complete(&buffer[..len]) {
                len += client
                    .read(&mut buffer[len..])
                    .await
                    .expect("the server answers");
            }
        });
    })
}

/// Returns a call that sends the next request and reads the response.
///
/// As in a server, the runtime waits once for each request. A client on the runtime would make it wait twice.
fn socket_calls(
    runtime: Runtime,
    mut client: TcpStream,
    requests: Vec<Vec<u8>>,
    mut connection: Pin<Box<dyn Future<Output = ()>>>,
) -> Call {
    let mut buffer = vec![0; 4096];
    each(requests, move |request| {
        client.write_all(request).expect("the server reads");
        let mut len = 0;
        runtime.block_on(poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            assert!(polled.is_pending(), "the connection ended");
            len += match client.read(&mut buffer[len..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                read => read.expect("the server answers"),
            };
            match is_complete(&buffer[..len]) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }));
    })
}

/// Returns a call that calls `send` with the next request.
fn each(requests: Vec<Vec<u8>>, mut send: impl FnMut(&[u8]) + 'static) -> Call {
    let mut next = 0;
    Box::new(move || {
        send(&requests[next]);
        next = (next + 1) % requests.len();
    })
}

/// Returns `true` if `received` is a whole response.
fn is_complete(received: &[u8]) -> bool {
    let is_complete = received.ends_with(END);
    assert!(
        !is_complete || received.starts_with(b"HTTP/1.1 200"),
        "the request failed"
    );
    is_complete
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a current-thread runtime can be built")
}

fn sessions(store: impl Store, config: SessionConfig) -> Sessions {
    Sessions::new(config, store).expect("the configuration is valid")
}

async fn handle(
    job: Job,
    request: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, Infallible> {
    drop(request);
    if job != Job::Ignore {
        let session = session.load().await.expect("the store responds");
        let count = match job {
            Job::Increment => session.increment(COUNTER),
            _ => session
                .get::<i64>(COUNTER)
                .map(|count| count.unwrap_or(0).into()),
        };
        let count = count.expect("the value is a number");
        assert!(matches!(count, Number::Int(41..)), "the session was lost");
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
        Visitors::One | Visitors::Browser => 1,
        Visitors::Strangers => STRANGERS,
    };
    let request = |_| {
        let mut request = with_cookie(&seed(sessions, Size::Small));
        if visitors == Visitors::Browser {
            let header = |(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            };
            request.headers_mut().extend(BROWSER.map(header));
        }
        text(&request)
    };
    (0..count).map(request).collect()
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
