//! The `session-file` tool, as used by a script.

use std::{
    fs,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Command, Output, Stdio},
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
    // Also a compaction. Without the refusal, it would use the hint, and remove the damaged segment.
    let before = fs::read(&log).unwrap();
    let compacted = tool(&["compact"], scratch.path());
    assert_eq!(compacted.status.code(), Some(1), "{}", text(&compacted));
    let refused = String::from_utf8(compacted.stderr).unwrap();
    let remedy = "568 bytes are damaged at offset 2944; restore";
    assert!(refused.contains(remedy), "{refused}");
    assert!(fs::read(&log).unwrap() == before, "nothing was changed");
    let verified = tool(&["verify"], scratch.path());
    assert!(text(&verified).contains(damage), "{}", text(&verified));
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

#[tokio::test]
async fn a_repair_reports_the_exact_number_of_dropped_sessions() {
    let scratch = Scratch::new();
    let life = Duration::from_secs(3600);
    {
        let store = FileStore::open(scratch.path()).unwrap();
        // The second state of session 0 is damaged. Session 2 is touched after it, and session 3 written again.
        for number in [0, 1, 2, 3, 0, 3] {
            let data = vec![b'd'; 500];
            let request = WriteRequest::new(&key(number), data, life, Expected::Any);
            store.write(request).await.unwrap();
        }
        store.touch(&key(2), life).await.unwrap();
        store.destroy(&key(4)).await.unwrap();
        store.close().await.unwrap();
    }
    let log = scratch.path().join("0000000001.log");
    let mut bytes = fs::read(&log).unwrap();
    // After the head, the open frame and four records.
    bytes[36 + 68 + 4 * 568 + 300] ^= 1;
    fs::write(&log, bytes).unwrap();
    let verified = tool(&["verify"], scratch.path());
    let damage = "0000000001.log: 568 bytes are damaged at offset 2376; ";
    let found = format!("{damage}acknowledged data may be lost\n");
    assert!(text(&verified).contains(&found), "{}", text(&verified));
    let repaired = tool(&["repair"], scratch.path());
    let report = "2 sessions kept, 2 sessions and tombstones dropped\n";
    assert!(text(&repaired).contains(&found), "{}", text(&repaired));
    assert!(text(&repaired).ends_with(report), "{}", text(&repaired));
    let handled = format!("{damage}an earlier opening has handled it\nsound\n");
    for _ in 0..2 {
        let verified = tool(&["verify"], scratch.path());
        assert!(text(&verified).ends_with(&handled), "{}", text(&verified));
        let stats = text(&tool(&["stats"], scratch.path()));
        assert!(stats.contains("sessions 2\n"), "{stats}");
        let repaired = tool(&["repair"], scratch.path());
        let report = "2 sessions kept, 0 sessions and tombstones dropped\n";
        assert!(text(&repaired).ends_with(report), "{}", text(&repaired));
    }
    // Damage before the place that was handled is a loss of its own.
    let mut bytes = fs::read(&log).unwrap();
    bytes[36 + 68 + 300] ^= 1;
    fs::write(&log, bytes).unwrap();
    let verified = tool(&["verify"], scratch.path());
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    let lost = "568 bytes are damaged at offset 104; acknowledged data may be lost\n";
    assert!(text(&verified).contains(lost), "{}", text(&verified));
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

/// As `session-file dump DIR | head`.
#[tokio::test]
async fn a_reader_that_has_closed_the_output_stops_no_command() {
    let closed = || Stdio::from(OwnedFd::from(UnixStream::pair().unwrap().0));
    let scratch = Scratch::new();
    ten_sessions(scratch.path()).await;
    let log = scratch.path().join("0000000001.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[3000] ^= 1;
    fs::write(&log, bytes).unwrap();
    let run = |name: &str, directory: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_session-file"));
        let command = command.arg(name).arg(directory).stdout(closed());
        let output = command.output().unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(!printed.contains("panicked"), "{printed}");
        let silent = command.stdout(closed()).stderr(closed()).status().unwrap();
        (output.status.code(), silent.code())
    };
    let damaged = (Some(1), Some(1));
    for name in ["stats", "verify", "compact", "dump"] {
        assert_eq!(run(name, scratch.path()), damaged, "{name}");
    }
    let success = (Some(0), Some(0));
    for name in ["repair", "stats", "verify", "compact", "dump"] {
        assert_eq!(run(name, scratch.path()), success, "{name}");
    }
    let nowhere = scratch.path().join("nowhere");
    for name in COMMANDS {
        assert_eq!(run(name, &nowhere), (Some(4), Some(4)), "{name}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_output_that_cannot_be_written_is_an_error() {
    let scratch = Scratch::new();
    ten_sessions(scratch.path()).await;
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for name in COMMANDS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_session-file"));
        command.arg(name).arg(scratch.path()).stdout(full());
        let output = command.output().unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{printed}");
        let problem = "session-file: standard output: No space left on device";
        assert!(printed.starts_with(problem), "{printed}");
    }
}
