//! Tags in Redis: a session is listed from the write that adds a tag, for as long as it lives.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use hyper_session::{
    Session, Sessions,
    id::StoreKey,
    store::{
        Expected, Expiry, ReadOutcome, RedisStore, Store, TagStore, WriteOutcome, WriteRequest,
        redis::{Outage, RedisError},
    },
};
use tokio::time::sleep;

use crate::support::{
    Browser, config,
    redis_servers::{
        Server,
        groups::Cluster,
        proxy::{Network, Proxy},
        sessions::{
            HOUR, cause, connect, create_session, create_tagged, key, record, tag, tags, version,
        },
        try_send,
    },
};

const HOUR_MS: i64 = 3_600_000;

/// Runs the checks that work on a single server and in a cluster.
pub(crate) async fn check_all(nodes: &[Server], store: &RedisStore) {
    an_entry_counts_only_if_its_record_has_the_tag(nodes, store).await;
    touches_alone_keep_sessions_listed_for_four_lifetimes(nodes, store).await;
    a_regenerated_session_is_always_listed(store).await;
    a_kept_expiry_is_that_of_the_replaced_record(nodes, store).await;
    adding_to_an_index_removes_obsolete_entries(nodes, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_on_a_single_server() {
    let server = Server::start();
    let store = connect(&server).await;
    check_all(&[server], &store).await;
}

/// Returns the master of a key.
fn node<'n>(nodes: &'n [Server], name: &str) -> &'n Server {
    let owner = nodes.iter().find(|node| {
        node.send(&["ROLE"]).contains("master") && node.send(&["EXISTS", name]).starts_with(':')
    });
    owner.expect("some master has the key")
}

fn integer(reply: &str) -> i64 {
    reply.trim_matches([':', '\r', '\n']).parse().unwrap()
}

fn pttl(nodes: &[Server], name: &str) -> i64 {
    integer(&node(nodes, name).send(&["PTTL", name]))
}

fn index_of(tag: &str) -> String {
    format!("session:tag:{tag}")
}

fn index_len(nodes: &[Server], tag: &str) -> i64 {
    let index = index_of(tag);
    integer(&node(nodes, &index).send(&["ZCARD", &index]))
}

/// Sets the time at which an index entry was last renewed to so many ms ago.
fn set_entry(nodes: &[Server], tag: &str, member: &[u8], age: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let score = (i64::try_from(now.as_millis()).unwrap() - age).to_string();
    let index = index_of(tag);
    let words = [b"ZADD", index.as_bytes(), score.as_bytes(), member];
    assert!(try_send(node(nodes, &index).port, &words).starts_with(b":"));
}

async fn an_entry_counts_only_if_its_record_has_the_tag(nodes: &[Server], store: &RedisStore) {
    let listed = create_tagged(store, HOUR, &["counts"]).await;
    let other = create_tagged(store, HOUR, &["count", "countss"]).await;
    let (untagged, absent) = (create_session(store, HOUR).await, key());
    let dead = create_tagged(store, HOUR, &["counts"]).await;
    store.destroy(&dead).await.unwrap();
    let members = [&untagged, &absent, &dead, &other].map(|key| &key.as_bytes()[..]);
    let members = [&members[..], &[b"foreign"]].concat();
    // Young entries may belong to a write in progress, old ones may not.
    for (age, len) in [(0, 6), (9_000, 6), (11_000, 1)] {
        for member in &members {
            set_entry(nodes, "counts", member, age);
        }
        assert_eq!(store.tagged(&tag("counts")).await.unwrap(), [listed]);
        assert_eq!(index_len(nodes, "counts"), len, "after {age} ms");
    }
    set_entry(nodes, "counts", listed.as_bytes(), 1_000_000);
    assert_eq!(store.tagged(&tag("counts")).await.unwrap(), [listed]);
    assert_eq!(index_len(nodes, "counts"), 1, "the record has the tag");
}

/// Lets an hour pass for the indexes of a session, but not for its record.
fn age_indexes(nodes: &[Server], key: &StoreKey, names: &[&str]) {
    for name in names {
        let index = index_of(name);
        let left = (pttl(nodes, &index) - HOUR_MS).max(1).to_string();
        node(nodes, &index).send(&["PEXPIRE", &index, &left]);
    }
    let name = format!("session:{key}");
    let owner = node(nodes, &name);
    let value = owner.get(&name);
    let until = i64::from_be_bytes(value[18..26].try_into().unwrap()) - HOUR_MS;
    let words = [
        &b"SETRANGE"[..],
        name.as_bytes(),
        b"18",
        &until.to_be_bytes(),
    ];
    assert!(try_send(owner.port, &words).starts_with(b":"));
}

