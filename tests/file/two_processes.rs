//! Two processes and one path: each keeps its own directory, and a directory has one process.

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use hyper_session::store::{
    Expected, FileStore, ReadOutcome, Store, WriteRequest,
    file::{Durability, FileEvent, FileStoreBuilder, Inspection},
};

use crate::support::{
    scratch::{Scratch, key},
    test_name,
};

const DIRECTORY: &str = "FILE_TWO_PROCESSES_DIRECTORY";
const FIRST: &str = "FILE_TWO_PROCESSES_FIRST";
const LIFE: Duration = Duration::from_secs(3600);

fn builder(directory: &Path) -> FileStoreBuilder {
    FileStore::builder(directory)
        .segment_bytes(16 << 10)
        .durability(Durability::Always)
}

fn data(number: u64) -> Vec<u8> {
    vec![number as u8; 300]
}

async fn assert_stored(store: &FileStore, first: u64) {
    for number in first..first + 100 {
        let ReadOutcome::Found(record) = store.read(&key(number), None).await.unwrap() else {
            panic!("session {number} is missing");
        };
        assert_eq!(record.data, data(number));
    }
    assert_eq!(
        store.stats().records,
        100,
        "only the sessions of this store"
    );
}

/// A process that has a store open.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a process that opens the store in `directory`. `program` runs the test program.
    fn start(mut program: Command, directory: &Path, first: u64) -> Self {
        let test = test_name(module_path!(), "the_process_with_a_store");
        let mut child = program
            .args(["--exact", &test, "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory)
            .env(FIRST, first.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Returns the next line that the process printed for this test.
    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "the process ended"
            );
            if let Some(line) = line.strip_prefix('#') {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Lets the process write, compact and close.
    fn go(&mut self) {
        self.input.write_all(b"go\n").unwrap();
    }

    fn finish(mut self) {
        assert_eq!(self.line(), "closed");
        assert!(self.child.wait().unwrap().success());
    }
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

fn print_line(line: &str) {
    println!("\n#{line}");
}

/// The process; does nothing unless a test has started it.
#[tokio::test]
async fn the_process_with_a_store() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let listener = |event: &FileEvent<'_>| {
        if let FileEvent::DirectoryNotLocked { path, error } = event {
            print_line(&format!("not locked: {}: {error}", path.display()));
        }
    };
    let store = match builder(Path::new(&directory)).listener(listener).open() {
        Ok(store) => store,
        Err(error) => return print_line(&format!("refused: {error}")),
    };
    print_line("open");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    for turn in 0..300 {
        let number = first + turn % 100;
        let request = WriteRequest::new(&key(number), data(number), LIFE, Expected::Any);
        if let Err(error) = store.write(request).await {
            return print_line(&format!("failed: {error:?}"));
        }
    }
    store.compact().await.unwrap();
    assert!(store.stats().compacted_segments > 0);
    assert_stored(&store, first).await;
    store.close().await.unwrap();
    print_line("closed");
}

#[tokio::test]
async fn a_link_that_is_switched_leaves_the_directories_of_both_processes_intact() {
    let scratch = Scratch::new();
    let [old, new, link] = ["r1", "r2", "current"].map(|name| scratch.path().join(name));
    for release in [&old, &new] {
        fs::create_dir(release).unwrap();
    }
    symlink(&old, &link).unwrap();
    let mut first = Process::start(this_program(), &link.join("sessions"), 0);
    assert_eq!(first.line(), "open");
    let next = scratch.path().join("next");
    symlink(&new, &next).unwrap();
    fs::rename(&next, &link).unwrap();
    let mut second = Process::start(this_program(), &link.join("sessions"), 1000);
    assert_eq!(second.line(), "open");
    first.go();
    second.go();
    first.finish();
    second.finish();
    for (release, first) in [(old, 0), (new, 1000)] {
        let directory = release.join("sessions");
        let inspection = Inspection::read(&directory, |_, _| {}).unwrap();
        assert_eq!(inspection.findings(), []);
        assert_stored(&builder(&directory).open().unwrap(), first).await;
    }
}

#[test]
fn a_deleted_lock_file_lets_no_second_process_in() {
    let scratch = Scratch::new();
    let mut first = Process::start(this_program(), scratch.path(), 0);
    assert_eq!(first.line(), "open");
    fs::remove_file(scratch.path().join("lock")).unwrap();
    let mut second = Process::start(this_program(), scratch.path(), 1000);
    let refused = second.line();
    assert!(refused.contains("in use by another process"), "{refused}");
    assert!(second.child.wait().unwrap().success());
    first.go();
    let failed = first.line();
    assert!(
        failed.contains("lock: was moved or deleted while"),
        "{failed}"
    );
    assert!(first.child.wait().unwrap().success());
}

/// As on NFS. `strace` makes the lock of the directory fail; without it, the test is skipped.
#[cfg(target_os = "linux")]
#[test]
fn if_the_directory_cannot_be_locked_an_event_says_so_and_the_lock_file_is_locked() {
    let strace = || {
        let mut command = Command::new("strace");
        let fault = "inject=flock:error=ENOLCK:when=1";
        command.args(["-f", "-o", "/dev/null", "-e", "trace=flock", "-e", fault]);
        command
    };
    let works = strace().arg("true").output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: strace is missing or not allowed");
        return;
    }
    let traced = || {
        let mut command = strace();
        command.arg(std::env::current_exe().unwrap());
        command
    };
    let scratch = Scratch::new();
    let mut first = Process::start(traced(), scratch.path(), 0);
    let event = first.line();
    let expected = format!(
        "not locked: {}: No locks available",
        scratch.path().display()
    );
    assert!(event.starts_with(&expected), "{event}");
    assert_eq!(first.line(), "open");
    // Also a process on this file system cannot lock the directory.
    let mut second = Process::start(traced(), scratch.path(), 1000);
    let refused = second.line();
    assert!(refused.contains("last opened by process"), "{refused}");
    assert!(second.child.wait().unwrap().success());
    first.go();
    first.finish();
}
