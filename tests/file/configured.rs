//! The store that a configuration opens.

use hyper_session::{
    Sessions,
    store::{FileStore, MemoryStore, MigratingStore, Store},
};

use crate::support::{Browser, config, scratch::Scratch};

#[tokio::test]
async fn sessions_flush_and_close_the_store_that_the_configuration_opened() {
    let scratch = Scratch::new();
    let mut config = config().store("file");
    config.stores.file.location = scratch.path().into();
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
