use std::{
    fs::{self, File, FileTimes},
    path::PathBuf,
    thread,
    time::Duration,
};

use rustix::{fs::OFlags, io::Errno};

use super::super::{
    FileError,
    disk::{Disk, FileId, PathChange, PathLookup, dir_lock::DirectoryLock, os::OsDisk},
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
fn after_a_store_was_closed_its_process_is_not_named() {
    let directory = create_directory("closed");
    let mut disk = OsDisk::open(&directory).unwrap();
    let (lock, _) = DirectoryLock::acquire(&mut disk).unwrap();
    let message = || {
        let mut other = OsDisk::open(&directory).unwrap();
        let refused = DirectoryLock::acquire(&mut other).map(drop).unwrap_err();
        refused.to_string()
    };
    let pid = std::process::id();
    let last = format!("in use by this process, or by process {pid} of another container;");
    assert!(message().contains(&last), "{}", message());
    drop(lock);
    let reader = DirectoryLock::acquire_shared(&OsDisk::open_read_only(&directory).unwrap());
    assert!(
        message().contains("in use by another process;"),
        "{}",
        message()
    );
    drop(reader.unwrap());
    // A reader leaves the id of a store that was killed.
    fs::write(directory.join("lock"), "1234\n").unwrap();
    let reader = DirectoryLock::acquire_shared(&disk).unwrap();
    assert!(
        message().contains("last opened by process 1234;"),
        "{}",
        message()
    );
    drop(reader);
    assert_eq!(
        fs::read_to_string(directory.join("lock")).unwrap(),
        "1234\n"
    );
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_stamp_of_a_directory_changes_with_its_names_and_not_with_its_data() {
    let directory = create_directory("stamp");
    let mut disk = OsDisk::open(&directory).unwrap();
    let lock_file = File::create(directory.join("lock")).unwrap();
    disk.expect_lock_file(&lock_file).unwrap();
    let file = disk.create("segment").unwrap();
    // The file system records times in steps.
    let step = || thread::sleep(Duration::from_millis(25));
    let mut last = disk.entry_stamp().unwrap();
    step();
    file.write_at(b"frames", 0).unwrap();
    file.truncate(3).unwrap();
    assert_eq!(disk.entry_stamp().unwrap(), last);
    let moved = directory.with_extension("moved");
    let changes: [&dyn Fn(); 5] = [
        &|| drop(disk.create("other").unwrap()),
        &|| fs::rename(directory.join("other"), directory.join("another")).unwrap(),
        &|| fs::remove_file(directory.join("another")).unwrap(),
        &|| fs::remove_file(directory.join("lock")).unwrap(),
        &|| fs::rename(&directory, &moved).unwrap(),
    ];
    for change in changes {
        step();
        let names_changed = disk.handle().metadata().unwrap().modified().unwrap();
        change();
        assert_ne!(disk.entry_stamp().unwrap(), last);
        // Another process may set the time at which the names changed.
        let times = FileTimes::new().set_modified(names_changed);
        disk.handle().set_times(times).unwrap();
        assert_ne!(disk.entry_stamp().unwrap(), last);
        last = disk.entry_stamp().unwrap();
    }
    step();
    fs::remove_dir_all(&moved).unwrap();
    assert_ne!(disk.entry_stamp().unwrap(), last);
}

#[test]
fn a_path_that_cannot_be_looked_up_is_a_change_unless_the_error_is_transient() {
    let (device, inode) = (1, 2);
    let check = |error: Errno| {
        let found = Err(error.into());
        PathChange::check(PathBuf::new, found, FileId { device, inode })
    };
    for error in [Errno::INTR, Errno::AGAIN, Errno::NOMEM, Errno::TIMEDOUT] {
        assert!(matches!(check(error), Ok(PathLookup::Failed(_))), "{error}");
    }
    for (error, expected) in [
        (Errno::STALE, "was moved or deleted"),
        (Errno::LOOP, "was replaced"),
        (Errno::ACCESS, "became inaccessible by its permissions"),
        (Errno::PERM, "became inaccessible by its permissions"),
        (Errno::NOTDIR, "became inaccessible"),
        (Errno::IO, "became inaccessible"),
    ] {
        let changed = check(error).map(drop).unwrap_err();
        assert_eq!(changed.change, expected, "{error}");
    }
}
