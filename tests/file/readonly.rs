//! A directory that cannot be written to.
//!
//! Whoever is root writes wherever permissions forbid it, so the directory stands on a file system
//! that is mounted read-only, for a process of its own. Where mounting is not allowed this is not
//! tested, and the output says so.

use std::{path::Path, process::Command, time::Duration};

use bytes::Bytes;
use hyper_session::store::{
    Expected, FileStore, ReadOutcome, Store,
    file::{FileError, Inspection},
};

use crate::support::{
    scratch::{Scratch, key},
    test_name,
};

const DIRECTORY: &str = "FILE_READONLY_DIRECTORY";
const LIFE: Duration = Duration::from_secs(3600);

#[test]
fn a_read_only_directory_is_refused_by_name_and_nothing_in_it_is_lost() {
    let scratch = Scratch::new();
    let run = |script: String| {
        let mut command = Command::new("unshare");
        command
            .args(["-r", "-m", "sh", "-c", &script])
            .env(DIRECTORY, scratch.path());
        command.arg(std::env::current_exe().unwrap()).output()
    };
    let (mount, remount) = (
        format!("mount -t tmpfs tmpfs \"${DIRECTORY}\""),
        |how: &str| format!("mount -o remount,{how} \"${DIRECTORY}\""),
    );
    let whether = format!("{mount} && {}", remount("ro"));
    if !run(whether).is_ok_and(|done| done.status.success()) {
        eprintln!("nothing can be mounted here: not tested");
        return;
    }
    let step = |name: &str| {
        let test = test_name(module_path!(), name);
        format!("\"$0\" --exact {test} --include-ignored --nocapture")
    };
    let script = [
        mount,
        step("step_one_a_session_is_written"),
        remount("ro"),
        step("step_two_the_directory_is_refused"),
        remount("rw"),
        step("step_three_the_session_is_there"),
    ];
    let done = run(script.join(" && ")).unwrap();
    let (said, went) = (
        String::from_utf8_lossy(&done.stderr),
        String::from_utf8_lossy(&done.stdout),
    );
    assert!(done.status.success(), "{said}{went}");
    assert_eq!(went.matches("1 passed").count(), 3, "{went}");
}

fn directory() -> std::path::PathBuf {
    let base = std::env::var_os(DIRECTORY).expect("started by the test above");
    Path::new(&base).join("sessions")
}

#[tokio::test]
#[ignore = "a step of the test above, in the process that it starts"]
async fn step_one_a_session_is_written() {
    let store = FileStore::open(directory()).unwrap();
    let data = Bytes::from_static(b"kept");
    let written = store.write(&key(1), data, LIFE, Expected::Absent);
    written.await.unwrap();
    store.close().await.unwrap();
}

#[test]
#[ignore = "a step of the test above, in the process that it starts"]
fn step_two_the_directory_is_refused() {
    let directory = directory();
    let refused = [
        FileStore::open(&directory).unwrap_err(),
        Inspection::of(&directory, |_, _| {}).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, FileError::NotWritable { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains(&directory.display().to_string()), "{said}");
        assert!(said.contains("choose another directory"), "{said}");
    }
    let missing = directory.join("deeper");
    let error = FileStore::open(&missing).unwrap_err().to_string();
    assert!(error.contains(&missing.display().to_string()), "{error}");
}

#[tokio::test]
#[ignore = "a step of the test above, in the process that it starts"]
async fn step_three_the_session_is_there() {
    let store = FileStore::open(directory()).unwrap();
    let found = store.read(&key(1), None).await.unwrap();
    assert!(matches!(found, ReadOutcome::Found(record) if record.data == "kept"));
}
