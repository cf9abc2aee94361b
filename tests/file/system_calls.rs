//! The system calls of a store, recorded by `strace` or made to fail by it. Without `strace`, the tests
//! are skipped.

use std::{fs, path::Path, process::Command, time::Duration};

use hyper_session::store::{Expected, FileStore, ReadOutcome, Store, WriteRequest};

use crate::support::{
    scratch::{Scratch, key},
    test_name,
};

const DIRECTORY: &str = "FILE_SYSTEM_CALLS_DIRECTORY";

/// Number of files that the thread of the store opens before it. No other thread opens as many, so a fault can be
/// injected into this thread alone.
const OPENED_BEFORE: usize = 500;

/// The traced process; does nothing unless a test has started it.
#[tokio::test]
async fn the_process_that_is_traced() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    for _ in 0..OPENED_BEFORE {
        fs::File::open("/dev/null").unwrap();
    }
    let store = FileStore::builder(Path::new(&directory)).cache_bytes(0);
    let store = store.open().unwrap();
    let (data, ttl) = ("data", Duration::from_secs(60));
    let request = WriteRequest::new(&key(1), data, ttl, Expected::Any);
    store.write(request).await.unwrap();
    let read = store.read(&key(1), None).await.unwrap();
    assert!(matches!(read, ReadOutcome::Found(record) if record.data == data));
    store.close().await.unwrap();
}

/// Runs the process with these options of `strace`. Returns the trace, or `None` if `strace` is missing.
fn trace(options: &[&str], scratch: &Scratch, directory: &Path) -> Option<String> {
    let output = scratch.path().join("trace");
    let strace = || {
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-o"]).arg(&output).args(options);
        command
    };
    let works = strace().arg("true").output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: strace is missing or not allowed");
        return None;
    }
    let test = test_name(module_path!(), "the_process_that_is_traced");
    let mut process = strace();
    process.arg(std::env::current_exe().unwrap());
    process.args(["--exact", &test, "--test-threads=1"]);
    let result = process.env(DIRECTORY, directory).output().unwrap();
    assert!(result.status.success(), "{result:?}");
    Some(fs::read_to_string(output).unwrap())
}

/// Also a new directory whose parents are new must be there after a power failure. An opening that was killed may have
/// created some of them.
#[test]
fn the_parents_of_a_new_store_are_synced() {
    for existing in ["", "a", "a/b/c"] {
        let scratch = Scratch::new();
        let directory = scratch.path().join("a/b/c");
        fs::create_dir_all(scratch.path().join(existing)).unwrap();
        let options = ["-e", "trace=fsync"];
        let Some(first) = trace(&options, &scratch, &directory) else {
            return;
        };
        let again = trace(&options, &scratch, &directory).unwrap();
        let root = scratch.path().display().to_string();
        for parent in [root.clone(), format!("{root}/a"), format!("{root}/a/b")] {
            let parent = format!("<{parent}>");
            assert!(first.contains(&parent), "{parent}, {existing}: {first}");
            assert!(!again.contains(&parent), "{parent}, {existing}: {again}");
        }
    }
}

/// As for a user that may create a directory in its parent, but not list the parent.
#[test]
fn a_parent_that_cannot_be_read_is_synced_with_its_file_system() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("store");
    // Other file systems may hang.
    let inject = "inject=sync,syncfs:retval=0";
    let calls = ["-e", "trace=openat,sync,syncfs", "-e", inject];
    // The directory, the names in it, and its parent.
    let fault = format!("inject=openat:error=EACCES:when={}", OPENED_BEFORE + 3);
    let options = [&calls[..], &["-e", &fault]].concat();
    let Some(trace) = trace(&options, &scratch, &directory) else {
        return;
    };
    let parent = format!("\"{}\",", scratch.path().display());
    let mut calls = trace.lines().skip_while(|line| !line.contains("EACCES"));
    assert!(calls.next().unwrap().contains(&parent), "{trace}");
    let synced = format!("<{}>", directory.display());
    let is_synced = |call: &str| call.contains(" syncfs(") && call.contains(&synced);
    assert!(calls.any(is_synced), "{trace}");
    assert!(!trace.contains(" sync()"), "{trace}");
}

/// As before Linux 4.6, or in a sandbox. Each read then uses a blocking thread.
#[test]
fn reads_succeed_without_the_call_that_does_not_wait() {
    for error in ["ENOSYS", "EPERM", "EINVAL"] {
        let scratch = Scratch::new();
        let fault = format!("inject=preadv2:error={error}");
        let options = ["-e", "trace=preadv2", "-e", &fault];
        let Some(trace) = trace(&options, &scratch, &scratch.path().join("store")) else {
            return;
        };
        assert!(trace.contains(error), "{trace}");
    }
}
