//! Directories that format version 1 wrote. An opening converts them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use hyper_session::{
    clock::{Clock, Timestamp},
    seal::{KeyRing, SealKey},
    store::{
        FileStore, ReadOutcome, Store, Tag, TagStore,
        file::{FileError, FileStoreBuilder, Inspection},
    },
};

use crate::support::scratch::{Scratch, key};

const NAMES: [&str; 3] = ["closed", "encrypted", "killed"];
/// The time at which the directories were written, in milliseconds since the Unix epoch.
const WRITTEN: u64 = 4_000_000_002_000;

/// A session by its number: version, turn of the last write, tags.
type Sessions = BTreeMap<u64, (u64, u64, Vec<String>)>;

struct Expected {
    live: Sessions,
    destroyed: Vec<u64>,
}

fn data_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/file_store_version_1")
}

fn expected(name: &str) -> Expected {
    let text = fs::read_to_string(data_directory().join("expected.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let of = |field: &str| all[name][field].as_array().unwrap().clone();
    let session = |row: serde_json::Value| {
        let (number, version, turn, tags): (u64, _, _, _) = serde_json::from_value(row).unwrap();
        (number, (version, turn, tags))
    };
    Expected {
        live: of("live").into_iter().map(session).collect(),
        destroyed: of("destroyed")
            .iter()
            .filter_map(serde_json::Value::as_u64)
            .collect(),
    }
}

/// Copies a directory of the test data.
fn copy(name: &str) -> Scratch {
    let scratch = Scratch::new();
    for entry in fs::read_dir(data_directory().join(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, scratch.path().join(path.file_name().unwrap())).unwrap();
    }
    scratch
}

fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path());
    let is_log = |path: &PathBuf| path.extension().is_some();
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    paths.filter(is_log).map(read).collect()
}

fn ring(secret: &str) -> KeyRing {
    KeyRing::new(SealKey::from_text(secret).unwrap())
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(WRITTEN))
}

fn builder(name: &str, directory: &Path, clock: &Clock) -> FileStoreBuilder {
    let builder = FileStore::builder(directory).clock(clock.clone());
    if name == "encrypted" {
        builder.encrypt_with(&ring("a long and random secret, number one"))
    } else {
        builder
    }
}

/// Returns the data of a session, as the program that wrote the directories computed it.
fn data(number: u64, turn: u64) -> Bytes {
    let len = if number < 40 { number * 17 % 90 } else { 700 };
    let text = "x".repeat(len as usize);
    format!("{{\"session\":{number},\"turn\":{turn},\"text\":\"{text}\"}}").into()
}

async fn check(store: &FileStore, expected: &Expected) {
    let mut tagged: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for number in 0..60 {
        match (
            store.read(&key(number), None).await.unwrap(),
            expected.live.get(&number),
        ) {
            (ReadOutcome::Found(record), Some((version, turn, tags))) => {
                assert_eq!(record.version.get(), *version, "session {number}");
                assert_eq!(record.data, data(number, *turn), "session {number}");
                let found: Vec<&str> = record.tags.iter().collect();
                assert_eq!(found, *tags, "session {number}");
                for tag in tags {
                    tagged.entry(tag).or_default().push(number);
                }
            }
            (ReadOutcome::Gone, None) => assert!(expected.destroyed.contains(&number)),
            (ReadOutcome::Absent, None) => assert!(!expected.destroyed.contains(&number)),
            (found, expected) => panic!("session {number} is {found:?}, not {expected:?}"),
        }
    }
    for (tag, numbers) in tagged {
        let mut listed = store.tagged(&Tag::new(tag).unwrap()).await.unwrap();
        let mut keys: Vec<_> = numbers.into_iter().map(key).collect();
        listed.sort();
        keys.sort();
        assert_eq!(listed, keys, "{tag}");
    }
}

#[tokio::test]
async fn every_session_is_read_and_converted() {
    for name in NAMES {
        let (scratch, clock, expected) = (copy(name), clock(), expected(name));
        let inspection = Inspection::read(scratch.path(), |_, _| {}).unwrap();
        assert_eq!(inspection.findings(), [], "{name}");
        let tagged = inspection
            .entries()
            .iter()
            .filter(|e| e.tagged && !e.destroyed);
        let alive = tagged.filter(|entry| entry.expires > clock.now());
        let with_tags = expected
            .live
            .values()
            .filter(|(_, _, tags)| !tags.is_empty());
        assert_eq!(alive.count(), with_tags.count(), "{name}");
        for opening in ["first", "second"] {
            let store = builder(name, scratch.path(), &clock).open().unwrap();
            check(&store, &expected).await;
            store.close().await.unwrap();
            let inspection = Inspection::read(scratch.path(), |_, _| {}).unwrap();
            assert_eq!(inspection.findings(), [], "{name}, {opening} opening");
        }
        for (path, bytes) in files(scratch.path()) {
            let version = if path.extension() == Some("hint".as_ref()) {
                3
            } else {
                2
            };
            assert_eq!(bytes[8], version, "{} has the new version", path.display());
        }
        // Sessions 25 to 29, and one more, were touched and live longer.
        clock.advance(Duration::from_secs(2 * 3600));
        let store = builder(name, scratch.path(), &clock).open().unwrap();
        for number in expected.live.keys() {
            let found = store.read(&key(*number), None).await.unwrap();
            let is_touched = (25..30).contains(number) || (*number, name) == (2, "closed");
            assert_eq!(
                matches!(found, ReadOutcome::Found(_)),
                is_touched,
                "{number}"
            );
        }
    }
}