/// An index lives for three lifetimes of the session and a few seconds.
async fn touches_alone_keep_sessions_listed_for_four_lifetimes(
    nodes: &[Server],
    store: &RedisStore,
) {
    let mut sessions = Vec::new();
    for number in 0..8 {
        let own = format!("touched {number}");
        let names = ["touched", &own];
        sessions.push((create_tagged(store, HOUR, &names).await, own));
    }
    let keys: HashSet<StoreKey> = sessions.iter().map(|(key, _)| *key).collect();
    for hour in 0..16 {
        for (key, own) in &sessions {
            let shared = if *key == sessions[0].0 {
                &["touched"][..]
            } else {
                &[]
            };
            age_indexes(nodes, key, &[&[&**own][..], shared].concat());
        }
        let touches = sessions
            .iter()
            .enumerate()
            .map(|(at, (key, _))| async move {
                match (at + hour) % 2 {
                    0 => assert!(store.touch(key, HOUR).await.unwrap()),
                    _ => {
                        let read = store.read(key, Some(HOUR)).await.unwrap();
                        assert!(matches!(read, ReadOutcome::Found(_)), "{read:?}");
                    }
                }
            });
        join_all(touches).await;
        for (key, own) in &sessions {
            let left = pttl(nodes, &format!("session:{key}"));
            assert!(pttl(nodes, &index_of(own)) > left, "in hour {hour}");
            assert_eq!(store.tagged(&tag(own)).await.unwrap(), [*key]);
        }
        let tagged = store.tagged(&tag("touched")).await.unwrap();
        assert_eq!(HashSet::from_iter(tagged), keys, "in hour {hour}");
    }
    let day = 24 * HOUR;
    let (key, own) = &sessions[0];
    assert!(store.touch(key, day).await.unwrap());
    assert!(pttl(nodes, &index_of(own)) > 24 * HOUR_MS, "a longer life");
}

