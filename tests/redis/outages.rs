//! While the server is away, hangs or comes back: every operation ends in time, an outage is told
//! once, and nothing needs a restart.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper_session::{
    id::StoreKey,
    store::{
        ReadOutcome, Store, StoreError,
        redis::{Outage, RedisError, RedisStore, TransientError},
    },
};

use crate::support::redis_servers::{
    Server, free_port,
    sessions::{HOUR, cause, connect, create_session, key, record},
};

/// How long a server hangs in these tests. Ten seconds where `REDIS_LONG_TESTS` is set.
fn hang() -> Duration {
    let long = std::env::var_os("REDIS_LONG_TESTS").is_some();
    Duration::from_secs(if long { 10 } else { 3 })
}

const TOTAL: Duration = Duration::from_millis(1_500);

/// What a loaded machine may take longer.
const SLACK: Duration = Duration::from_millis(1_000);

type Told = Arc<Mutex<Vec<Outage>>>;

/// A store with short times, and what it tells of outages.
fn store(url: &str) -> (RedisStore, Told) {
    let told = Told::default();
    let tell = Arc::clone(&told);
    let store = RedisStore::builder(url)
        .connect_timeout(Duration::from_millis(500))
        .command_timeout(Duration::from_millis(500))
        .operation_timeout(TOTAL)
        .on_outage(move |outage| tell.lock().unwrap().push(*outage))
        .build()
        .unwrap();
    (store, told)
}

/// Tries until it works again, and returns after how long.
async fn recovery(store: &RedisStore, key: &StoreKey) -> Duration {
    let start = Instant::now();
    while store.read(key, None).await.is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "it does not recover"
        );
    }
    start.elapsed()
}

/// Reads from many tasks at once for as long as `during` takes; the errors of those that failed.
async fn read_meanwhile(
    store: &RedisStore,
    key: StoreKey,
    tasks: usize,
    during: impl Future<Output = ()>,
) -> Vec<StoreError> {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let readers: Vec<_> = (0..tasks)
        .map(|_| {
            let (store, stopped) = (store.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut errors = Vec::new();
                while !*stopped.borrow() {
                    let start = Instant::now();
                    errors.extend(store.read(&key, None).await.err());
                    let took = start.elapsed();
                    assert!(took < TOTAL + SLACK, "an operation took {took:?}");
                }
                errors
            })
        })
        .collect();
    during.await;
    stop.send_replace(true);
    let mut errors = Vec::new();
    for reader in readers {
        errors.extend(reader.await.unwrap());
    }
    errors
}

