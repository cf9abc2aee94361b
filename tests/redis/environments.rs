//! A store whose runtime is blocked or has ended, and a server that accepts only single commands.

use std::{
    future::{Future, poll_fn},
    sync::mpsc::{self, Receiver},
    task::Poll,
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use hyper_session::{
    id::StoreKey,
    store::{
        Expected, ReadOutcome, Store, StoreError, WriteOutcome, WriteRequest, redis::RedisStore,
    },
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::support::redis_servers::{
    Server,
    sessions::{HOUR, connect, create_session, key},
    wait_until,
};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Returns a store that belongs to `runtime`, and a session in it.
fn store_in(runtime: &Runtime, server: &Server) -> (RedisStore, StoreKey) {
    runtime.block_on(async {
        let builder = RedisStore::builder(&server.url());
        let builder = builder.command_timeout(Duration::from_millis(200));
        let store = builder.operation_timeout(Duration::from_millis(500));
        let store = store.connect().await.unwrap();
        let key = create_session(&store, HOUR).await;
        (store, key)
    })
}

async fn read_concurrently(
    store: &RedisStore,
    key: &StoreKey,
) -> Vec<Result<ReadOutcome, StoreError>> {
    let reads = join_all((0..20).map(|_| store.read(key, None)));
    let ended = timeout(Duration::from_secs(10), reads).await;
    ended.expect("every read ends within the operation timeout")
}

#[test]
fn operations_end_in_time_while_the_store_s_runtime_is_blocked_and_work_afterwards() {
    let server = Server::start();
    let (own, other) = (runtime(), runtime());
    let (store, key) = store_in(&own, &server);
    for _ in 0..2 {
        let reads = other.block_on(read_concurrently(&store, &key));
        assert!(reads.iter().all(Result::is_err), "{reads:?}");
    }
    wait_until("reads succeed again", Duration::from_secs(20), || {
        let reads = own.block_on(read_concurrently(&store, &key));
        reads.iter().all(Result::is_ok)
    });
}

#[test]
fn operations_end_in_time_after_the_store_s_runtime_has_ended() {
    let server = Server::start();
    let own = runtime();
    let (store, key) = store_in(&own, &server);
    drop(own);
    let reads = runtime().block_on(read_concurrently(&store, &key));
    assert!(reads.iter().all(Result::is_err), "{reads:?}");
}

/// Starts some reads, and then blocks its worker thread until `end` is dropped.
async fn block_thread(store: RedisStore, key: StoreKey, end: Receiver<()>) {
    let mut reads: Vec<_> = (0..8).map(|_| Box::pin(store.read(&key, None))).collect();
    for read in &mut reads {
        let started = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
        assert!(started.is_pending());
    }
    let _ = end.recv();
}

/// The runtime decides if the task that sends a batch stays on the blocked thread; hence several
/// rounds.
#[test]
fn a_blocked_thread_does_not_delay_operations_of_other_threads_beyond_their_timeout() {
    let server = Server::start();
    let own = Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .unwrap();
    let (store, key) = store_in(&own, &server);
    for _ in 0..4 {
        let (end, blocked) = mpsc::channel();
        let blocking = own.spawn(block_thread(store.clone(), key, blocked));
        thread::sleep(Duration::from_millis(20));
        let reads = (0..20).map(|_| {
            let store = store.clone();
            own.spawn(async move { store.read(&key, None).await })
        });
        let reads: Vec<_> = reads.collect();
        let ended = async { timeout(Duration::from_secs(60), join_all(reads)).await };
        let ended = own.block_on(ended);
        assert!(ended.is_ok(), "a read waits for the blocked thread");
        drop(end);
        own.block_on(blocking).unwrap();
    }
}

/// Writes and reads concurrently; all operations must succeed.
pub(crate) async fn write_and_read(store: &RedisStore) {
    let keys: Vec<StoreKey> = (0..40).map(|_| key()).collect();
    let request = |key| WriteRequest::new(key, "data", HOUR, Expected::Absent);
    let write = |key| store.write(request(key));
    for written in join_all(keys.iter().map(write)).await {
        assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    }
    for read in join_all(keys.iter().map(|key| store.read(key, None))).await {
        assert!(matches!(read, Ok(ReadOutcome::Found(_))), "{read:?}");
    }
}

/// The node has all slots, so a client without cluster support can use it. But all keys of a command
/// must be in one slot.
#[tokio::test]
async fn the_only_node_of_a_cluster_can_be_used_as_a_single_server() {
    let server = Server::start_with(&["--cluster-enabled", "yes"]);
    let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
    let mut words = vec!["CLUSTER", "ADDSLOTS"];
    words.extend(slots.iter().map(String::as_str));
    let slots = server.send(&words);
    assert_eq!(slots, "+OK\r\n");
    wait_until("the node has its slots", Duration::from_secs(10), || {
        server
            .send(&["CLUSTER", "INFO"])
            .contains("cluster_state:ok")
    });
    write_and_read(&connect(&server).await).await;
}
