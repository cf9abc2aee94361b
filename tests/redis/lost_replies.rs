//! What was sent and not answered: done once or not at all, and never said to be what it is not.

use std::{collections::HashMap, time::Duration};

use hyper_session::store::{
    Expected, ReadOutcome, Store, StoreError, Tag, TagStore, WriteOutcome,
    redis::{RedisError, RedisStore, TransientError},
};

use crate::support::redis_servers::{
    Server,
    proxy::{Network, Proxy},
    sessions::{HOUR, append, cause, connect, create_session, key, record, version, words},
};

/// A server, a proxy to it, a store behind the proxy, and one that is not.
struct Place {
    server: Server,
    proxy: Proxy,
    store: RedisStore,
    direct: RedisStore,
}

async fn place() -> Place {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let store = RedisStore::builder(&proxy.url())
        .pool_size(1)
        .command_timeout(Duration::from_millis(300))
        .on_outage(|_| ())
        .connect()
        .await
        .unwrap();
    let direct = connect(&server).await;
    Place {
        server,
        proxy,
        store,
        direct,
    }
}

impl Place {
    /// How many times the server has set a record's value.
    fn sets(&self) -> u32 {
        let stats = self.server.send(&["INFO", "commandstats"]);
        let calls = |command: &str| {
            let calls = stats.split(&format!("cmdstat_{command}:calls=")).nth(1);
            calls.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
        };
        calls("set") + calls("psetex")
    }