/// Each listing finds the session under its old key, its new key or both, never the last fence.
async fn a_regenerated_session_is_always_listed(store: &RedisStore) {
    let mut current = create_tagged(store, HOUR, &["visitor", "other"]).await;
    let done = AtomicBool::new(false);
    let list = || async {
        while !done.load(Ordering::Relaxed) {
            let keys = store.tagged(&tag("visitor")).await.unwrap();
            assert!(!keys.is_empty(), "the session was missed");
        }
    };
    let regenerate = async {
        for _ in 0..150 {
            let new = create_tagged(store, HOUR, &["visitor"]).await;
            let fence = WriteRequest::new(&current, "fence", HOUR, Expected::Any);
            let fenced = store.write(fence).await.unwrap();
            assert!(matches!(fenced, WriteOutcome::Done(_)), "{fenced:?}");
            current = new;
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(regenerate, list(), list(), list());
    assert_eq!(store.tagged(&tag("visitor")).await.unwrap(), [current]);
    assert!(store.tagged(&tag("other")).await.unwrap().is_empty());
}

async fn a_kept_expiry_is_that_of_the_replaced_record(nodes: &[Server], store: &RedisStore) {
    let lists = [&[][..], &["kept"], &["kept", "more"], &["more"], &[]];
    let key = create_session(store, 10 * HOUR).await;
    let left = || pttl(nodes, &format!("session:{key}"));
    for names in lists {
        let seen = version(store, &key).await;
        let before = left();
        let request = WriteRequest::new(&key, "kept", Expiry::Keep, Expected::Version(seen));
        let written = store.write(request.tags(tags(names))).await.unwrap();
        assert!(matches!(written, WriteOutcome::Done(_)), "{written:?}");
        assert!((before - 60_000..=before).contains(&left()), "{names:?}");
        let record = record(store, &key).await;
        assert_eq!((&*record.data, record.tags), (&b"kept"[..], tags(names)));
    }
    let absent = crate::support::redis_servers::sessions::key();
    let destroyed = create_session(store, HOUR).await;
    store.destroy(&destroyed).await.unwrap();
    for (names, key) in lists
        .iter()
        .flat_map(|names| [(names, absent), (names, destroyed)])
    {
        for expected in [Expected::Absent, Expected::Any] {
            let request = WriteRequest::new(&key, "x", Expiry::Keep, expected);
            let written = store.write(request.tags(tags(names))).await.unwrap();
            assert_eq!(written, WriteOutcome::Gone);
        }
    }
    assert_eq!(
        store.read(&absent, None).await.unwrap(),
        ReadOutcome::Absent
    );
}

async fn adding_to_an_index_removes_obsolete_entries(nodes: &[Server], store: &RedisStore) {
    let live = create_tagged(store, HOUR, &["many"]).await;
    for _ in 0..60 {
        let ended = create_tagged(store, HOUR, &["many"]).await;
        store.destroy(&ended).await.unwrap();
        set_entry(nodes, "many", ended.as_bytes(), 11_000);
    }
    let len = index_len(nodes, "many");
    assert!((1..=5).contains(&len), "{len} entries for one session");
    assert_eq!(store.tagged(&tag("many")).await.unwrap(), [live]);
    assert_eq!(index_len(nodes, "many"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_listed_at_every_step_of_another_write() {
    let nodes = [Server::start()];
    let proxy = Proxy::to(nodes[0].port).await;
    let (slow, direct) = (
        RedisStore::connect(&proxy.url()).await.unwrap(),
        connect(&nodes[0]).await,
    );
    let key = create_tagged(&slow, HOUR, &["kept", "old"]).await;
    set_entry(&nodes, "kept", key.as_bytes(), 1_000_000);
    proxy.set(Network::Slow(Duration::from_millis(60)));
    let written = AtomicBool::new(false);
    let write = async {
        let request = WriteRequest::new(&key, "next", HOUR, Expected::Any);
        let outcome = slow.write(request.tags(tags(&["kept", "new"]))).await;
        written.store(true, Ordering::Relaxed);
        outcome.unwrap()
    };
    let list = async {
        let mut steps = HashSet::new();
        loop {
            let was_written = written.load(Ordering::Relaxed);
            let new = direct.tagged(&tag("new")).await.unwrap();
            let kept = direct.tagged(&tag("kept")).await.unwrap();
            let old = direct.tagged(&tag("old")).await.unwrap();
            assert_eq!(kept, [key]);
            assert!(!was_written || new == [key], "the write was acknowledged");
            assert!(new.is_empty() || old.is_empty(), "tags change together");
            steps.insert(new.len());
            if was_written {
                return steps;
            }
        }
    };
    let (outcome, steps) = tokio::join!(write, list);
    assert!(matches!(outcome, WriteOutcome::Done(_)), "{outcome:?}");
    assert_eq!(steps.len(), 2, "listed before and after");
    assert!(direct.tagged(&tag("old")).await.unwrap().is_empty());
}

/// A write relies on the entry of a tag that the record has, and then the record loses the tag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_record_has_changed_meanwhile_renews_its_index_entries() {
    let nodes = [Server::start()];
    let proxy = Proxy::to(nodes[0].port).await;
    let (slow, direct) = (
        RedisStore::builder(&proxy.url()).command_timeout(Duration::from_secs(3)),
        connect(&nodes[0]).await,
    );
    let slow = slow.operation_timeout(Duration::from_secs(20));
    let slow = slow.connect().await.unwrap();
    let key = create_tagged(&slow, HOUR, &["a"]).await;
    let seen = version(&direct, &key).await;
    let scripts = || {
        let stats = nodes[0].send(&["INFO", "commandstats"]);
        let calls = stats.split("cmdstat_evalsha:calls=").nth(1).unwrap();
        calls.split(',').next().unwrap().parse::<u32>().unwrap()
    };
    let before = scripts();
    proxy.set(Network::Slow(Duration::from_secs(1)));
    let request = WriteRequest::new(&key, "next", HOUR, Expected::Any);
    let write = slow.write(request.tags(tags(&["a", "b"])));
    let meanwhile = async {
        while scripts() == before {
            sleep(Duration::from_millis(5)).await;
        }
        let request = WriteRequest::new(&key, "untagged", HOUR, Expected::Version(seen));
        let written = direct.write(request).await.unwrap();
        assert!(matches!(written, WriteOutcome::Done(_)), "{written:?}");
        set_entry(&nodes, "a", key.as_bytes(), 11_000);
        assert!(direct.tagged(&tag("a")).await.unwrap().is_empty());
        assert_eq!(index_len(&nodes, "a"), 0);
    };
    let (written, ()) = tokio::join!(write, meanwhile);
    assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    for name in ["a", "b"] {
        assert_eq!(direct.tagged(&tag(name)).await.unwrap(), [key], "{name}");
    }
}

/// The entries of a delayed write may have been removed when the write goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_delayed_renews_its_index_entries() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let long = Duration::from_secs(30);
    let builder = RedisStore::builder(&proxy.url()).command_timeout(long);
    let store = builder.operation_timeout(long).connect().await.unwrap();
    create_tagged(&store, HOUR, &["warm"]).await;
    let adds = || {
        let stats = server.send(&["INFO", "commandstats"]);
        let calls = stats.split("cmdstat_zadd:calls=").nth(1).unwrap();
        calls.split(',').next().unwrap().parse::<u32>().unwrap()
    };
    let before = adds();
    proxy.set(Network::Slow(Duration::from_millis(5_100)));
    let key = key();
    let request = WriteRequest::new(&key, "late", HOUR, Expected::Absent);
    let write = store.write(request.tags(tags(&["late"])));
    let recover = async {
        sleep(Duration::from_millis(500)).await;
        proxy.set(Network::Normal);
    };
    let (written, ()) = tokio::join!(write, recover);
    assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    assert_eq!(adds() - before, 2, "added and renewed");
    assert_eq!(store.tagged(&tag("late")).await.unwrap(), [key]);
}

/// Each command waits for the one before it.
#[tokio::test]
async fn a_new_session_with_a_tag_takes_three_commands_and_a_new_id_takes_five() {
    let server = Server::start();
    let sessions = Sessions::new(config(), connect(&server).await).unwrap();
    let commands = || {
        let names = ["get", "mget", "eval", "evalsha"];
        names.map(|name| server.calls(name)).iter().sum::<u64>()
    };
    let mut counts = Vec::new();
    // The first visitor loads the scripts into the server.
    for user in ["user:1", "user:2"] {
        let mut browser = Browser::new(&sessions);
        let start = commands();
        let create = async |session: &Session| {
            session.put("name", user).unwrap();
            session.tag(user).unwrap();
        };
        browser.visit(create).await;
        let created = commands();
        let regenerate = async |session: &Session| session.regenerate().unwrap();
        browser.visit(regenerate).await;
        counts.push((created - start, commands() - created));
    }
    assert_eq!(counts[1], (3, 5));
}

#[tokio::test]
async fn unchanged_tags_cost_one_command_and_no_tags_cost_nothing() {
    let server = Server::start();
    let store = connect(&server).await;
    for names in [&[][..], &["a", "b"]] {
        let key = create_tagged(&store, HOUR, names).await;
        let mut seen = version(&store, &key).await;
        server.send(&["CONFIG", "RESETSTAT"]);
        for _ in 0..10 {
            let request = WriteRequest::new(&key, "next", HOUR, Expected::Version(seen));
            let written = store.write(request.tags(tags(names))).await.unwrap();
            let WriteOutcome::Done(version) = written else {
                panic!("{written:?}")
            };
            seen = version;
            assert!(store.touch(&key, HOUR).await.unwrap());
        }
        store.destroy(&key).await.unwrap();
        let stats = server.send(&["INFO", "commandstats"]);
        let scripts = stats.matches("cmdstat_eval:").count();
        assert!(stats.contains("cmdstat_evalsha:calls=2"), "{stats}");
        assert!(scripts <= 1 && !stats.contains("cmdstat_z"), "{stats}");
        let has_block = stats.contains("cmdstat_time");
        assert_eq!(has_block, !names.is_empty(), "{stats}");
    }
}

#[tokio::test]
async fn a_touch_whose_extension_fails_is_refused_only_if_the_session_could_be_missed() {
    let server = Server::start();
    let store = connect(&server).await;
    let key = create_tagged(&store, HOUR, &["a"]).await;
    let index = index_of("a");
    let nodes = [server];
    age_indexes(&nodes, &key, &["a"]);
    age_indexes(&nodes, &key, &["a"]);
    nodes[0].set(&index, b"not an index");
    // The entry would still outlive the session.
    assert!(store.touch(&key, HOUR).await.unwrap());
    let read = store.read(&key, Some(HOUR)).await.unwrap();
    assert!(matches!(read, ReadOutcome::Found(_)), "{read:?}");
    // The session would outlive its entry.
    let error = store.touch(&key, 10 * HOUR).await.unwrap_err();
    assert!(matches!(cause(&error), RedisError::ForeignValue), "{error}");
    let left = pttl(&nodes, &format!("session:{key}"));
    assert!(left <= HOUR_MS, "the touch was not applied");
}

/// Returns a key whose record has this master.
fn key_at(cluster: &Cluster, master: usize) -> StoreKey {
    let mut keys = std::iter::repeat_with(key);
    let is_at = |key: &StoreKey| cluster.master_of(&format!("session:{key}")) == master;
    keys.find(is_at).unwrap()
}

/// The write uses two masters. Its cleanup compares an entry with a record at the third one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cleanup_at_a_silent_server_starts_no_outage_and_is_not_counted() {
    let timeout = Duration::from_secs(4);
    let (cluster, outages) = (
        Cluster::start_with_replicas(0),
        Arc::new(Mutex::new(Vec::new())),
    );
    let log = Arc::clone(&outages);
    let store = RedisStore::builder(&cluster.url())
        .pool_size(1)
        .command_timeout(timeout / 2)
        .operation_timeout(timeout)
        .on_outage(move |outage| log.lock().unwrap().push(outage.clone()))
        .connect()
        .await
        .unwrap();
    let index = cluster.master_of(&index_of("a"));
    let (own, silent) = ((index + 1) % 3, (index + 2) % 3);
    let (first, second) = (key_at(&cluster, own), key_at(&cluster, own));
    let obsolete = key_at(&cluster, silent);
    set_entry(
        &cluster.0[index..=index],
        "a",
        obsolete.as_bytes(),
        1_000_000,
    );
    let write = async |key: &StoreKey| {
        let request = WriteRequest::new(key, "data", HOUR, Expected::Absent);
        let written = store.write(request.tags(tags(&["a"]))).await;
        assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    };
    let pause = |node: usize, time: Duration| {
        let paused = cluster.0[node].send(&["CLIENT", "PAUSE", &time.as_millis().to_string()]);
        assert_eq!(paused, "+OK\r\n");
    };
    pause(silent, 3 * timeout);
    // The cleanup begins after that, and ends with the operation.
    pause(own, timeout / 3);
    write(&first).await;
    assert_eq!(store.stats().outages, 0);
    // Tests of the server start the outage.
    while store.stats().outages == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    write(&second).await;
    let len = cluster.0[index].send(&["ZCARD", &index_of("a")]);
    assert_eq!(integer(&len), 3, "no cleanup has succeeded");
    while outages.lock().unwrap().len() < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    let outages = outages.lock().unwrap();
    let is_counted =
        |outage: &Outage| matches!(outage, Outage::Ended { failed, .. } if *failed > 0);
    assert!(!outages.iter().any(is_counted), "{outages:?}");
}

/// A listing that compares such a session again and again would take ten seconds.
const LISTING_LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_busy_session_that_has_lost_the_tag_delays_no_listing() {
    let server = Server::start();
    let store = connect(&server).await;
    let listed = create_tagged(&store, HOUR, &["a"]).await;
    let busy = create_tagged(&store, HOUR, &["a"]).await;
    let tag = tag("a");
    let write = || store.write(WriteRequest::new(&busy, "more", HOUR, Expected::Any));
    write().await.unwrap();
    let writing = async {
        loop {
            write().await.unwrap();
        }
    };
    tokio::select! {
        () = writing => {}
        tagged = tokio::time::timeout(LISTING_LIMIT, store.tagged(&tag)) => {
            assert_eq!(tagged.expect("within its limit").unwrap(), [listed]);
        }
    }
}

#[tokio::test]
async fn sessions_that_come_and_go_do_not_prolong_a_listing_without_limit() {
    let server = Server::start();
    let store = connect(&server).await;
    let listed = create_tagged(&store, HOUR, &["a"]).await;
    let tag = tag("a");
    let churn = async {
        loop {
            let key = create_tagged(&store, HOUR, &["a"]).await;
            store.destroy(&key).await.unwrap();
        }
    };
    let list = async {
        sleep(Duration::from_millis(100)).await;
        tokio::time::timeout(LISTING_LIMIT, store.tagged(&tag)).await
    };
    tokio::select! {
        () = churn => {}
        tagged = list => {
            let tagged = tagged.expect("within its limit").unwrap();
            assert!(tagged.contains(&listed), "{tagged:?}");
        }
    }
}
