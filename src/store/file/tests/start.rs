//! A store whose threads cannot be started.

use std::{
    fs, io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use super::super::{
    Durability, FileStore,
    async_ops::FileInner,
    disk::{dir_lock::DirectoryLock, os::OsDisk},
    recover,
    store::OpenStore,
};

type Work = Box<dyn FnOnce() + Send>;

/// Starts the commit thread, and fails for the maintenance thread.
fn spawn_first(name: &str, work: Work) -> io::Result<JoinHandle<()>> {
    match name {
        "file-commits" => thread::Builder::new().spawn(work),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

#[test]
fn if_a_thread_cannot_be_started_nothing_of_the_store_stays_open() {
    let name = format!("hyper-session-start-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let mut disk = OsDisk::create(&directory).unwrap();
    let (lock, _) = DirectoryLock::acquire(&mut disk).unwrap();
    let options = FileStore::builder(&directory).durability(Durability::Always);
    let engine = recover::open::open(Box::new(disk), options.options).unwrap();
    let inner = Arc::new(FileInner::new(engine));
    let weak = Arc::downgrade(&inner);
    let failed = OpenStore::start(inner, lock, spawn_first).map(drop);
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    assert!(weak.upgrade().is_none(), "a thread uses the store");
    drop(FileStore::open(&directory).unwrap());
    fs::remove_dir_all(&directory).unwrap();
}
