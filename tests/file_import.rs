//! One file a session becomes one record a session.
#![cfg(all(feature = "file", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test a panic is the verdict"
)]

use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hyper_session::store::{
    FileStore, Read, Store,
    file::{Import, SessionFile},
};

mod file_support;
use file_support::{Scratch, key};

const AGE: Duration = Duration::from_secs(7200);

/// The number in the file's name, and the content without what surrounds it.
fn numbered(file: SessionFile<'_>) -> Option<(hyper_session::id::Key, Bytes)> {
    let number = file.name.parse().ok()?;
    Some((
        key(number),
        Bytes::copy_from_slice(file.content.trim_ascii()),
    ))
}

#[tokio::test]
async fn sessions_come_over_with_the_time_they_have_left() {
    let (old, new) = (Scratch::new(), Scratch::new());
    fs::write(old.path().join("1.txt"), "{\"a\":1}\n").unwrap();
    fs::write(old.path().join("2.txt"), "{\"b\":2}").unwrap();
    let stale = File::options()
        .write(true)
        .open(old.path().join("2.txt"))
        .unwrap();
    stale.set_modified(SystemTime::now() - AGE * 2).unwrap();
    fs::write(old.path().join("strange.txt"), "no number").unwrap();
    fs::write(old.path().join("3.json"), "not a session").unwrap();
    let store = FileStore::open(new.path()).unwrap();
    let import = Import::from(old.path(), AGE);
    let came = import.run(&store, numbered).await.unwrap();
    assert_eq!(
        (came.imported, came.expired, came.refused, came.present),
        (1, 1, 1, 0)
    );
    let again = import.run(&store, numbered).await.unwrap();
    assert_eq!(
        (again.imported, again.present),
        (0, 1),
        "a second import changes nothing"
    );
    let Read::Found(record) = store.read(&key(1), None).await.unwrap() else {
        panic!("the session came over");
    };
    assert_eq!(record.data, "{\"a\":1}");
    assert_eq!(
        fs::read_dir(old.path()).unwrap().count(),
        4,
        "the old files are left alone"
    );
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    let missing = scratch.path().join("nowhere");
    let refused = Import::from(&missing, AGE)
        .run(&store, numbered)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("nowhere"), "{refused}");
}