#[tokio::test]
async fn tagged_records_are_converted_only_with_their_key() {
    let (scratch, clock) = (copy("encrypted"), clock());
    let before = files(scratch.path());
    let without = FileStore::builder(scratch.path()).clock(clock.clone());
    let another = without
        .clone()
        .encrypt_with(&ring("a long and random secret, number two"));
    let refused = without.open().unwrap_err();
    assert!(matches!(refused, FileError::NoKeys), "{refused}");
    assert_eq!(files(scratch.path()), before, "nothing was changed");
    let refused = another.open().unwrap_err();
    assert!(matches!(refused, FileError::Open(_)), "{refused}");
    assert!(
        refused.to_string().contains("add the key to the key ring"),
        "{refused}"
    );
    assert_eq!(files(scratch.path()), before, "nothing was changed");
    let store = builder("encrypted", scratch.path(), &clock).open().unwrap();
    check(&store, &expected("encrypted")).await;
    store.close().await.unwrap();
    for bytes in files(scratch.path()).values() {
        let tag = bytes.windows(6).any(|part| part == b"user-1");
        assert!(!tag, "tags of encrypted records are encrypted");
    }
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn the_tool_verifies_and_converts_the_old_version() {
    let run = |command: &str, directory: &Path| {
        let tool = std::process::Command::new(env!("CARGO_BIN_EXE_session-file"))
            .arg(command)
            .arg(directory)
            .output()
            .unwrap();
        assert!(tool.status.success(), "{command}: {tool:?}");
        String::from_utf8(tool.stdout).unwrap()
    };
    let scratch = copy("killed");
    let before = files(scratch.path());
    assert_eq!(run("verify", scratch.path()), "sound\n");
    let stats = run("stats", scratch.path());
    assert!(stats.starts_with("format 1\nsessions 35\n"), "{stats}");
    assert_eq!(files(scratch.path()), before, "verify changes nothing");
    run("repair", scratch.path());
    assert!(run("stats", scratch.path()).starts_with("format 2\nsessions 35\n"));
    let store = builder("killed", scratch.path(), &clock()).open().unwrap();
    check(&store, &expected("killed")).await;
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn the_tool_repairs_an_encrypted_directory_with_its_key() {
    let scratch = copy("encrypted");
    let damaged = scratch.path().join("0000000004.log");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[1600] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let before = files(scratch.path());
    let open = || builder("encrypted", scratch.path(), &clock()).open();
    let refused = open().unwrap_err();
    assert!(matches!(refused, FileError::Damaged { .. }), "{refused}");
    let repair = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_session-file"))
            .args(["repair"])
            .args(arguments)
            .arg(scratch.path())
            .env("STORE_KEY", "a long and random secret, number one")
            .env("OTHER_KEY", "a long and random secret, number two")
            .output()
            .unwrap()
    };
    for (arguments, code) in [
        (&["--key-env", "NO_KEY"][..], 2),
        (&[], 4),
        (&["--key-env", "OTHER_KEY"], 4),
    ] {
        let output = repair(arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        let needed = ["--key-env", "environment variable NO_KEY: not set"];
        assert!(needed.iter().any(|part| text.contains(part)), "{text}");
        assert!(!text.contains("long and random"), "{text}");
        assert_eq!(files(scratch.path()), before, "{arguments:?}");
    }
    let repaired = repair(&["--key-env", "OTHER_KEY", "--key-env", "STORE_KEY"]);
    assert_eq!(repaired.status.code(), Some(0), "{repaired:?}");
    let text = String::from_utf8(repaired.stdout).unwrap();
    assert!(text.contains(" sessions kept, "), "{text}");
    let keys = ["one", "two"].map(|number| format!("a long and random secret, number {number}"));
    let previous = SealKey::from_text(&keys[0]).unwrap();
    let ring = ring(&keys[1]).with_previous(previous).unwrap();
    let store = FileStore::builder(scratch.path())
        .clock(clock())
        .encrypt_with(&ring);
    let store = store.open().unwrap();
    let (mut kept, expected) = (0, expected("encrypted"));
    for number in 0..60 {
        if let ReadOutcome::Found(record) = store.read(&key(number), None).await.unwrap() {
            let (version, turn, tags) = &expected.live[&number];
            assert_eq!(record.version.get(), *version, "session {number}");
            assert_eq!(record.data, data(number, *turn), "session {number}");
            assert_eq!(record.tags.iter().collect::<Vec<_>>(), *tags);
            kept += 1;
        }
    }
    assert!((1..expected.live.len()).contains(&kept), "{kept} kept");
}
