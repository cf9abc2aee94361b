//! Files that are not regular, in place of the files of a store.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_session::store::{
    Expected, FileStore, ReadOutcome, Store, WriteRequest,
    file::{FileError, Inspection, OnDamage},
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::scratch::{Scratch, key};

/// Creates a file at a path. Returns its kind.
type Create = fn(&Path) -> &'static str;

const CREATE: [Create; 4] = [
    |path| {
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        "a named pipe"
    },
    |path| {
        UnixListener::bind(path).unwrap();
        "a socket"
    },
    |path| {
        fs::create_dir(path).unwrap();
        "a directory"
    },
    |path| {
        symlink("/dev/zero", path).unwrap();
        "a symbolic link"
    },
];

/// Creates a store with one session, two segments and their hints.
async fn create_store(directory: &Path) {
    let store = FileStore::builder(directory).segment_bytes(16 << 10);
    let store = store.open().unwrap();
    let life = Duration::from_secs(3600);
    let request = WriteRequest::new(&key(0), "data", life, Expected::Any);
    store.write(request).await.unwrap();
    store.close().await.unwrap();
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names
}

fn assert_refused(refused: &FileError, path: &Path, kind: &str) {
    let FileError::NotRegularFile {
        path: found,
        kind: found_kind,
    } = refused
    else {
        panic!("{kind} at {}: {refused}", path.display());
    };
    assert_eq!((&**found, *found_kind), (path, kind));
    let message = format!(
        "{}: {kind} in place of a file; move it out of the session directory",
        path.display()
    );
    assert_eq!(refused.to_string(), message);
}

#[tokio::test]
async fn a_file_that_is_not_regular_is_refused_by_name_and_nothing_is_changed() {
    for create in CREATE {
        for name in [
            "0000000001.log",
            "0000000001.hint",
            "0000000002.log",
            "0000000007.hint",
            "lock",
        ] {
            let scratch = Scratch::new();
            let directory = scratch.path();
            create_store(directory).await;
            let (path, saved) = (directory.join(name), directory.join("saved"));
            let exists = path.exists();
            if exists {
                fs::rename(&path, &saved).unwrap();
            }
            let kind = create(&path);
            let before = names(directory);
            for on_damage in [OnDamage::Refuse, OnDamage::DropUncertain] {
                for verify in [false, true] {
                    let builder = FileStore::builder(directory).on_damage(on_damage);
                    let refused = builder.verify_on_open(verify).open().unwrap_err();
                    assert_refused(&refused, &path, kind);
                }
            }
            // An inspection needs no lock file.
            let inspected = Inspection::read(directory, |_, _| {});
            match name {
                "lock" => assert!(inspected.unwrap().is_sound()),
                _ => assert_refused(&inspected.unwrap_err(), &path, kind),
            }
            assert_eq!(names(directory), before, "{kind} at {name}");
            fs::rename(&path, directory.join("moved")).unwrap();
            if exists {
                fs::rename(&saved, &path).unwrap();
            }
            let store = FileStore::open(directory).unwrap();
            let read = store.read(&key(0), None).await.unwrap();
            assert!(matches!(read, ReadOutcome::Found(_)), "{kind} at {name}");
        }
    }
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn the_tool_names_a_file_that_is_not_regular() {
    for create in CREATE {
        let scratch = Scratch::new();
        create_store(scratch.path()).await;
        let path = scratch.path().join("0000000002.log");
        let kind = create(&path);
        for command in crate::tool::COMMANDS {
            let output = crate::tool::tool(&[command], scratch.path());
            let printed = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(4), "{command}: {printed}");
            let message = format!("session-file: {}: {kind} in place", path.display());
            assert!(printed.starts_with(&message), "{command}: {printed}");
        }
    }
}
