//! Clients and handlers that misuse a service, over sockets and at every await.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use hyper::{body::Incoming, client::conn::http2, service::Service};
use hyper_session::{
    Session, Sessions,
    id::{SessionId, StoreKey},
    store::{
        Expected, MemoryStore, ReadOutcome, Store, StoreError, StoreFuture, TagStore, WriteOutcome,
        WriteRequest,
    },
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
};

use crate::support::{
    Browser, config, data,
    net::{Remote, Server, serve},
};

/// A service that counts the visits of each session, and panics at `/panic`.
async fn counter() -> (Server, MemoryStore) {
    let store = MemoryStore::new();
    let sessions = Sessions::new(config(), store.clone()).unwrap();
    let service = sessions.wrap_fn(async |request: Request<Incoming>, session: Session| {
        let n = session.load().await.unwrap().increment("n").unwrap();
        if request.uri().path() == "/panic" {
            // Without the message that `panic!` prints.
            std::panic::resume_unwind(Box::new("a handler's panic"));
        }
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(n.to_string()))))
    });
    (serve(Arc::new(service)).await, store)
}

/// Returns a client that has a session with the count 1.
async fn known(server: &Server) -> Remote {
    let mut client = Remote::http1(server.address);
    assert_eq!(client.get("/").await.text(), "1");
    client
}

/// Returns the text of a request with the client's cookies.
fn request_text(client: &Remote) -> String {
    let cookies = client.jar.line().unwrap();
    let cookies = cookies.to_str().unwrap();
    format!("GET / HTTP/1.1\r\nhost: x\r\ncookie: {cookies}\r\n\r\n")
}

#[tokio::test]
async fn a_client_that_sends_one_byte_at_a_time_delays_no_other() {
    let (server, _) = counter().await;
    let mut client = known(&server).await;
    let text = request_text(&client);
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    let mut other = Remote::http1(server.address);
    for (number, byte) in text.bytes().enumerate() {
        slow.write_all(&[byte]).await.unwrap();
        if number % 20 == 0 {
            assert_eq!(other.get("/").await.status, 200);
            assert_eq!(client.get("/").await.status, 200);
        }
    }
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let visits = 2 + text.len().div_ceil(20);
    assert_eq!(client.get("/").await.text(), (visits + 1).to_string());
}

#[tokio::test]
async fn a_change_that_a_half_closed_connection_acknowledged_is_stored() {
    const REQUESTS: usize = 30;
    let (server, _) = counter().await;
    let mut client = known(&server).await;
    let text = request_text(&client);
    let mut answered = 0;
    for _ in 0..REQUESTS {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        // From now on the client can only read.
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answered += usize::from(answer.starts_with(b"HTTP/1.1 200"));
    }
    let n: usize = client.get("/").await.text().parse().unwrap();
    assert!(
        (answered + 2..=REQUESTS + 2).contains(&n),
        "{n} visits, {answered} answers"
    );
}

#[tokio::test]
async fn a_header_of_ten_megabytes_is_refused_and_the_next_visitor_is_served() {
    let (server, store) = counter().await;
    let mut client = known(&server).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = b"GET / HTTP/1.1\r\nhost: x\r\ncookie: session=";
    stream.write_all(head).await.unwrap();
    // The server may close the connection before it has read everything.
    let _ = stream.write_all(&vec![b'a'; 10 << 20]).await;
    let _ = stream.write_all(b"\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(client.get("/").await.text(), "2");
    assert_eq!(store.stats().records, 1);
}

#[tokio::test]
async fn a_session_is_found_behind_ten_thousand_cookies() {
    let (server, _) = counter().await;
    let mut client = known(&server).await;
    for number in 0..10_000 {
        client.jar.plant(&format!("c{number}"), "v");
    }
    assert!(client.jar.line().unwrap().len() > 80_000);
    for n in 2..=4 {
        assert_eq!(client.get("/").await.text(), n.to_string());
    }
}

#[tokio::test]
async fn http_2_streams_that_are_reset_at_once_lose_no_answered_change() {
    const STREAMS: usize = 500;
    let (server, store) = counter().await;
    let mut client = known(&server).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    for number in 0..STREAMS {
        let mut request = Request::get(format!("http://{}/", server.address));
        client.jar.add_to(request.headers_mut().unwrap());
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        // The server may close a connection that resets too many streams.
        if sender.ready().await.is_err() {
            break;
        }
        let mut answer = Box::pin(sender.send_request(request));
        let _ = answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if number % 7 == 0 {
            yield_now().await;
        }
        // Dropping the future resets the stream.
    }
    drop(sender);
    let _ = connection.await;
    let n: usize = client.get("/").await.text().parse().unwrap();
    assert!((2..=STREAMS + 2).contains(&n), "{n} visits");
    assert_eq!(client.get("/").await.text(), (n + 1).to_string());
    assert_eq!(store.stats().records, 1);
}

#[tokio::test]
async fn a_handler_that_panics_stores_nothing_and_the_service_goes_on() {
    let (server, store) = counter().await;
    let mut client = known(&server).await;
    for n in 2..=20 {
        assert!(!client.try_post("/panic", "").await, "the connection ends");
        assert_eq!(client.get("/").await.text(), n.to_string());
    }
    assert!(!Remote::http2(server.address).try_post("/panic", "").await);
    assert_eq!(store.stats().records, 1);
}

#[tokio::test]
async fn a_hundred_thousand_clients_that_never_return_take_bounded_memory() {
    const CLIENTS: usize = 100_000;
    const RECORDS: u64 = 2000;
    let store = MemoryStore::builder().max_records(RECORDS).build();
    let sessions = Sessions::new(config(), store.clone()).unwrap();
    let service = sessions.wrap_fn(async |_: Request<()>, session: Session| {
        session.load().await.unwrap().put("n", 1).unwrap();
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut most_bytes = 0;
    for number in 0..CLIENTS {
        // Most requests take the short way: only the write that they end with.
        if number % 20 == 0 {
            let response = service.call(Request::new(())).await.unwrap();
            assert!(response.headers().contains_key("set-cookie"));
        } else {
            let key = SessionId::generate().unwrap().store_key();
            let life = Duration::from_secs(7200);
            let request = WriteRequest::new(&key, vec![0; 60], life, Expected::Absent);
            store.write(request).await.unwrap();
        }
        let stats = store.stats();
        assert!(stats.records <= RECORDS);
        most_bytes = stats.bytes.max(most_bytes);
    }
    assert_eq!(store.stats().records, RECORDS);
    assert!(most_bytes < RECORDS * 1000, "{most_bytes} bytes");
}

/// A store whose operations are pending once before each of them, and once after it.
#[derive(Clone, Default)]
struct YieldingStore {
    memory: MemoryStore,
    written: Arc<Mutex<BTreeSet<StoreKey>>>,
}

impl YieldingStore {
    fn run<T: Send + Unpin + 'static>(
        &self,
        operation: impl FnOnce(&MemoryStore) -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let store = self.memory.clone();
        StoreFuture::new(async move {
            yield_now().await;
            let result: Result<T, StoreError> = operation(&store).await;
            yield_now().await;
            result
        })
    }
}

impl Store for YieldingStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        self.run(move |store| store.read(&key, touch))
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.written.lock().unwrap().insert(request.key);
        self.run(move |store| store.write(request))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.run(move |store| store.destroy(&key))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.run(move |store| store.touch(&key, ttl))
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        self.memory.tags()
    }
}

