//! Encryption of session data at rest.

use std::{error::Error as _, fs, path::Path, time::Duration};

use bytes::Bytes;
use hyper_session::{
    seal::{KeyRing, SealKey},
    store::{
        Expected, FileStore, ReadOutcome, Store, Tag, TagStore, Tags, WriteRequest,
        file::{FileError, FileStoreBuilder},
    },
};

use crate::support::scratch::{Scratch, key};

const LIFE: Duration = Duration::from_secs(3600);
const SECRET: &[u8] = b"{\"card\":\"4111 1111 1111 1111\"}";

fn ring(secret: &str) -> KeyRing {
    KeyRing::new(SealKey::from_text(secret).unwrap())
}

fn encrypted(directory: &Path) -> FileStoreBuilder {
    FileStore::builder(directory).encrypt_with(&ring("a long and random secret, number one"))
}

fn tag() -> Tag {
    Tag::new("user-4711").unwrap()
}

async fn write(store: &FileStore, number: u64) {
    let data = Bytes::from_static(SECRET);
    let mut tags = Tags::new();
    tags.insert(&tag()).unwrap();
    let request = WriteRequest::new(&key(number), data, LIFE, Expected::Any);
    store.write(request.tags(tags)).await.unwrap();
}

async fn reads(store: &FileStore, number: u64) -> bool {
    match store.read(&key(number), None).await.unwrap() {
        ReadOutcome::Found(record) => {
            record.data == SECRET
                && record.tags.contains("user-4711")
                && store.tagged(&tag()).await.unwrap() == [key(number)]
        }
        ReadOutcome::Absent | ReadOutcome::Gone => false,
    }
}

#[tokio::test]
async fn encrypted_data_and_tags_are_not_in_the_files_and_are_read_unchanged() {
    let scratch = Scratch::new();
    let store = encrypted(scratch.path()).open().unwrap();
    write(&store, 1).await;
    // Compaction and closing write hints.
    store.compact().await.unwrap();
    store.close().await.unwrap();
    for entry in fs::read_dir(scratch.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(
            !bytes
                .windows(6)
                .any(|part| part == b"\"card\"" || part == b"user-4")
        );
    }
    let store = encrypted(scratch.path()).open().unwrap();
    assert!(reads(&store, 1).await);
    store.compact().await.unwrap();
    assert!(reads(&store, 1).await);
}

#[tokio::test]
async fn unencrypted_data_is_read_and_encrypted_by_the_next_write() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    write(&store, 1).await;
    drop(store);
    let store = encrypted(scratch.path()).open().unwrap();
    assert!(reads(&store, 1).await);
    write(&store, 1).await;
    assert!(reads(&store, 1).await);
}

#[tokio::test]
async fn without_the_key_encrypted_data_is_an_error_and_not_an_empty_session() {
    let scratch = Scratch::new();
    let store = encrypted(scratch.path()).open().unwrap();
    write(&store, 1).await;
    drop(store);
    let without = FileStore::builder(scratch.path());
    let another = without
        .clone()
        .encrypt_with(&ring("a long and random secret, number two"));
    for builder in [without, another] {
        let store = builder.open().unwrap();
        assert_eq!(store.tagged(&tag()).await.unwrap(), []);
        let refused = store.read(&key(1), None).await.unwrap_err();
        let source = refused.source().unwrap().downcast_ref::<FileError>();
        assert!(
            matches!(source, Some(FileError::NoKeys | FileError::Open(_))),
            "{refused}"
        );
        assert!(!refused.is_unreadable(), "the session is not lost");
        assert!(format!("{refused:?}").contains("key ring"), "{refused:?}");
        store.compact().await.unwrap();
    }
    let store = encrypted(scratch.path()).open().unwrap();
    assert!(reads(&store, 1).await, "the tags are found again");
}
