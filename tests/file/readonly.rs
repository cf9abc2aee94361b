//! A directory that cannot be written to.
//!
//! Root may write regardless of permissions. The directory is therefore on a file system that is
//! mounted read-only, in a separate process. If mounting is not allowed, the test is skipped, and
//! prints that.

use std::{path::Path, process::Command, time::Duration};

use bytes::Bytes;
use hyper_session::store::{
    Expected, FileStore, ReadOutcome, Store, WriteRequest,
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
        |mode: &str| format!("mount -o remount,{mode} \"${DIRECTORY}\""),
    );
    let probe = format!("{mount} && {}", remount("ro"));
    if !run(probe).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounting is not allowed");
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
    let output = run(script.join(" && ")).unwrap();
    let (stderr, stdout) = (
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout),
    );
    assert!(output.status.success(), "{stderr}{stdout}");
    assert_eq!(stdout.matches("1 passed").count(), 3, "{stdout}");
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
    let written = store.write(WriteRequest::new(&key(1), data, LIFE, Expected::Absent));
    written.await.unwrap();
    store.close().await.unwrap();
}

#[test]
#[ignore = "a step of the test above, in the process that it starts"]
fn step_two_the_directory_is_refused() {
    let directory = directory();
    let error = FileStore::open(&directory).unwrap_err();
    assert!(matches!(error, FileError::NotWritable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&directory.display().to_string()), "{text}");
    assert!(text.contains("choose another directory"), "{text}");
    let inspection = Inspection::read(&directory, |_, _| {}).expect("reading is enough");
    assert!(inspection.is_sound());
    assert_eq!(inspection.entries().len(), 1);
    let missing = directory.join("deeper");
    let error = FileStore::open(&missing).unwrap_err().to_string();
    assert!(error.contains(&missing.display().to_string()), "{error}");
}

#[tokio::test]
#[ignore = "a step of the test above, in the process that it starts"]
async fn step_three_the_session_is_there() {
    let store = FileStore::open(directory()).unwrap();
    let read = store.read(&key(1), None).await.unwrap();
    assert!(matches!(read, ReadOutcome::Found(record) if record.data == "kept"));
}