/// Changes two values, in one commit.
type Change = fn(&Session);

const CHANGES: [(&str, Change); 4] = [
    ("write", |_| ()),
    ("regenerate", |s| s.regenerate().unwrap()),
    ("rotate", |s| s.rotate_id(Duration::from_secs(60)).unwrap()),
    ("tag", |s| s.tag("user").unwrap()),
];

/// Runs a request with the change, and drops it after `polls` polls. Returns `true` if it finished.
async fn run_dropped(sessions: &Sessions, browser: &Browser, change: Change, polls: usize) -> bool {
    let service = sessions.wrap_fn(move |_: Request<()>, session: Session| async move {
        session.load().await.unwrap();
        session.put("a", 2).unwrap();
        change(&session);
        session.put("b", 2).unwrap();
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut request = Request::new(());
    browser.jar.add_to(request.headers_mut());
    let mut call = pin!(service.call(request));
    let mut context = Context::from_waker(Waker::noop());
    (0..polls).any(|_| call.as_mut().poll(&mut context).is_ready())
}

#[tokio::test]
async fn a_request_dropped_at_any_await_is_stored_whole_or_not_at_all() {
    for (name, change) in CHANGES {
        let mut outcomes = [0; 2];
        let mut finished = false;
        for polls in 1.. {
            let store = YieldingStore::default();
            let sessions = Sessions::new(config(), store.clone()).unwrap();
            let mut browser = Browser::new(&sessions);
            let old = json!({"a": 1, "b": 1});
            browser.visit(async |s| s.merge(&old).unwrap()).await;
            finished = run_dropped(&sessions, &browser, change, polls).await;
            let stored: Vec<Value> = stored(&store, &sessions).await;
            let new = json!({"a": 2, "b": 2});
            assert!(
                stored.iter().all(|data| *data == old || *data == new),
                "{name}, {polls} polls: {stored:?}"
            );
            outcomes[usize::from(stored.contains(&new))] += 1;
            // The visitor can go on, with the session or with a new one.
            browser.visit(async |s| s.put("c", 3).unwrap()).await;
            let seen = data(&mut browser).await;
            assert!(
                [
                    json!({"a": 1, "b": 1, "c": 3}),
                    json!({"a": 2, "b": 2, "c": 3}),
                    json!({"c": 3})
                ]
                .contains(&seen),
                "{name}, {polls} polls: {seen}"
            );
            if finished {
                break;
            }
        }
        assert!(
            finished && outcomes[0] > 0 && outcomes[1] > 0,
            "{name}: {outcomes:?}"
        );
    }
}

/// Returns the data of every stored session.
async fn stored(store: &YieldingStore, sessions: &Sessions) -> Vec<Value> {
    let collection = sessions.collection();
    let keys = store.written.lock().unwrap().clone();
    let mut all = Vec::new();
    for key in keys {
        if let Some(session) = collection.get(&key).await.unwrap() {
            all.push(session.all::<Value>().unwrap());
        }
    }
    all
}
