//! The store that a configuration opens.

use std::{fs, path::Path, time::Duration};

use http::StatusCode;
use hyper_session::{
    SessionConfig, Sessions,
    store::{Expected, FileStore, MemoryStore, MigratingStore, Store, WriteRequest},
};

use crate::support::{
    Browser, EventLog, config,
    scratch::{Scratch, key},
};

fn file_config(directory: &Path) -> SessionConfig {
    let mut config = config().store("file");
    config.stores.file.location = directory.into();
    config
}

#[tokio::test]
async fn sessions_flush_and_close_the_store_that_the_configuration_opened() {
    let scratch = Scratch::new();
    let config = file_config(scratch.path());
    let sessions = Sessions::builder(config).build().unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 1).unwrap()).await;
    let store = sessions.store::<FileStore>().unwrap();
    sessions.flush().await.unwrap();
    assert!(store.stats().syncs > 0);
    assert_eq!(store.stats().records, 1);
    assert!(sessions.store::<MemoryStore>().is_none());
    sessions.close().await.unwrap();
    sessions.close().await.unwrap();
    let reopened = FileStore::open(scratch.path()).expect("the directory is released");
    assert_eq!(reopened.stats().records, 1);
    assert!(store.count().await.is_err(), "the store is closed");
}

#[tokio::test]
async fn both_stores_of_a_migration_are_closed() {
    let (old, new) = (Scratch::new(), Scratch::new());
    let stores = [&old, &new].map(|scratch| FileStore::open(scratch.path()).unwrap());
    let [from, to] = stores.clone();
    let sessions = Sessions::new(config(), MigratingStore::new(from, to)).unwrap();
    sessions.close().await.unwrap();
    for (store, scratch) in stores.iter().zip([&old, &new]) {
        assert!(store.count().await.is_err(), "the store is closed");
        FileStore::open(scratch.path()).expect("the directory is released");
    }
}

#[tokio::test]
async fn a_store_that_stops_is_reported_once() {
    let (scratch, events) = (Scratch::new(), EventLog::default());
    let directory = scratch.path().join("sessions");
    let mut config = file_config(&directory);
    config.stores.file.durability = Some("always".into());
    let sessions = Sessions::builder(config).listener(events.listener());
    let mut browser = Browser::new(&sessions.build().unwrap());
    browser.visit(async |s| s.put("n", 1).unwrap()).await;
    fs::rename(&directory, scratch.path().join("moved")).unwrap();
    for _ in 0..3 {
        let visit = browser.request(async |s| s.load().await.map(|s| s.increment("n").unwrap()));
        assert_eq!(visit.await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let stopped = events.with_name("store_stopped");
    assert_eq!(stopped.len(), 1, "{stopped:?}");
    let reason = format!("file: {}: was moved or deleted", directory.display());
    assert!(stopped[0].text.starts_with(&reason), "{stopped:?}");
}

#[tokio::test]
async fn damage_that_an_opening_or_a_read_finds_is_reported() {
    for found_by_read in [false, true] {
        let (scratch, events) = (Scratch::new(), EventLog::default());
        let store = FileStore::open(scratch.path()).unwrap();
        let life = Duration::from_secs(3600);
        for number in 0..3 {
            let request = WriteRequest::new(&key(number), vec![7; 500], life, Expected::Any);
            store.write(request).await.unwrap();
        }
        store.close().await.unwrap();
        let log = scratch.path().join("0000000001.log");
        let mut bytes = fs::read(&log).unwrap();
        bytes[500] ^= 1;
        fs::write(&log, bytes).unwrap();
        if !found_by_read {
            fs::remove_file(log.with_extension("hint")).unwrap();
        }
        let mut config = file_config(scratch.path());
        config.stores.file.on_damage = Some("drop_uncertain".into());
        let sessions = Sessions::builder(config).listener(events.listener());
        let sessions = sessions.build().unwrap();
        assert_eq!(events.names().is_empty(), found_by_read);
        let store = sessions.store::<FileStore>().unwrap();
        for number in 0..3 {
            store.read(&key(number), None).await.unwrap();
        }
        let problems = events.with_name("store_problem");
        assert_eq!(problems.len(), 1, "{problems:?}");
        let text = format!("file: damaged: {}: ", log.display());
        assert!(problems[0].text.starts_with(&text), "{problems:?}");
    }
}

#[tokio::test]
async fn a_compaction_that_fails_is_reported() {
    let (scratch, events) = (Scratch::new(), EventLog::default());
    let sessions = Sessions::builder(file_config(scratch.path())).listener(events.listener());
    let sessions = sessions.build().unwrap();
    let store = sessions.store::<FileStore>().unwrap();
    let life = Duration::from_secs(3600);
    let write = |len: usize| {
        let request = WriteRequest::new(&key(1), vec![7; len], life, Expected::Any);
        store.write(request)
    };
    write(100).await.unwrap();
    // Nothing can be created under this name, so the next segment cannot.
    fs::create_dir(scratch.path().join("0000000002.log")).unwrap();
    write(1_500_000).await.unwrap();
    while events.with_name("store_problem").is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let problem = &events.with_name("store_problem")[0].text;
    assert!(
        problem.starts_with("file: compaction_failed: "),
        "{problem}"
    );
}
