//! The `session-file` tool, as used by a script.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use hyper_session::{
    seal::{KeyRing, SealKey},
    store::{Expected, FileStore, Store, Tag, Tags, WriteRequest},
};

use crate::support::scratch::{Scratch, key};

pub(crate) const COMMANDS: [&str; 5] = ["stats", "verify", "repair", "compact", "dump"];

pub(crate) fn tool(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-file"));
    command.args(arguments).arg(directory).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Creates ten sessions that are written ten times each, and destroys one.
async fn ten_sessions(directory: &Path) {
    let store = FileStore::open(directory).unwrap();
    for turn in 0..100 {
        let data = vec![b'd'; 500];
        let life = Duration::from_secs(3600);
        let mut tags = Tags::new();
        if turn >= 95 {
            tags.insert(&Tag::new("user-7").unwrap()).unwrap();
        }
        let request = WriteRequest::new(&key(turn % 10), data, life, Expected::Any);
        store.write(request.tags(tags)).await.unwrap();
    }
    store.destroy(&key(3)).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_sound_directory_is_counted_verified_compacted_and_listed() {
    let scratch = Scratch::new();
    ten_sessions(scratch.path()).await;
    let stats = tool(&["stats"], scratch.path());
    assert_eq!(stats.status.code(), Some(0));
    assert!(text(&stats).contains("sessions 9\n"), "{}", text(&stats));
    assert!(text(&stats).contains("tagged 5\n"), "{}", text(&stats));
    let before = fs::metadata(scratch.path().join("0000000001.log"))
        .unwrap()
        .len();
    let verified = tool(&["verify"], scratch.path());
    assert_eq!(
        (verified.status.code(), text(&verified).as_str()),
        (Some(0), "sound\n")
    );
    let after = fs::metadata(scratch.path().join("0000000001.log"))
        .unwrap()
        .len();
    assert_eq!(before, after, "verify changes nothing");
    let compacted = tool(&["compact"], scratch.path());
    assert_eq!(compacted.status.code(), Some(0));
    let left: u64 = fs::read_dir(scratch.path())
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    assert!(left < before / 5, "{before} bytes became {left}");
    let dumped = tool(&["dump"], scratch.path());
    assert_eq!(text(&dumped).lines().count(), 11, "{}", text(&dumped));
    let tagged = text(&dumped).matches(" yes record").count();
    assert_eq!(tagged, 5, "{}", text(&dumped));
    assert!(
        !text(&dumped).contains(&key(1).to_string()),
        "keys are hidden"
    );
    let shown = tool(&["dump", "--keys"], scratch.path());
    assert!(
        text(&shown).contains(&key(1).to_string()),
        "`--keys` shows keys"
    );
}

#[tokio::test]
async fn statistics_count_the_records_of_each_key() {
    let scratch = Scratch::new();
    let key_of = |digit: &str| SealKey::from_text(&format!("{digit:-^40}")).unwrap();
    for (digit, numbers) in [("1", 0..4), ("2", 4..7)] {
        let ring = KeyRing::new(key_of(digit));
        let store = FileStore::builder(scratch.path())
            .encrypt_with(&ring)
            .open();
        let store = store.unwrap();
        for number in numbers {
            let life = Duration::from_secs(3600);
            let request = WriteRequest::new(&key(number), b"d".to_vec(), life, Expected::Any);
            store.write(request).await.unwrap();
        }
        store.close().await.unwrap();
    }
    let stats = text(&tool(&["stats"], scratch.path()));
    assert!(stats.contains("\nencrypted 7\n"), "{stats}");
    let line = |digit, records| format!("\nencrypted-with {} {records}\n", key_of(digit).id());
    for (digit, records) in [("1", 4), ("2", 3)] {
        assert!(stats.contains(&line(digit, records)), "{stats}");
    }
    // A compaction with keys encrypts all records with the first one, if it has their keys.
    let compact = |names: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_session-file"));
        command.arg("compact").arg(scratch.path());
        for name in names {
            command.args(["--key-env", name]);
        }
        for digit in ["1", "2"] {
            command.env(format!("KEY_{digit}"), format!("{digit:-^40}"));
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        (text(&output), text(&tool(&["stats"], scratch.path())))
    };
    for names in [&[][..], &["KEY_2"]] {
        let (printed, stats) = compact(names);
        assert!(stats.contains(&line("1", 4)), "{stats}");
        let note = "4 records need a key that is not the first one\n";
        assert_eq!(printed.ends_with(note), !names.is_empty(), "{printed}");
    }
    let (printed, stats) = compact(&["KEY_2", "KEY_1"]);
    assert!(!printed.contains("need"), "{printed}");
    assert!(stats.contains(&line("2", 7)), "{stats}");
    assert!(!stats.contains(&key_of("1").id().to_string()), "{stats}");
}

#[tokio::test]
async fn damage_use_and_absence_have_different_exit_codes() {
    let scratch = Scratch::new();
    ten_sessions(scratch.path()).await;
    let log = scratch.path().join("0000000001.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[3000] ^= 1;
    fs::write(&log, bytes).unwrap();
    let verified = tool(&["verify"], scratch.path());
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    let damage =
        "0000000001.log: 568 bytes are damaged at offset 2944; acknowledged data may be lost";
    assert!(text(&verified).contains(damage), "{}", text(&verified));
    // An opening follows the same rules.
    let verified = FileStore::builder(scratch.path())
        .verify_on_open(true)
        .open();
    let refused = verified.unwrap_err().to_string();
    assert!(
        refused.contains("568 bytes are damaged at offset 2944"),
        "{refused}"
    );
    let compacted = tool(&["compact"], scratch.path());
    assert_eq!(compacted.status.code(), Some(1), "{}", text(&compacted));
    let repaired = tool(&["repair"], scratch.path());
    assert_eq!(repaired.status.code(), Some(0), "{}", text(&repaired));
    // All other sessions were written again after the damage.
    let report = "9 sessions kept, 0 sessions and tombstones dropped\n";
    assert!(text(&repaired).ends_with(report), "{}", text(&repaired));
    let verified = tool(&["verify"], scratch.path());
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    let store = FileStore::open(scratch.path()).unwrap();
    for command in ["verify", "repair", "compact"] {
        assert_eq!(tool(&[command], scratch.path()).status.code(), Some(3));
    }
    drop(store);
    let nowhere = scratch.path().join("nowhere");
    for command in COMMANDS {
        assert_eq!(tool(&[command], &nowhere).status.code(), Some(4));
    }
    assert!(!nowhere.exists());
    fs::create_dir(&nowhere).unwrap();
    fs::write(nowhere.join("else.log"), "a file of another program").unwrap();
    for command in COMMANDS {
        assert_eq!(tool(&[command], &nowhere).status.code(), Some(4));
    }
    assert_eq!(
        fs::read_dir(&nowhere).unwrap().count(),
        1,
        "other files are not changed"
    );
    assert_eq!(tool(&["restore"], scratch.path()).status.code(), Some(2));
}

/// A hint file shows that its segment existed. The lock file shows nothing.
#[tokio::test]
async fn deleted_segments_are_reported_if_their_hint_files_are_left() {
    let scratch = Scratch::new();
    ten_sessions(scratch.path()).await;
    let files = |end: &str| {
        let entries = fs::read_dir(scratch.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let found = paths.filter(|path| path.extension().is_some_and(|e| e == end));
        found.collect::<Vec<_>>()
    };
    assert_eq!((files("log").len(), files("hint").len()), (1, 1));
    fs::remove_file(&files("log")[0]).unwrap();
    for lock in [true, false] {
        if !lock {
            fs::remove_file(scratch.path().join("lock")).unwrap();
        }
        let verified = tool(&["verify"], scratch.path());
        assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
        let missing = "0000000001.log: the segment is missing; acknowledged data may be lost\n";
        let text = text(&verified);
        assert!(
            text.contains(missing) && text.ends_with("no segments\nnot sound\n"),
            "{text}"
        );
    }
    let refused = FileStore::open(scratch.path()).unwrap_err().to_string();
    assert!(refused.contains("the segment is missing"), "{refused}");
    assert_eq!(files("hint").len(), 1, "a refused opening changes nothing");
    let repaired = tool(&["repair"], scratch.path());
    assert_eq!(repaired.status.code(), Some(0), "{}", text(&repaired));
    let verified = tool(&["verify"], scratch.path());
    assert_eq!(text(&verified), "sound\n");
    for path in files("log").iter().chain(&files("hint")) {
        fs::remove_file(path).unwrap();
    }
    let verified = tool(&["verify"], scratch.path());
    assert_eq!(text(&verified), "no segments\nsound\n");
}

#[tokio::test]
async fn a_backup_is_verified_without_a_change() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("sessions");
    ten_sessions(&directory).await;
    // A backup need not have the lock file.
    fs::remove_file(directory.join("lock")).unwrap();
    let names = || {
        let entries = fs::read_dir(&directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for command in ["verify", "stats", "dump"] {
        assert_eq!(tool(&[command], &directory).status.code(), Some(0));
        assert_eq!(names(), before, "{command} creates no file");
    }
}

#[tokio::test]
async fn a_directory_of_a_newer_version_is_named_as_such() {
    let scratch = Scratch::new();
    ten_sessions(scratch.path()).await;
    let log = scratch.path().join("0000000001.log");
    let mut bytes = fs::read(&log).unwrap();
    // A newer version also has other checksums.
    bytes[8] = 3;
    bytes[28..32].fill(0);
    fs::write(&log, bytes).unwrap();
    for command in COMMANDS {
        let output = tool(&[command], scratch.path());
        assert_eq!(output.status.code(), Some(4));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("written by a newer version"), "{text}");
        assert!(text.contains("format version is 3"), "{text}");
    }
}