    /// Waits for the network to have done its work.
    async fn cut_happened(&self) {
        while !matches!(self.proxy.network(), Network::Normal | Network::Closed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_repeated_and_applied_once() {
    let place = place().await;
    for cut in [0, 1, 3] {
        let key = create_session(&place.store, HOUR).await;
        let seen = version(&place.store, &key).await;
        let (sets, repeated) = (place.sets(), place.store.stats().retries);
        place.proxy.set(Network::CutAfter(cut));
        let write = place
            .store
            .write(&key, "new".into(), HOUR, Expected::Version(seen));
        let Ok(WriteOutcome::Done(version)) = write.await else {
            panic!("the write was repeated in vain")
        };
        let now = record(&place.direct, &key).await;
        assert_eq!((&*now.data, now.version), (&b"new"[..], version));
        assert_eq!(place.sets() - sets, 1, "applied once");
        assert!(
            place.store.stats().retries > repeated,
            "the answer was lost"
        );
    }
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_not_a_conflict_with_itself() {
    let place = place().await;
    let key = key();
    let sets = place.sets();
    place.proxy.set(Network::CutAfter(0));
    let write = place
        .store
        .write(&key, "new".into(), HOUR, Expected::Absent)
        .await;
    assert!(matches!(write, Ok(WriteOutcome::Done(_))), "{write:?}");
    assert_eq!(place.sets() - sets, 1, "applied once");
}

/// Were it a conflict, the change would be applied to a record that has it already.
#[tokio::test]
async fn a_lost_answer_under_a_newer_record_is_unknown_and_no_conflict() {
    let place = place().await;
    let key = create_session(&place.store, HOUR).await;
    let seen = version(&place.store, &key).await;
    place.proxy.set(Network::CutAndClose(0));
    let write = place
        .store
        .write(&key, "ours".into(), HOUR, Expected::Version(seen));
    let meanwhile = async {
        place.cut_happened().await;
        append(&place.direct, &key, "theirs").await.unwrap();
        place.proxy.set(Network::Normal);
    };
    let (written, ()) = tokio::join!(write, meanwhile);
    let error = written.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::UnknownOutcome { .. }),
        "{error}"
    );
    assert_eq!(place.store.stats().outages, 0, "the server has answered");
    assert!(!error.is_outage(), "nobody else has told of it");
    assert_eq!(&*record(&place.direct, &key).await.data, b"ourstheirs ");
}

#[tokio::test]
async fn a_write_on_anything_is_not_repeated_when_its_answer_was_lost() {
    let place = place().await;
    let key = create_session(&place.store, HOUR).await;
    let repeated = place.store.stats().retries;
    place.proxy.set(Network::CutAfter(0));
    let error = place
        .store
        .write(&key, "ours".into(), HOUR, Expected::Any)
        .await
        .unwrap_err();
    let broken = RedisError::UnknownOutcome {
        last: TransientError::ConnectionLost,
    };
    assert_eq!(cause(&error).to_string(), broken.to_string());
    assert_eq!(place.store.stats().retries, repeated);
}

#[tokio::test]
async fn everything_else_is_repeated_until_it_is_answered() {
    let place = place().await;
    let key = create_session(&place.store, HOUR).await;
    let tag = Tag::new("user").unwrap();
    let lose = || place.proxy.set(Network::CutAfter(1));
    lose();
    assert!(matches!(
        place.store.read(&key, None).await.unwrap(),
        ReadOutcome::Found(_)
    ));
    lose();
    assert!(matches!(
        place.store.read(&key, Some(HOUR)).await.unwrap(),
        ReadOutcome::Found(_)
    ));
    lose();
    assert!(place.store.touch(&key, HOUR).await.unwrap());
    lose();
    assert!(place.store.tag(&key, &tag).await.unwrap());
    lose();
    assert_eq!(place.store.tagged(&tag).await.unwrap(), [key]);
    lose();
    place.store.destroy(&key).await.unwrap();
    assert_eq!(
        place.direct.read(&key, None).await.unwrap(),
        ReadOutcome::Gone
    );
    assert!(place.direct.tagged(&tag).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_hears_and_does_not_answer_is_given_up_in_time() {
    let place = place().await;
    let key = create_session(&place.store, HOUR).await;
    place.proxy.set(Network::DropReplies);
    let start = std::time::Instant::now();
    let error = place.store.touch(&key, HOUR).await.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::TimedOut { .. }),
        "{error}"
    );
    assert!(
        start.elapsed() < Duration::from_millis(3_500),
        "{:?}",
        start.elapsed()
    );
    place.proxy.set(Network::Normal);
    assert!(
        place.store.touch(&key, HOUR).await.unwrap(),
        "it recovers by itself"
    );
}

/// Six tasks append words through a network that delays and cuts; each word that was acknowledged
/// is there once, one whose outcome was unknown at most once, none twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_is_lost_or_doubled_in_foul_weather() {
    let place = place().await;
    let key = key();
    let empty = place
        .direct
        .write(&key, "".into(), HOUR, Expected::Absent)
        .await;
    assert!(matches!(empty, Ok(WriteOutcome::Done(_))));
    let writers: Vec<_> = (0..6)
        .map(|task| {
            let store = place.store.clone();
            tokio::spawn(async move { append_many(&store, &key, task).await })
        })
        .collect();
    let mut turn = 0_usize;
    while writers.iter().any(|writer| !writer.is_finished()) {
        place.proxy.set(match turn % 4 {
            0 => Network::CutAfter(turn % 7),
            1 => Network::Slow(Duration::from_millis(3)),
            2 => Network::CutAfter(40 + turn),
            _ => Network::Normal,
        });
        turn += 1;
        tokio::time::sleep(Duration::from_millis(17)).await;
    }
    place.proxy.set(Network::Normal);
    let mut found: HashMap<String, u32> = HashMap::new();
    for word in words(&place.direct, &key).await {
        *found.entry(word).or_default() += 1;
    }
    let (mut kept, mut unknown) = (0, 0);
    for writer in writers {
        for (word, acknowledged) in writer.await.unwrap() {
            let times = found.remove(&word).unwrap_or_default();
            match &acknowledged {
                Ok(()) => assert_eq!(times, 1, "{word} was acknowledged"),
                Err(error) => assert!(times <= 1, "{word} is doubled: {error}"),
            }
            kept += u32::from(acknowledged.is_ok());
            unknown += u32::from(acknowledged.is_err());
        }
    }
    assert!(found.is_empty(), "nobody wrote these: {found:?}");
    assert!(place.store.stats().retries > 0, "the network was fair");
    assert!(
        kept > 100 && unknown < kept,
        "{kept} acknowledged, {unknown} unknown"
    );
}

async fn append_many(
    store: &RedisStore,
    key: &hyper_session::id::StoreKey,
    task: u32,
) -> Vec<(String, Result<(), StoreError>)> {
    let mut done = Vec::new();
    for number in 0..30 {
        let word = format!("{task}.{number}");
        done.push((word.clone(), append(store, key, &word).await));
    }
    done
}
