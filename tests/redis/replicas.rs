//! Writes that replicas must confirm.

use std::{
    future::poll_fn,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant},
};

use hyper_session::store::{
    Expected, Expiry, ReadOutcome, Store, StoreError, WriteOutcome, WriteRequest,
    redis::{Outage, OutageScope, RedisError, RedisStore, RedisStoreBuilder, ServerRejection},
};
use tokio::time::sleep;

use crate::support::redis_servers::{
    Server, is_before_7,
    proxy::{Network, Proxy},
    sessions::{HOUR, cause, create_session, key, keys, version},
    wait_until,
};

fn assert_unreplicated(error: &StoreError) {
    let is_unreplicated = matches!(
        cause(error),
        RedisError::Unreplicated {
            confirmed: 0,
            required: 1
        }
    );
    assert!(is_unreplicated, "{error:?}");
}

/// Connects to a server without replicas. The store waits for one longer than a test takes.
async fn connect_patiently(server: &Server) -> RedisStore {
    let store = RedisStore::builder(&server.url())
        .command_timeout(Duration::from_secs(60))
        .operation_timeout(Duration::from_secs(90))
        .wait_for_replicas(1);
    connect(store, 4).await
}

#[tokio::test]
async fn a_missing_replica_delays_no_read_and_no_touch() {
    const WRITERS: usize = 64;
    let server = Server::start();
    let store = connect_patiently(&server).await;
    let keys = keys(WRITERS);
    let writers: Vec<_> = keys
        .iter()
        .map(|key| {
            let request = WriteRequest::new(key, "data", HOUR, Expected::Absent);
            tokio::spawn(store.write(request))
        })
        .collect();
    let all = format!(":{WRITERS}\r\n");
    while server.send(&["DBSIZE"]) != all || server.info("clients", "blocked_clients") == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    // More than a connection gets in turn.
    for _ in 0..3 {
        for key in &keys {
            let found = store.read(key, None).await.unwrap();
            assert!(matches!(found, ReadOutcome::Found(_)), "{found:?}");
            assert!(store.touch(key, HOUR).await.unwrap());
        }
    }
    for writer in writers {
        assert!(!writer.is_finished(), "no replica has confirmed");
        writer.abort();
    }
}

/// The server ends the wait, because it is no longer a master.
#[tokio::test]
async fn a_master_that_becomes_a_replica_has_not_confirmed_a_write() {
    let server = Server::start();
    let store = connect_patiently(&server).await;
    let write =
        tokio::spawn(store.write(WriteRequest::new(&key(), "data", HOUR, Expected::Absent)));
    while server.info("clients", "blocked_clients") == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    server.send(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_unreplicated(&write.await.unwrap().unwrap_err());
}

/// A master, a proxy to it, and its replica.
struct Setup {
    master: Server,
    proxy: Proxy,
    replica: Server,
}

impl Setup {
    async fn start() -> Self {
        let master = Server::start_with(&["--repl-diskless-sync-delay", "0"]);
        let proxy = Proxy::to(master.port).await;
        let replica = Server::start_with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
        wait_until("the replica follows", Duration::from_secs(10), || {
            let info = master.send(&["INFO", "replication"]);
            replica.is_linked_replica() && info.contains("state=online")
        });
        Self {
            master,
            proxy,
            replica,
        }
    }

    fn builder(&self) -> RedisStoreBuilder {
        RedisStore::builder(&self.proxy.url())
            .pool_size(1)
            .command_timeout(Duration::from_millis(600))
            .operation_timeout(Duration::from_secs(20))
            .wait_for_replicas(1)
    }
}

/// Waits until all connections of a store are open.
async fn connect(builder: RedisStoreBuilder, connections: usize) -> RedisStore {
    let store = builder.build().unwrap();
    store.read(&key(), None).await.unwrap();
    while store.stats().connections < connections {
        sleep(Duration::from_millis(1)).await;
    }
    store
}

/// The retry runs on a new connection and finds that the first attempt was applied.
#[tokio::test]
async fn a_retry_after_a_lost_reply_is_not_confirmed_by_a_replica_that_hangs() {
    let setup = Setup::start().await;
    // A new replica is sent nothing before its first acknowledgement, up to a second later.
    let patient = setup.builder().command_timeout(Duration::from_secs(5));
    let patient = connect(patient, 2).await;
    let [one, two, three] = [
        create_session(&patient, HOUR).await,
        create_session(&patient, HOUR).await,
        create_session(&patient, HOUR).await,
    ];
    let keep = |seen| WriteRequest::new(&one, "more", Expiry::Keep, Expected::Version(seen));
    let seen = version(&patient, &one).await;
    let WriteOutcome::Done(seen) = patient.write(keep(seen)).await.unwrap() else {
        panic!("no other client writes");
    };
    let store = connect(setup.builder(), 2).await;
    let without_tombstones = setup.builder().tombstone_ttl(Duration::ZERO);
    let without_tombstones = connect(without_tombstones, 2).await;
    setup.replica.freeze();
    let lose = || setup.proxy.set(Network::CutReply(0));
    lose();
    let write = WriteRequest::new(&key(), "new", HOUR, Expected::Absent);
    assert_unreplicated(&store.write(write).await.unwrap_err());
    lose();
    assert_unreplicated(&store.write(keep(seen)).await.unwrap_err());
    lose();
    assert_unreplicated(&store.destroy(&two).await.unwrap_err());
    assert!(store.stats().retries >= 3);
    lose();
    assert_unreplicated(&without_tombstones.destroy(&three).await.unwrap_err());
    assert!(without_tombstones.stats().retries > 0);
    setup.replica.thaw();
    create_session(&patient, HOUR).await;
}

/// The caller of a write stops polling it, for example because its thread is blocked.
#[tokio::test]
async fn a_write_that_is_not_polled_delays_no_confirmation() {
    let setup = Setup::start().await;
    let store = connect(setup.builder().command_timeout(Duration::from_secs(5)), 2).await;
    create_session(&store, HOUR).await;
    let key = key();
    let mut unpolled = store.write(WriteRequest::new(&key, "data", HOUR, Expected::Absent));
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut unpolled).poll(cx))).await;
    assert!(polled.is_pending());
    create_session(&store, HOUR).await;
    assert!(matches!(unpolled.await, Ok(WriteOutcome::Done(_))));
}

