//! Sessions migrate between the stores of the crate while requests continue.

use std::time::Duration;

use hyper_session::{
    id::{SessionId, StoreKey},
    store::{
        Expected, FileStore, MemoryStore, MigratingStore, ReadOutcome, RedisStore, Store, Tag,
        Tags, WriteOutcome, WriteRequest, file::Durability,
    },
};

use crate::support::{redis_servers::Server, scratch::Scratch};

const HOUR: Duration = Duration::from_secs(3600);
const SESSIONS: usize = 10;
const REQUESTS: usize = 10;

/// Creates sessions in `from`. Two machines that migrate them and one that is prepared count in each
/// of them concurrently. At the end `to` has all sessions.
async fn migrate_without_loss(from: impl Store + Clone, to: impl Store + Clone) {
    let tag = Tag::new("ada").unwrap();
    let mut tags = Tags::new();
    tags.insert(&tag).unwrap();
    let mut keys = Vec::new();
    for _ in 0..SESSIONS {
        let key = SessionId::generate().unwrap().store_key();
        let request = WriteRequest::new(&key, "0", HOUR, Expected::Absent);
        let created = from.write(request.tags(tags.clone())).await;
        assert!(matches!(created, Ok(WriteOutcome::Done(_))), "{created:?}");
        keys.push(key);
    }
    let migrating = || MigratingStore::new(from.clone(), to.clone());
    let machines = [
        migrating(),
        migrating(),
        MigratingStore::prepare(from.clone(), to.clone()),
    ];
    let counting: Vec<_> = keys
        .iter()
        .flat_map(|key| machines.iter().map(|machine| (machine.clone(), *key)))
        .map(|(machine, key)| tokio::spawn(count(machine, key)))
        .collect();
    for done in counting {
        done.await.unwrap();
    }
    for key in &keys {
        assert_eq!(number(&to, key).await, machines.len() * REQUESTS);
    }
    for index in [to.tags().unwrap(), &migrating()] {
        let mut tagged = index.tagged(&tag).await.unwrap();
        tagged.sort_unstable();
        keys.sort_unstable();
        assert_eq!(tagged, keys);
    }
}

async fn number(store: &impl Store, key: &StoreKey) -> usize {
    match store.read(key, None).await.unwrap() {
        ReadOutcome::Found(record) => std::str::from_utf8(&record.data).unwrap().parse().unwrap(),
        other => panic!("no record: {other:?}"),
    }
}

async fn count(store: MigratingStore, key: StoreKey) {
    let mut done = 0;
    while done < REQUESTS {
        let ReadOutcome::Found(record) = store.read(&key, None).await.unwrap() else {
            panic!("the session is gone");
        };
        let number: usize = std::str::from_utf8(&record.data).unwrap().parse().unwrap();
        let (next, expected) = ((number + 1).to_string(), Expected::Version(record.version));
        let request = WriteRequest::new(&key, next, HOUR, expected);
        match store.write(request.tags(record.tags)).await.unwrap() {
            WriteOutcome::Done(_) => done += 1,
            WriteOutcome::Conflict(_) => {}
            WriteOutcome::Gone => panic!("the session is gone"),
        }
    }
}

fn file(scratch: &Scratch) -> FileStore {
    let builder = FileStore::builder(scratch.path());
    builder.durability(Durability::Os).open().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_memory_to_file() {
    let scratch = Scratch::new();
    migrate_without_loss(MemoryStore::new(), file(&scratch)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_file_to_redis() {
    let (scratch, server) = (Scratch::new(), Server::start());
    let redis = RedisStore::connect(&server.url()).await.unwrap();
    migrate_without_loss(file(&scratch), redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_redis_to_redis() {
    let (one, two) = (Server::start(), Server::start());
    let from = RedisStore::connect(&one.url()).await.unwrap();
    let to = RedisStore::connect(&two.url()).await.unwrap();
    migrate_without_loss(from, to).await;
}
