//! One file a session becomes one record a session.

use std::{
    collections::BTreeMap,
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
    seal::{KeyRing, SealKey},
    session::adonis_file,
    store::{
        FileStore, ReadOutcome, Store,
        file::{ImportedFile, Importer},
    },
};
use serde_json::{Map, Value};

use crate::support::{
    Browser, config,
    scratch::{Scratch, key},
};

const AGE: Duration = Duration::from_secs(7200);

/// The number in the file's name, and the content without what surrounds it.
fn numbered(file: ImportedFile<'_>) -> Option<(StoreKey, Bytes)> {
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
    let before_all_clocks = UNIX_EPOCH - AGE;
    for (name, changed) in [
        ("2.txt", SystemTime::now() - AGE * 2),
        ("4.txt", before_all_clocks),
    ] {
        let stale = File::create(old.path().join(name)).unwrap();
        stale.set_modified(changed).unwrap();
    }
    fs::write(old.path().join("strange.txt"), "no number").unwrap();
    fs::write(old.path().join("3.json"), "not a session").unwrap();
    let store = FileStore::open(new.path()).unwrap();
    let import = Importer::from(old.path(), AGE);
    let came = import.run(&store, numbered).await.unwrap();
    assert_eq!(
        (came.imported, came.expired, came.refused, came.present),
        (1, 2, 1, 0)
    );
    let again = import.run(&store, numbered).await.unwrap();
    assert_eq!(
        (again.imported, again.present),
        (0, 1),
        "a second import changes nothing"
    );
    let ReadOutcome::Found(record) = store.read(&key(1), None).await.unwrap() else {
        panic!("the session came over");
    };
    assert_eq!(record.data, "{\"a\":1}");
    assert_eq!(
        fs::read_dir(old.path()).unwrap().count(),
        5,
        "the old files are left alone"
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
    let came = Importer::from(old.path(), AGE);
    let came = came.run(&store, |file| {
        assert_eq!(file.changed, clock.now(), "what counts as its beginning");
        numbered(file)
    });
    assert_eq!(came.await.unwrap().imported, 1);
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
async fn a_session_too_long_for_the_store_does_not_keep_the_others_out() {
    let old = Scratch::new();
    for (name, len) in [("1", 10), ("2", 14 << 10), ("3", 20 << 10), ("4", 10)] {
        fs::write(old.path().join(name).with_extension("txt"), vec![b'x'; len]).unwrap();
    }
    let import = Importer::from(old.path(), AGE);
    // Sealed, the second does not fit any more.
    for (sealed, fit) in [(false, 3), (true, 2)] {
        let new = Scratch::new();
        let mut store = FileStore::builder(new.path()).segment_bytes(16 << 10);
        if sealed {
            store = store.encrypt_with(&KeyRing::new(SealKey::generate().unwrap()));
        }
        let store = store.open().unwrap();
        let came = import.run(&store, numbered).await.unwrap();
        assert_eq!((came.imported, came.refused), (fit, 4 - fit));
    }
}

/// The session files that the real AdonisJS wrote, as a directory of them.
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
        .stores(StoreRegistry::new().with("old", store.clone()))
        .build()
        .unwrap()
}

#[tokio::test]
async fn files_of_adonis_come_over_with_their_data() {
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
    let came = Importer::from(old.path(), AGE)
        .run(&store, adonis_file)
        .await
        .unwrap();
    assert_eq!((came.imported, came.refused), (files.len() as u64, 4));
    let all = sessions_in(&store).collection();
    for (name, mut content) in files {
        let id = name.strip_suffix(".txt").unwrap();
        let found = all
            .get(&StoreKey::from_foreign_id(id))
            .await
            .unwrap()
            .unwrap();
        let data = content["message"].as_object_mut().unwrap();
        data.remove("__flash__");
        assert_eq!(&found.all::<Map<String, Value>>().unwrap(), data, "{name}");
    }
}

#[tokio::test]
async fn a_visitor_takes_over_the_session_of_an_old_cookie_once() {
    let (old, new) = (Scratch::new(), Scratch::new());
    let file = r#"{"message":{"user":{"id":7}},"purpose":"f49225e2"}"#;
    fs::write(old.path().join("f49225e2.txt"), file).unwrap();
    let store = FileStore::open(new.path()).unwrap();
    let import = Importer::from(old.path(), AGE);
    import.run(&store, adonis_file).await.unwrap();
    let sessions = sessions_in(&store);
    let all = sessions.collection();
    let key = StoreKey::from_foreign_id("f49225e2");
    let mut browser = Browser::new(&sessions);
    let take_over = async |session: &Session| {
        let data: Value = all.get(&key).await.unwrap().unwrap().all().unwrap();
        session.merge(&data).unwrap();
        all.destroy(&key).await.unwrap();
    };
    browser.visit(take_over).await;
    let user = browser.visit(async |session| session.get::<u64>("user.id"));
    assert_eq!(user.await.unwrap(), Some(7));
    assert!(all.get(&key).await.unwrap().is_none());
    let again = import.run(&store, adonis_file).await.unwrap();
    assert_eq!(
        (again.imported, again.present),
        (0, 1),
        "what has ended stays so"
    );
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    let missing = scratch.path().join("nowhere");
    let refused = Importer::from(&missing, AGE)
        .run(&store, numbered)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("nowhere"), "{refused}");
}
