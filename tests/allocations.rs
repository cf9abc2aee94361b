//! The number of allocations that a session adds to a request.
//!
//! The global allocator counts them on the thread of each test. The number is the difference to the
//! same service without a session. On a warm thread, every call must make the same number of
//! allocations.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::BTreeMap,
    time::Duration,
};

use http::{
    Request, Response,
    header::{COOKIE, SET_COOKIE},
};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_session::{
    Session, SessionConfig, SessionError, Sessions,
    clock::{Clock, Timestamp},
    document::Document,
    patch::{ChangeLimits, Patch},
    session::CookiePolicy::{self, Rolling, WhenUsed},
    store::{CookieStore, MemoryStore},
};
use hyper_util::rt::TokioIo;
use support::{
    Access::{self, Extension, Typed},
    Body, Call,
    Job::{self, Ignore, Increment, Read},
    Size,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[allow(dead_code, unused_imports, reason = "each target uses a part")]
#[path = "../benches/support/mod.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator with a counter. Growing a block counts as an allocation.
struct CountingAllocator;

fn count(bytes: usize) {
    COUNT.set(COUNT.get() + 1);
    add_bytes(bytes as isize);
}

/// Adds to the number of bytes that this thread has allocated and not freed.
fn add_bytes(bytes: isize) {
    BYTES.set(BYTES.get() + bytes);
}

// SAFETY: every call is passed unchanged to the system's allocator. Counting does not touch memory
// of the caller, does not allocate, and needs no destructor.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller upholds the contract of this function, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller upholds the contract of this function, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        add_bytes(-(layout.size() as isize));
        // SAFETY: the caller upholds the contract of this function, which is the same.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        add_bytes(-(layout.size() as isize));
        // SAFETY: the caller upholds the contract of this function, which is the same.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The extensions of a request before the session is added. Most frameworks add some.
#[derive(Clone, Copy)]
enum Extensions {
    None,
    Some,
}

/// Returns the number of allocations of one call on a warm thread.
///
/// # Panics
/// If two calls differ.
fn allocations(mut call: Call) -> u64 {
    // The counter in the session grows. After these calls, the buffers fit all its later lengths.
    (0..200).for_each(|_| call());
    let once = |call: &mut Call| {
        let before = COUNT.get();
        call();
        COUNT.get() - before
    };
    let first = once(&mut call);
    assert!((0..100).all(|_| once(&mut call) == first), "calls differ");
    first
}

fn sessions(policy: CookiePolicy) -> Sessions {
    sessions_with(support::config(policy))
}

fn sessions_with(config: SessionConfig) -> Sessions {
    // The thread that sweeps stores with the system's clock could free a record in place of this thread.
    let clock = Clock::manual(Timestamp::from_millis(0));
    let store = MemoryStore::builder().clock(clock).build();
    Sessions::new(config, store).unwrap()
}

fn with_extensions(extensions: Extensions, mut request: Request<Body>) -> Request<Body> {
    if let Extensions::Some = extensions {
        request.extensions_mut().insert(7_u8);
    }
    request
}

fn added_allocations(request: Request<Body>, sessions: &Sessions, access: Access, job: Job) -> u64 {
    let raw = allocations(support::raw(request.clone()));
    allocations(support::call(sessions, access, job, request)) - raw
}

/// Returns the allocations that a known session adds. They are the same for a small and a large
/// document.
fn known(policy: CookiePolicy, access: Access, extensions: Extensions, job: Job) -> u64 {
    known_to(&sessions(policy), access, extensions, job)
}

fn known_to(sessions: &Sessions, access: Access, extensions: Extensions, job: Job) -> u64 {
    let [small, large] = Size::ALL.map(|size| {
        let request = support::with_cookie(&support::seed(sessions, size));
        added_allocations(with_extensions(extensions, request), sessions, access, job)
    });
    assert_eq!(small, large, "the number depends on the document's size");
    small
}

fn no_cookie(policy: CookiePolicy, access: Access, extensions: Extensions) -> u64 {
    let request = with_extensions(extensions, support::plain());
    added_allocations(request, &sessions(policy), access, Ignore)
}

#[test]
fn a_session_as_an_argument_costs_nothing_until_it_is_written() {
    for extensions in [Extensions::None, Extensions::Some] {
        assert_eq!(no_cookie(WhenUsed, Typed, extensions), 0);
        assert_eq!(known(WhenUsed, Typed, extensions, Ignore), 0);
        assert_eq!(known(WhenUsed, Typed, extensions, Read), 0);
    }
}

#[test]
fn a_write_reuses_the_buffer_of_a_replaced_record() {
    assert_eq!(known(WhenUsed, Typed, Extensions::None, Increment), 0);
}

#[test]
fn a_put_of_an_object_costs_nothing() {
    let (mut patch, mut document) = (Patch::new(ChangeLimits::default()), Document::new());
    let member = |n| {
        (
            format!("key {n}"),
            vec![BTreeMap::from([("a", n), ("b", 0)])],
        )
    };
    let value: BTreeMap<_, _> = (0..100).map(member).collect();
    let put = move || {
        patch.reset();
        document.clear();
        patch.put(&mut document, "value", &value).unwrap();
    };
    assert_eq!(allocations(Box::new(put)), 0);
}

/// Sends requests whose patches are large, but not their data: one with a large value, one with many
/// operations.
async fn use_large_patches() {
    let limits = ChangeLimits::default().operations(100_000);
    let config = support::config(WhenUsed).limits(limits);
    let sessions = Sessions::new(config, MemoryStore::new()).unwrap();
    for is_large_value in [true, false] {
        let service = sessions.wrap_fn(async |_: Request<Body>, session: Session| {
            session.load().await?;
            if is_large_value {
                session.put("a", 1)?;
                assert!(!session.put_if_absent("a", "x".repeat(500_000))?);
            } else {
                for _ in 0..30_000 {
                    session.forget("b")?;
                }
            }
            Ok::<_, SessionError>(Response::new(Body::default()))
        });
        assert_eq!(service.call(support::plain()).await.unwrap().status(), 200);
    }
}

/// Sends two requests of one session whose data and flash messages are large.
async fn use_large_session() {
    let sessions = sessions(WhenUsed);
    let large = &"x".repeat(200_000);
    let service = sessions.wrap_fn(async |_: Request<Body>, session: Session| {
        session.load().await?;
        session.put("data", large)?;
        session.merge(BTreeMap::from([("data", large)]))?;
        session.flash("message", large)?;
        session.reflash()?;
        session.flash_all_of(BTreeMap::from([("field", large)]))?;
        session.get::<String>("data")?;
        Ok::<_, SessionError>(Response::new(Body::default()))
    });
    let response = service.call(support::plain()).await.unwrap();
    let mut request = support::plain();
    let cookie = response.headers()[SET_COOKIE].clone();
    request.headers_mut().insert(COOKIE, cookie);
    assert_eq!(service.call(request).await.unwrap().status(), 200);
}

#[test]
fn a_thread_keeps_no_large_buffers() {
    let before = BYTES.get();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    runtime.block_on(use_large_session());
    runtime.block_on(use_large_patches());
    drop(runtime);
    let kept = BYTES.get() - before;
    assert!(kept < 100_000, "{kept} bytes are kept");
}

#[test]
fn a_rolling_cookie_costs_its_text() {
    assert_eq!(no_cookie(Rolling, Typed, Extensions::None), 1);
    // No renewal is due.
    assert_eq!(known(Rolling, Typed, Extensions::None, Ignore), 0);
    assert_eq!(known(Rolling, Typed, Extensions::None, Read), 1);
    assert_eq!(known(Rolling, Typed, Extensions::None, Increment), 1);
}

#[test]
fn a_due_renewal_costs_its_read_and_the_text_of_the_cookie() {
    let config = support::config(Rolling).touch_interval(Duration::ZERO);
    let sessions = sessions_with(config);
    assert_eq!(known_to(&sessions, Typed, Extensions::None, Ignore), 2);
}

#[test]
fn a_session_in_a_cookie_costs_what_it_is_opened_into() {
    let net = |policy, job| {
        let sessions = Sessions::new(support::config(policy), CookieStore::new()).unwrap();
        let request = support::with_cookie(&support::seed(&sessions, Size::Medium));
        added_allocations(request, &sessions, Typed, job)
    };
    assert_eq!(net(WhenUsed, Ignore), 0);
    // The store's state for this request. The cookie is in the cache.
    assert_eq!(net(WhenUsed, Read), 1);
    // The text of the id cookie as well.
    assert_eq!(net(Rolling, Read), 2);
}

#[test]
fn a_session_in_a_strangers_cookie_costs_its_opening_as_well() {
    for (policy, expected) in [(WhenUsed, 4), (Rolling, 5)] {
        let sessions = Sessions::new(support::config(policy), CookieStore::new()).unwrap();
        let request = |_| support::with_cookie(&support::seed(&sessions, Size::Medium));
        // More than the number of calls, so that each call opens a new cookie.
        let requests: Vec<_> = (0..400).map(request).collect();
        let raw = allocations(support::raw_each(requests.clone()));
        let read = allocations(support::call_each(&sessions, Typed, Read, requests));
        // The entry in the cache, the opened text, and its reference count, as well.
        assert_eq!(read - raw, expected);
    }
}

#[test]
fn a_session_in_the_extensions_costs_its_box_there() {
    assert_eq!(no_cookie(WhenUsed, Extension, Extensions::Some), 1);
    assert_eq!(no_cookie(Rolling, Extension, Extensions::Some), 2);
    assert_eq!(known(WhenUsed, Extension, Extensions::Some, Ignore), 1);
    assert_eq!(known(WhenUsed, Extension, Extensions::Some, Read), 1);
    assert_eq!(known(WhenUsed, Extension, Extensions::Some, Increment), 1);
    assert_eq!(known(Rolling, Extension, Extensions::Some, Ignore), 1);
    assert_eq!(known(Rolling, Extension, Extensions::Some, Read), 2);
    assert_eq!(known(Rolling, Extension, Extensions::Some, Increment), 2);
}

#[test]
fn the_first_extension_of_a_request_costs_the_map_and_its_table_as_well() {
    assert_eq!(no_cookie(WhenUsed, Extension, Extensions::None), 3);
    assert_eq!(no_cookie(Rolling, Extension, Extensions::None), 4);
    assert_eq!(known(WhenUsed, Extension, Extensions::None, Ignore), 3);
    assert_eq!(known(WhenUsed, Extension, Extensions::None, Read), 3);
    assert_eq!(known(WhenUsed, Extension, Extensions::None, Increment), 3);
    assert_eq!(known(Rolling, Extension, Extensions::None, Ignore), 3);
    assert_eq!(known(Rolling, Extension, Extensions::None, Read), 4);
    assert_eq!(known(Rolling, Extension, Extensions::None, Increment), 4);
}

#[test]
fn any_other_first_extension_costs_the_same() {
    let request = support::plain();
    let bare = request.clone();
    let clone = allocations(Box::new(move || drop(bare.clone())));
    let insert = allocations(Box::new(move || {
        request.clone().extensions_mut().insert(7_u64);
    }));
    assert_eq!(insert - clone, 3);
}

#[test]
fn a_strip_of_headers_without_a_session_cookie_costs_nothing() {
    let sessions = Sessions::new(support::config(WhenUsed), CookieStore::new()).unwrap();
    let mut headers = http::HeaderMap::new();
    let strip = |mut headers: http::HeaderMap| {
        let sessions = sessions.clone();
        allocations(Box::new(move || {
            sessions.strip_cookies(&mut headers);
            sessions.strip_set_cookies(&mut headers);
        }))
    };
    assert_eq!(strip(headers.clone()), 0);
    headers.append(COOKIE, "theme=dark; session-date=1".parse().unwrap());
    headers.append(COOKIE, "lang=en".parse().unwrap());
    headers.append(SET_COOKIE, "theme=dark; Path=/".parse().unwrap());
    assert_eq!(strip(headers), 0);
}

/// Every request is the first of its client. They arrive over sockets, as from a proxy that serves a hundred clients
/// with each connection.
#[test]
fn a_hundred_thousand_clients_that_never_return_take_bounded_memory() {
    const CONNECTIONS: usize = 1000;
    const CLIENTS: usize = 100;
    const RECORDS: u64 = 2000;
    let store = MemoryStore::builder().max_records(RECORDS).build();
    let sessions = Sessions::new(support::config(WhenUsed), store.clone()).unwrap();
    let service = sessions.wrap_fn(async |_: Request<Incoming>, session: Session| {
        session.load().await?.put("n", 1)?;
        Ok::<_, SessionError>(Response::new(Body::default()))
    });
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let requests = request.repeat(CLIENTS - 1) + last;
    // Server and clients run on this thread, which counts their allocations.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async || {
            let (stream, _) = listener.accept().await.unwrap();
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), &service);
            connection.await.unwrap();
        };
        let visit = async || {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(requests.as_bytes()).await.unwrap();
            let mut responses = String::new();
            stream.read_to_string(&mut responses).await.unwrap();
            assert_eq!(responses.matches("HTTP/1.1 200 OK").count(), CLIENTS);
            assert_eq!(responses.matches("set-cookie: ").count(), CLIENTS);
        };
        let mut bytes = BYTES.get();
        for number in 1..=CONNECTIONS {
            tokio::join!(serve(), visit());
            let stats = store.stats();
            assert!(stats.records <= RECORDS && stats.bytes < RECORDS * 1000);
            // The store is full, and every other table has its size.
            if number == CONNECTIONS / 5 {
                bytes = BYTES.get();
            }
        }
        assert_eq!(store.stats().records, RECORDS);
        // Each client that is kept would take more than ten bytes.
        let grown = BYTES.get() - bytes;
        assert!(
            grown < (10 * CLIENTS * CONNECTIONS / 5 * 4) as isize,
            "{grown} bytes"
        );
    });
}

/// A cluster makes connections again whenever it replaces a master. The memory of large blocks that come and go
/// is not returned to the system.
#[cfg(feature = "redis")]
#[test]
fn a_connection_to_redis_takes_bounded_memory() {
    use hyper_session::store::RedisStore;

    let of_pool = |connections, replicas, has_cache| {
        let before = BYTES.get();
        let builder = RedisStore::builder("redis://localhost").pool_size(connections);
        let builder = builder.wait_for_replicas(replicas);
        let _store: Box<dyn Send> = match has_cache {
            true => Box::new(builder.with_near_cache().build().unwrap()),
            false => Box::new(builder.build().unwrap()),
        };
        BYTES.get() - before
    };
    let added =
        |replicas, has_cache| of_pool(3, replicas, has_cache) - of_pool(2, replicas, has_cache);
    const LIMIT: isize = 64 << 10;
    assert!(added(0, false) < LIMIT, "{}", added(0, false));
    let with_writes = added(1, false);
    assert!(with_writes < 2 * LIMIT, "{with_writes}");
    // Its event channels hold bursts of changes.
    let tracked = added(0, true);
    assert!(tracked < 1 << 20, "{tracked}");
}