/// The master rejects writes when the retry finds that the first attempt was applied.
#[tokio::test]
async fn a_retry_that_the_master_rejects_is_not_confirmed() {
    if is_before_7() {
        // Redis 6.2 does not check the number of replicas in scripts.
        return;
    }
    let setup = Setup::start().await;
    let store = connect(setup.builder().command_timeout(Duration::from_secs(5)), 2).await;
    create_session(&store, HOUR).await;
    setup.proxy.set(Network::CutAndClose(0));
    let key = key();
    let write = store.write(WriteRequest::new(&key, "data", HOUR, Expected::Absent));
    let rejecting = async {
        while setup.proxy.network() != Network::Closed {
            sleep(Duration::from_millis(1)).await;
        }
        let set = ["CONFIG", "SET", "min-replicas-to-write", "2"];
        assert_eq!(setup.master.send(&set), "+OK\r\n");
        setup.proxy.set(Network::Normal);
    };
    let (written, ()) = tokio::join!(write, rejecting);
    let error = written.unwrap_err();
    let no_replicas = ServerRejection::NoReplicas;
    assert!(
        matches!(cause(&error), RedisError::Rejected(rejection) if *rejection == no_replicas),
        "{error:?}"
    );
}

/// The connection is lost after the reply to a write and before its `WAIT`, because another write still waits
/// for its reply then.
#[tokio::test]
async fn a_write_is_not_confirmed_on_a_connection_that_was_opened_later() {
    const DELAY: Duration = Duration::from_millis(500);
    let setup = Setup::start().await;
    let store = connect(setup.builder().command_timeout(Duration::from_secs(5)), 2).await;
    let other = create_session(&store, HOUR).await;
    let in_flight = async |count| {
        while store.stats().in_flight != count {
            sleep(Duration::from_millis(1)).await;
        }
    };
    for _ in 0..5 {
        setup.proxy.set(Network::Slow(DELAY));
        let scripts = setup.master.calls("evalsha");
        let write = WriteRequest::new(&key(), "data", HOUR, Expected::Absent);
        let write = tokio::spawn(store.write(write));
        while setup.master.calls("evalsha") == scripts {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(DELAY / 4).await;
        let destroy = tokio::spawn(store.destroy(&other));
        in_flight(2).await;
        // The write has its reply.
        in_flight(1).await;
        setup.proxy.set(Network::Normal);
        setup.proxy.cut();
        destroy.await.unwrap().unwrap();
        // If this machine is slow, both replies get through.
        if let Err(error) = write.await.unwrap() {
            return assert_unreplicated(&error);
        }
    }
    panic!("each write was confirmed");
}

type OutageLog = Arc<Mutex<Vec<Outage>>>;

/// Returns a store with short timeouts, its two connections, and the log of its outages.
async fn observed(server: &Server, timeout: Duration) -> (RedisStore, OutageLog) {
    let outages = OutageLog::default();
    let log = Arc::clone(&outages);
    let store = RedisStore::builder(&server.url())
        .pool_size(1)
        .command_timeout(timeout)
        .operation_timeout(3 * timeout)
        .wait_for_replicas(1)
        .on_outage(move |outage| log.lock().unwrap().push(outage.clone()));
    (connect(store, 2).await, outages)
}

async fn wait_for_reports(outages: &OutageLog, count: usize) {
    let start = Instant::now();
    while outages.lock().unwrap().len() < count {
        assert!(start.elapsed() < Duration::from_secs(60), "{outages:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The server has room for the connection of reads only.
#[tokio::test]
async fn writes_without_a_connection_are_an_outage_of_writes() {
    let server = Server::start();
    let (store, outages) = observed(&server, Duration::from_millis(500)).await;
    let write = || WriteRequest::new(&key(), "data", HOUR, Expected::Absent);
    assert_unreplicated(&store.write(write()).await.unwrap_err());
    let clients = server.send(&["CLIENT", "LIST"]);
    let writer = clients.lines().find(|line| line.contains("cmd=wait"));
    let id = writer
        .and_then(|line| line.split(['=', ' ']).nth(1))
        .unwrap();
    // The server lets the test connect no more either.
    let mut admin = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let mut send = |command: &str| {
        admin
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap()
    };
    send(&format!("CONFIG SET maxclients 2\r\nCLIENT KILL ID {id}"));
    while store.stats().connections > 1 {
        sleep(Duration::from_millis(1)).await;
    }
    let reading = async {
        while outages.lock().unwrap().is_empty() {
            store.read(&key(), None).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
    };
    let (error, ()) = tokio::join!(store.write(write()), reading);
    let error = error.unwrap_err();
    let scope = OutageScope::Writes;
    assert!(
        matches!(cause(&error), RedisError::Outage { scope: found, .. } if *found == scope),
        "{error:?}"
    );
    assert!(
        format!("{error:?}").contains("max number of clients"),
        "{error:?}"
    );
    store.read(&key(), None).await.unwrap();
    send("CONFIG SET maxclients 100");
    wait_for_reports(&outages, 2).await;
    assert_unreplicated(&store.write(write()).await.unwrap_err());
}

/// No other operation follows.
#[tokio::test]
async fn a_server_that_hangs_during_a_wait_for_replicas_is_an_outage() {
    let server = Server::start();
    let (store, outages) = observed(&server, Duration::from_secs(4)).await;
    let write = WriteRequest::new(&key(), "data", HOUR, Expected::Absent);
    let write = tokio::spawn(store.write(write));
    while server.info("clients", "blocked_clients") == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    server.freeze();
    assert_unreplicated(&write.await.unwrap().unwrap_err());
    wait_for_reports(&outages, 1).await;
    server.thaw();
    wait_for_reports(&outages, 2).await;
}

/// The write takes most of the operation timeout, and its wait for replicas the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_replicas_ends_within_the_operation_timeout() {
    let server = Server::start();
    let timeout = Duration::from_secs(4);
    let store = RedisStore::builder(&server.url())
        .command_timeout(timeout)
        .operation_timeout(timeout)
        .wait_for_replicas(1);
    let store = connect(store, 4).await;
    let mut monitor = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    monitor.set_read_timeout(Some(timeout)).unwrap();
    monitor.write_all(b"MONITOR\r\n").unwrap();
    let mut lines = BufReader::new(monitor).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "+OK");
    server.freeze();
    let thaw = async {
        sleep(Duration::from_millis(2_500)).await;
        server.thaw();
    };
    let write = WriteRequest::new(&key(), "frozen", HOUR, Expected::Absent);
    let (written, ()) = tokio::join!(store.write(write), thaw);
    let error = written.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::Unreplicated { .. }),
        "{error}"
    );
    let wait = lines.find(|line| line.contains("\"WAIT\"")).unwrap();
    let millis = wait.rsplit('"').nth(1).unwrap();
    // Half of the time that is left.
    assert!(millis.parse::<u64>().unwrap() <= 750, "{wait}");
}
