use std::{
    fs::{self, File},
    path::PathBuf,
};

use rustix::{fs::OFlags, io::Errno};

use super::super::{
    FileError,
    disk::{Disk, FileId, PathChange, dir_lock::DirectoryLock, os::OsDisk},
};

// `flock` refuses a handle of this kind, as NFS refuses that of a directory.
const REFUSED: OFlags = OFlags::PATH;

fn create_directory(name: &str) -> PathBuf {
    let name = format!("hyper-session-dir-lock-{name}-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory).unwrap();
    directory
}

#[test]
fn if_the_directory_cannot_be_locked_the_lock_file_keeps_others_out() {
    let directory = create_directory("others");
    let mut first = OsDisk::open_with(&directory, REFUSED).unwrap();
    let (lock, refusal) = DirectoryLock::acquire(&mut first).unwrap();
    assert!(refusal.is_some(), "the refusal is reported");
    for flags in [REFUSED, OFlags::RDONLY] {
        let mut second = OsDisk::open_with(&directory, flags).unwrap();
        let refused = DirectoryLock::acquire(&mut second).map(drop).unwrap_err();
        let FileError::InUse { pid, .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!(pid, Some(std::process::id()));
    }
    drop(lock);
    let mut second = OsDisk::open(&directory).unwrap();
    let (_lock, refusal) = DirectoryLock::acquire(&mut second).unwrap();
    assert!(refusal.is_none(), "{refusal:?}");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn if_the_directory_cannot_be_locked_each_check_of_a_file_checks_the_lock_file() {
    let directory = create_directory("lost");
    let lock = directory.join("lock");
    for is_only in [true, false] {
        let mut disk = OsDisk::open(&directory).unwrap();
        let lock_file = File::create(&lock).unwrap();
        disk.expect_lock_file(&lock_file, is_only).unwrap();
        let file = disk.create("segment").unwrap();
        let check = || disk.check_file("segment", file.as_ref());
        check().unwrap();
        fs::remove_file(&lock).unwrap();
        let lost = check().map_err(|change| change.path);
        // The lock on the directory keeps others out meanwhile.
        let expected = if is_only { Err(lock.clone()) } else { Ok(()) };
        assert_eq!(lost, expected, "only lock: {is_only}");
        assert_eq!(disk.check().unwrap_err().path, lock);
        fs::write(&lock, "").unwrap();
        let replaced = check().map_err(|change| change.change);
        let expected = if is_only { Err("was replaced") } else { Ok(()) };
        assert_eq!(replaced, expected, "only lock: {is_only}");
        disk.remove("segment").unwrap();
    }
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_path_that_cannot_be_looked_up_is_a_change_unless_the_error_is_transient() {
    let (device, inode) = (1, 2);
    let check = |error: Errno| {
        let found = Err(error.into());
        PathChange::check(PathBuf::new, found, FileId { device, inode })
    };
    for error in [Errno::INTR, Errno::AGAIN, Errno::NOMEM, Errno::TIMEDOUT] {
        check(error).unwrap();
    }
    for (error, expected) in [
        (Errno::STALE, "was moved or deleted"),
        (Errno::LOOP, "was replaced"),
        (Errno::ACCESS, "became inaccessible by its permissions"),
        (Errno::PERM, "became inaccessible by its permissions"),
        (Errno::NOTDIR, "became inaccessible"),
        (Errno::IO, "became inaccessible"),
    ] {
        assert_eq!(check(error).unwrap_err().change, expected, "{error}");
    }
}
