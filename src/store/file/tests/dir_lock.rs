use std::fs;

use rustix::fs::OFlags;

use super::super::{
    FileError,
    disk::{dir_lock::DirectoryLock, os::OsDisk},
};

// `flock` refuses a handle of this kind, as NFS refuses that of a directory.
const REFUSED: OFlags = OFlags::PATH;

#[test]
fn if_the_directory_cannot_be_locked_the_lock_file_keeps_others_out() {
    let name = format!("hyper-session-dir-lock-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory).unwrap();
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