fn ended(told: &Told, failures: usize) {
    match &told.lock().unwrap()[..] {
        [Outage::Started { .. }, Outage::Ended { failed, .. }] => {
            assert_eq!(usize::try_from(*failed).unwrap(), failures);
        }
        other => panic!("told of one outage: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_server_holds_nobody_up_and_is_used_again_when_it_wakes() {
    let server = Server::start();
    let (store, told) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    let errors = read_meanwhile(&store, key, 64, async {
        server.freeze();
        tokio::time::sleep(hang()).await;
        assert!(store.stats().in_flight <= 64);
        server.thaw();
        recovery(&store, &key).await;
    })
    .await;
    assert!(errors.len() >= 64, "{} failed", errors.len());
    for error in &errors {
        assert!(
            matches!(cause(error), RedisError::TimedOut { .. }),
            "{error}"
        );
    }
    ended(&told, errors.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_is_used_again_when_it_is_back() {
    let mut server = Server::start();
    let (store, told) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    let errors = read_meanwhile(&store, key, 16, async {
        server.kill();
        tokio::time::sleep(TOTAL + SLACK).await;
        // With an empty script cache, and without its data.
        server.restart();
        recovery(&store, &key).await;
    })
    .await;
    assert!(!errors.is_empty());
    ended(&told, errors.len());
    let key = create_session(&store, HOUR).await;
    assert!(store.touch(&key, HOUR).await.unwrap());
}

#[tokio::test]
async fn a_blip_shorter_than_the_total_time_is_noticed_by_nobody() {
    let mut server = Server::start();
    let (store, told) = store(&server.url());
    create_session(&store, HOUR).await;
    for _ in 0..3 {
        server.restart();
        create_session(&store, HOUR).await;
    }
    assert!(told.lock().unwrap().is_empty());
}

/// A server closes connections that were idle for long, and the first request after that must not
/// pay for it.
#[tokio::test]
async fn connections_that_the_server_closed_when_idle_cost_no_request() {
    let server = Server::start();
    let (store, told) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    for _ in 0..20 {
        server.send(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(store.touch(&key, HOUR).await.unwrap());
    }
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_emptied_script_cache_costs_no_request() {
    let server = Server::start();
    let store = connect(&server).await;
    let key = create_session(&store, HOUR).await;
    for _ in 0..3 {
        server.send(&["SCRIPT", "FLUSH"]);
        assert!(store.touch(&key, HOUR).await.unwrap());
        create_session(&store, HOUR).await;
    }
}

#[tokio::test]
async fn a_store_may_be_built_before_its_server_is_there() {
    let port = free_port();
    let (store, told) = store(&format!("redis://127.0.0.1:{port}"));
    let error = store.read(&key(), None).await.unwrap_err();
    let disconnected = TransientError::Disconnected;
    assert!(
        matches!(cause(&error), RedisError::TimedOut { last, .. } if *last == disconnected),
        "{error}"
    );
    let _server = Server::start_on(port, &[]);
    let key = key();
    recovery(&store, &key).await;
    assert_eq!(store.read(&key, None).await.unwrap(), ReadOutcome::Absent);
    ended(&told, 1);
}

#[tokio::test]
async fn connecting_to_nobody_fails_in_time_and_says_so() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let start = Instant::now();
    let error = RedisStore::builder(&url)
        .startup_timeout(Duration::from_millis(400))
        .connect()
        .await
        .unwrap_err();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let text = format!("{error:?}");
    assert!(
        text.contains("connect failed") && text.contains("not connected"),
        "{text}"
    );
}

#[tokio::test]
async fn one_operation_more_than_allowed_is_refused_at_once() {
    let server = Server::start();
    let store = RedisStore::builder(&server.url())
        .max_in_flight(8)
        .operation_timeout(TOTAL)
        .connect()
        .await
        .unwrap();
    server.freeze();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.read(&key(), None).await.is_err() })
        })
        .collect();
    while store.stats().in_flight < 8 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    let error = store.read(&key(), None).await.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::Overloaded { limit: 8 }),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_millis(200), "at once");
    for read in waiting {
        assert!(read.await.unwrap(), "the others end in time");
    }
    server.thaw();
    recovery(&store, &key()).await;
    assert_eq!(store.stats().in_flight, 0);
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_waited_for() {
    let mut server = Server::start_with(&["--enable-debug-command", "yes"]);
    let (store, told) = store(&server.url());
    let key = create_session(&store, HOUR).await;
    server.send(&["DEBUG", "POPULATE", "1000"]);
    assert_eq!(server.send(&["SAVE"]), "+OK\r\n");
    // A thousand keys at 800 us each, with a look at the network in between.
    server.restart_with(&[
        "--key-load-delay",
        "800",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    assert!(
        server.send(&["GET", "x"]).starts_with("-LOADING"),
        "it loads slowly"
    );
    assert_eq!(&*record(&store, &key).await.data, b"data");
    assert!(told.lock().unwrap().is_empty());
}

#[test]
fn outside_a_runtime_there_is_an_error_and_no_panic() {
    let (store, _) = store("redis://127.0.0.1:1");
    let mut read = Box::pin(store.read(&key(), None));
    let waker = std::task::Waker::noop();
    let polled = read
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));
    let std::task::Poll::Ready(Err(error)) = polled else {
        panic!("{polled:?}")
    };
    assert!(matches!(cause(&error), RedisError::NoRuntime), "{error}");
}
