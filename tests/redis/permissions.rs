//! Users that may not run all commands.

use std::{
    future::ready,
    time::{Duration, Instant},
};

use hyper_session::store::{
    Expected, Expiry, Store, TagStore, WriteRequest,
    conformance::{self, RealTime},
    redis::RedisStore,
};

use crate::{
    environments::write_and_read,
    support::redis_servers::{
        Server,
        groups::{Cluster, SentinelGroup},
        is_before_7,
        proxy::{Network, Proxy},
        sessions::{HOUR, create_tagged, tag},
    },
};

/// Returns the permissions for commands in the guide, such as `+get`.
fn documented_commands() -> Vec<&'static str> {
    let guide = include_str!("../../src/guide/operations.md");
    let user = guide.split("ACL SETUSER").nth(1).unwrap();
    let user = user.split("```").next().unwrap();
    user.split_whitespace()
        .filter(|word| word.starts_with('+'))
        .collect()
}

/// Creates the user `u` with the password `p`, and returns the URL for it.
fn url_of_user(server: &Server, commands: &[&str]) -> String {
    let user = ["ACL", "SETUSER", "u", "reset", "on", ">p", "~session:*"];
    assert_eq!(server.send(&[&user[..], commands].concat()), "+OK\r\n");
    format!("redis://u:p@127.0.0.1:{}", server.port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_permissions_are_enough_and_nothing_else_is_tried() {
    let server = Server::start();
    let url = url_of_user(&server, &[documented_commands(), vec!["+scan"]].concat());
    let (short, tombstone) = (Duration::from_millis(250), Duration::from_secs(2));
    let builder = RedisStore::builder(&url).tombstone_ttl(tombstone);
    let store = builder.connect().await.unwrap();
    let conformance = RealTime::new(|| ready(store.clone()), short, tombstone);
    conformance::run(&conformance).await.assert_passed();
    write_and_read(&store).await;
    let key = create_tagged(&store, HOUR, &["a"]).await;
    assert!(store.touch(&key, 10 * HOUR).await.unwrap());
    assert_eq!(store.tagged(&tag("a")).await.unwrap(), [key]);
    let keep = WriteRequest::new(&key, "kept", Expiry::Keep, Expected::Any);
    store.write(keep).await.unwrap();
    store.destroy(&key).await.unwrap();
    assert!(store.tagged(&tag("a")).await.unwrap().is_empty());
    let denied = server.send(&["ACL", "LOG"]);
    assert_eq!(denied, "*0\r\n", "nothing was denied");
}

/// The client underneath asks for its id and the server's version, and can do without.
const OPTIONAL: [&str; 3] = ["+mget", "+client|id", "+info"];

#[tokio::test]
async fn a_missing_permission_is_named_at_the_start() {
    let server = Server::start();
    let all = documented_commands();
    for missing in all.iter().filter(|command| !OPTIONAL.contains(command)) {
        let others: Vec<&str> = all.iter().copied().filter(|one| one != missing).collect();
        let url = url_of_user(&server, &others);
        let start = Instant::now();
        let error = RedisStore::connect(&url).await.unwrap_err();
        let text = format!("{error:?}");
        let name = missing.trim_start_matches('+');
        assert!(
            text.contains(&format!("may not run the command `{name}`")),
            "{name}: {text}"
        );
        // The startup timeout is ten seconds.
        assert!(start.elapsed() < Duration::from_secs(8), "at once");
    }
    let url = url_of_user(&server, &all);
    let error = RedisStore::builder(&url).prefix("other:").connect().await;
    let text = format!("{:?}", error.unwrap_err());
    assert!(text.contains("may not use keys with this prefix"), "{text}");
    assert_eq!(
        server.send(&["DBSIZE"]),
        ":0\r\n",
        "the check leaves nothing behind"
    );
}

#[tokio::test]
async fn a_user_without_permission_for_mget_reads_keys_one_by_one() {
    let server = Server::start();
    let user = ["ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-mget"];
    assert_eq!(server.send(&user), "+OK\r\n");
    let url = format!("redis://u:p@127.0.0.1:{}", server.port);
    write_and_read(&RedisStore::connect(&url).await.unwrap()).await;
}

/// Creates the user of [`url_of_user`] with these commands on a node.
fn create_user(node: &Server, commands: &[&str]) {
    url_of_user(node, commands);
}

fn cluster_url(cluster: &Cluster) -> String {
    format!("redis-cluster://u:p@127.0.0.1:{}", cluster.0[0].port)
}

/// Returns what the guide lists for a cluster with a near cache and scans.
fn documented_commands_of_clusters() -> Vec<&'static str> {
    let mut commands = documented_commands();
    commands.extend(["+cluster|slots", "+client|tracking", "+ping", "+scan"]);
    commands
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_nothing_is_tried_that_is_denied() {
    let cluster = Cluster::start();
    for node in &cluster.0 {
        create_user(node, &documented_commands_of_clusters());
    }
    let (short, tombstone) = (Duration::from_millis(250), Duration::from_secs(2));
    let builder = RedisStore::builder(&cluster_url(&cluster)).tombstone_ttl(tombstone);
    let store = builder.with_near_cache().connect().await.unwrap();
    let conformance = RealTime::new(|| ready(store.clone()), short, tombstone);
    conformance::run(&conformance).await.assert_passed();
    write_and_read(store.store()).await;
    for node in &cluster.0 {
        let denied = node.send(&["ACL", "LOG"]);
        assert_eq!(denied, "*0\r\n", "nothing was denied");
    }
}

/// Only one of three masters is wrong, and each of them in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_the_node_with_the_problem_is_named_at_the_start() {
    let cluster = Cluster::start();
    let all = documented_commands_of_clusters();
    let url = cluster_url(&cluster);
    let masters: Vec<&Server> = cluster.masters().collect();
    assert_eq!(masters.len(), 3);
    for bad in &masters {
        let server = format!("127.0.0.1:{} rejected the command", bad.port);
        for missing in ["+eval", "+set", "+mget"] {
            for node in &cluster.0 {
                create_user(node, &all);
            }
            let others: Vec<&str> = all.iter().copied().filter(|one| *one != missing).collect();
            create_user(bad, &others);
            let connected = RedisStore::connect(&url).await;
            if missing == "+mget" {
                write_and_read(&connected.unwrap()).await;
                continue;
            }
            let text = format!("{:?}", connected.unwrap_err());
            let name = missing.trim_start_matches('+');
            let command = format!("may not run the command `{name}`");
            assert!(text.contains(&server) && text.contains(&command), "{text}");
        }
        create_user(bad, &all);
        bad.send(&["CONFIG", "SET", "min-replicas-to-write", "3"]);
        let text = format!("{:?}", RedisStore::connect(&url).await.unwrap_err());
        assert!(
            text.contains(&server) && text.contains("NOREPLICAS"),
            "{text}"
        );
        bad.send(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    }
}

/// Tries connections of a user without this permission; returns the text of the error.
async fn error_without(server: &Server, missing: &str, all: &[&str]) -> String {
    let others: Vec<&str> = all.iter().copied().filter(|one| *one != missing).collect();
    let builder = RedisStore::builder(&url_of_user(server, &others));
    let error = match missing {
        "+wait" => builder.wait_for_replicas(1).connect().await.map(drop),
        _ => builder.with_near_cache().connect().await.map(drop),
    };
    format!("{:?}", error.unwrap_err())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_permission_of_an_option_is_named_at_the_start() {
    let server = Server::start();
    let mut all = documented_commands();
    all.extend(["+client|tracking", "+ping", "+wait"]);
    for missing in ["+client|tracking", "+ping", "+wait"] {
        let text = error_without(&server, missing, &all).await;
        let name = missing.trim_start_matches('+');
        // Redis 6.2 does not name the subcommand.
        let names = [name, name.split('|').next().unwrap()];
        let is_named = |name| text.contains(&format!("may not run the command `{name}`"));
        assert!(names.into_iter().any(is_named), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_a_missing_permission_for_its_map_is_named_at_the_start() {
    let cluster = Cluster::start();
    for node in &cluster.0 {
        create_user(node, &documented_commands());
    }
    let connected = RedisStore::connect(&cluster_url(&cluster)).await;
    let text = format!("{:?}", connected.unwrap_err());
    assert!(text.contains("may not run the command `cluster"), "{text}");
}

/// Returns the ids of the connections of the user `u`.
fn connections_of_user(server: &Server) -> Vec<String> {
    let list = server.send(&["CLIENT", "LIST"]);
    let of_user = list.lines().filter(|line| line.contains("user=u "));
    let ids = of_user.filter_map(|line| line.split_whitespace().next());
    ids.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_near_cache_without_permission_for_ping_keeps_its_connections() {
    let server = Server::start();
    let mut commands = documented_commands();
    commands.push("+client|tracking");
    let builder = RedisStore::builder(&url_of_user(&server, &commands)).pool_size(1);
    let store = builder.with_near_cache().build().unwrap();
    write_and_read(store.store()).await;
    let before = connections_of_user(&server);
    assert_eq!(before.len(), 1);
    // Longer than two heartbeats.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(connections_of_user(&server), before);
}

/// Returns how often the server has rejected `CLIENT TRACKING`. Redis 6.2 counts no subcommands.
fn rejected_trackings(server: &Server) -> Option<u64> {
    let stats = server.send(&["INFO", "commandstats"]);
    let tracking = stats.lines().find(|line| line.contains("tracking"))?;
    let rejected = tracking.split("rejected_calls=").nth(1)?;
    rejected.split(',').next()?.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_tracking_is_tried_again_when_the_connection_is_reopened() {
    let server = Server::start();
    let builder = RedisStore::builder(&url_of_user(&server, &documented_commands()));
    let store = builder.pool_size(1).with_near_cache().build().unwrap();
    write_and_read(store.store()).await;
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let denied = rejected_trackings(&server).unwrap_or_else(|| u64::from(is_before_7()));
    // The second attempt may follow the event of the first opening.
    assert!((1..=2).contains(&denied), "{denied} times");
    server.send(&["ACL", "SETUSER", "u", "+client|tracking", "+ping"]);
    server.send(&["CLIENT", "KILL", "USER", "u"]);
    wait_for_tracking(&server, "user=u ").await;
}

/// Waits until the server reports changes to one of these clients.
async fn wait_for_tracking(server: &Server, client: &str) {
    let start = Instant::now();
    let is_tracked = || {
        let list = server.send(&["CLIENT", "LIST"]);
        let mut clients = list.lines().filter(|line| line.contains(client));
        clients.any(|client| client.contains("flags=t"))
    };
    while !is_tracked() {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As a proxy may do until it is upgraded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracking_that_is_rejected_for_another_reason_is_tried_again() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    proxy.set(Network::NoTracking);
    let builder = RedisStore::builder(&proxy.url()).pool_size(1);
    let store = builder.with_near_cache().build().unwrap();
    write_and_read(store.store()).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let errors = server.send(&["INFO", "errorstats"]);
    let rejected = errors.split("errorstat_ERR:count=").nth(1).unwrap();
    let rejected: u32 = rejected.split('\r').next().unwrap().parse().unwrap();
    assert!(rejected <= 8, "{rejected} times");
    proxy.set(Network::Normal);
    wait_for_tracking(&server, "").await;
    assert_eq!(proxy.connections(), 1);
}

/// Returns the commands that the guide lists in the row that starts with `name`.
fn row_of_guide(name: &str) -> Vec<&'static str> {
    let guide = include_str!("../../src/guide/operations.md");
    let row = guide
        .lines()
        .find(|line| line.starts_with(&format!("| {name}")));
    let words = row.unwrap().split([' ', '`']);
    words.filter(|word| word.starts_with('+')).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_permissions_are_enough_with_sentinel_and_replicas() {
    let group = SentinelGroup::start();
    let row = |name| {
        row_of_guide(name)
            .into_iter()
            .map(|command| command.replace("\\|", "|"))
    };
    let at_master: Vec<String> = documented_commands()
        .into_iter()
        .map(str::to_owned)
        .chain(row("`wait_for_replicas`"))
        .chain(row("Sentinel, at the masters"))
        .collect();
    let at_master: Vec<&str> = at_master.iter().map(String::as_str).collect();
    create_user(&group.master, &at_master);
    let at_sentinel: Vec<String> = row("Sentinel, at the sentinels").collect();
    for sentinel in &group.sentinels {
        let user = ["ACL", "SETUSER", "s", "reset", "on", ">sp"].map(str::to_owned);
        let words = [&user[..], &at_sentinel].concat();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(sentinel.send(&words), "+OK\r\n");
    }
    let url = group.url().replace("://", "://u:p@");
    let url = format!("{url}&sentinelUsername=s&sentinelPassword=sp");
    let builder = RedisStore::builder(&url).wait_for_replicas(1);
    let store = builder.connect().await.unwrap();
    write_and_read(&store).await;
    for server in group.sentinels.iter().chain([&group.master]) {
        assert_eq!(server.send(&["ACL", "LOG"]), "*0\r\n", "nothing was denied");
    }
}
