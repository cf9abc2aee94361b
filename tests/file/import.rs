//! Import of session files.

use std::{
    collections::BTreeMap,
    error::Error as _,
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hyper_session::{
    Session, Sessions,
    clock::{Clock, Timestamp},
    config::StoreRegistry,
    id::StoreKey,
    import::{ImportedFile, Importer, adonis},
    seal::{KeyRing, SealKey},
    store::{FileStore, ReadOutcome, Store},
};
use serde_json::{Map, Value};

use crate::support::{
    Browser, config,
    scratch::{Scratch, key},
};

const AGE: Duration = Duration::from_secs(7200);

/// Decodes a file whose name is a number.
fn decode_numbered(file: ImportedFile<'_>) -> Option<(StoreKey, Bytes)> {
    let number = file.name.parse().ok()?;
    Some((
        key(number),
        Bytes::copy_from_slice(file.content.trim_ascii()),
    ))
}

#[tokio::test]
async fn sessions_keep_their_remaining_time() {
    let (old, new) = (Scratch::new(), Scratch::new());
    fs::write(old.path().join("1.txt"), "{\"a\":1}\n").unwrap();
    let before_epoch = UNIX_EPOCH - AGE;
    for (name, changed) in [
        ("2.txt", SystemTime::now() - AGE * 2),
        ("4.txt", before_epoch),
    ] {
        let stale = File::create(old.path().join(name)).unwrap();
        stale.set_modified(changed).unwrap();
    }
    fs::write(old.path().join("strange.txt"), "no number").unwrap();
    fs::write(old.path().join("3.json"), "not a session").unwrap();
    let store = FileStore::open(new.path()).unwrap();
    let import = Importer::new(old.path(), AGE);
    let report = import.run(&store, decode_numbered).await.unwrap();
    assert_eq!(
        (
            report.imported,
            report.expired,
            report.refused,
            report.present
        ),
        (1, 2, 1, 0)
    );
    let again = import.run(&store, decode_numbered).await.unwrap();
    assert_eq!(
        (again.imported, again.present),
        (0, 1),
        "a second import changes nothing"
    );
    let ReadOutcome::Found(record) = store.read(&key(1), None).await.unwrap() else {
        panic!("the session is missing");
    };
    assert_eq!(record.data, "{\"a\":1}");
    assert_eq!(
        fs::read_dir(old.path()).unwrap().count(),
        5,
        "the old files are not changed"
    );
}

#[tokio::test]
async fn a_file_from_the_future_lives_no_longer_than_its_age() {
    let (old, new) = (Scratch::new(), Scratch::new());
    let file = File::create(old.path().join("1.txt")).unwrap();
    let clock = Clock::manual(Timestamp::from_millis(1_000_000_000_000));
    let tomorrow = clock.now().saturating_add(Duration::from_secs(86_400));
    file.set_modified(tomorrow.into()).unwrap();
    let store = FileStore::builder(new.path()).clock(clock.clone());
    let store = store.open().unwrap();
    let import = Importer::new(old.path(), AGE);
    let report = import.run(&store, |file| {
        assert_eq!(file.changed, clock.now(), "the creation time");
        decode_numbered(file)
    });
    assert_eq!(report.await.unwrap().imported, 1);
    clock.advance(AGE - Duration::from_millis(1));
    let read = store.read(&key(1), None).await.unwrap();
    assert!(matches!(read, ReadOutcome::Found(_)), "{read:?}");
    clock.advance(Duration::from_millis(1));
    assert_eq!(
        store.read(&key(1), None).await.unwrap(),
        ReadOutcome::Absent
    );
}

#[tokio::test]
async fn a_session_too_long_for_the_store_does_not_stop_the_import() {
    let old = Scratch::new();
    for (name, len) in [("1", 10), ("2", 7 << 10), ("3", 10 << 10), ("4", 10)] {
        fs::write(old.path().join(name).with_extension("txt"), vec![b'x'; len]).unwrap();
    }
    let import = Importer::new(old.path(), AGE);
    // The second file fits only without encryption.
    for (encrypted, fit) in [(false, 3), (true, 2)] {
        let new = Scratch::new();
        let mut store = FileStore::builder(new.path()).segment_bytes(16 << 10);
        if encrypted {
            store = store.encrypt_with(&KeyRing::new(SealKey::generate().unwrap()));
        }
        let store = store.open().unwrap();
        let report = import.run(&store, decode_numbered).await.unwrap();
        assert_eq!((report.imported, report.refused), (fit, 4 - fit));
    }
}

/// Writes the session files of the real AdonisJS into `directory`. Returns their contents by name.
fn adonis_files(directory: &Path) -> BTreeMap<String, Value> {
    let text = include_str!("../data/adonis_session_files.json");
    let files: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
    for (name, content) in &files {
        fs::write(directory.join(name), content).unwrap();
    }
    let parse = |content: String| serde_json::from_str(&content).unwrap();
    files.into_iter().map(|(n, c)| (n, parse(c))).collect()
}

fn sessions_in(store: &FileStore) -> Sessions {
    Sessions::builder(config().store("old"))
        .stores(StoreRegistry::new().register("old", store.clone()))
        .build()
        .unwrap()
}

#[tokio::test]
async fn files_of_adonis_are_imported_with_their_data() {
    let (old, new) = (Scratch::new(), Scratch::new());
    let files = adonis_files(old.path());
    fs::write(
        old.path().join("other.txt"),
        r#"{"message":{},"purpose":"x"}"#,
    )
    .unwrap();
    fs::write(
        old.path().join("text.txt"),
        r#"{"message":"a","purpose":"text"}"#,
    )
    .unwrap();
    fs::write(old.path().join("torn.txt"), r#"{"message":{"a":1},"purp"#).unwrap();
    let dated = r#"{"message":{},"purpose":"dated","expiryDate":"2100-01-01"}"#;
    fs::write(old.path().join("dated.txt"), dated).unwrap();
    let store = FileStore::open(new.path()).unwrap();
    let report = Importer::new(old.path(), AGE)
        .run(&store, adonis::read_session)
        .await
        .unwrap();
    assert_eq!((report.imported, report.refused), (files.len() as u64, 4));
    let all = sessions_in(&store).collection();
    for (name, mut content) in files {
        let id = name.strip_suffix(".txt").unwrap();
        let session = all
            .get(&StoreKey::from_foreign_id(id))
            .await
            .unwrap()
            .unwrap();
        let data = content["message"].as_object_mut().unwrap();
        data.remove("__flash__");
        assert_eq!(
            &session.all::<Map<String, Value>>().unwrap(),
            data,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_visitor_takes_over_the_session_of_an_old_cookie_once() {
    let (old, new) = (Scratch::new(), Scratch::new());
    let file = r#"{"message":{"user":{"id":7}},"purpose":"f49225e2"}"#;
    fs::write(old.path().join("f49225e2.txt"), file).unwrap();
    let store = FileStore::open(new.path()).unwrap();
    let import = Importer::new(old.path(), AGE);
    import.run(&store, adonis::read_session).await.unwrap();
    let sessions = sessions_in(&store);
    let all = sessions.collection();
    let key = StoreKey::from_foreign_id("f49225e2");
    let mut browser = Browser::new(&sessions);
    let take_over = async |session: &Session| {
        let data: Value = all.get(&key).await.unwrap().unwrap().all().unwrap();
        session.merge(data).unwrap();
        all.destroy(&key).await.unwrap();
    };
    browser.visit(take_over).await;
    let user = browser.visit(async |session| session.get::<u64>("user.id"));
    assert_eq!(user.await.unwrap(), Some(7));
    assert!(all.get(&key).await.unwrap().is_none());
    let again = import.run(&store, adonis::read_session).await.unwrap();
    assert_eq!(
        (again.imported, again.present),
        (0, 1),
        "a destroyed session stays destroyed"
    );
}

#[tokio::test]
async fn a_missing_directory_is_an_error_that_names_it() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    let missing = scratch.path().join("nowhere");
    let error = Importer::new(&missing, AGE)
        .run(&store, decode_numbered)
        .await
        .unwrap_err();
    let source = error.source().unwrap().to_string();
    assert!(source.contains("nowhere"), "{source}");
}
