//! A full disk: a small file system in memory, mounted for a separate process.
//!
//! If mounting is not allowed, the test is skipped; unit tests cover a simulated full disk.

use std::{error::Error as _, path::Path, process::Command, time::Duration};

use bytes::Bytes;
use hyper_session::store::{
    Expected, FileStore, ReadOutcome, Store, StoreError, WriteOutcome, WriteRequest,
    file::{Durability, FileError, FileStoreBuilder},
};

use crate::support::{
    scratch::{Scratch, key},
    test_name,
};

const DIRECTORY: &str = "FILE_FULL_DIRECTORY";
const LIFE: Duration = Duration::from_secs(3600);

#[test]
fn a_full_disk_is_a_clear_error_and_loses_no_stored_session() {
    let scratch = Scratch::new();
    let mount = "mount -t tmpfs -o size=1m tmpfs \"$FILE_FULL_DIRECTORY\"";
    let run = |script: String| {
        let mut command = Command::new("unshare");
        command
            .args(["-r", "-m", "sh", "-c", &script])
            .env(DIRECTORY, scratch.path());
        command.arg(std::env::current_exe().unwrap()).output()
    };
    if !run(mount.to_owned()).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounting is not allowed");
        return;
    }
    let test = test_name(module_path!(), "the_process_with_the_small_disk");
    let inner = format!("exec \"$0\" --exact {test} --nocapture");
    let output = run(format!("{mount} && {inner}")).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("1 passed"), "{stdout}");
}

/// The child process; does nothing unless the test above has started it.
#[tokio::test]
async fn the_process_with_the_small_disk() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    for durability in [Durability::Os, Durability::Always] {
        let directory = Path::new(&directory).join(format!("{durability:?}"));
        let builder = FileStore::builder(&directory)
            .segment_bytes(256 << 10)
            .cache_bytes(0)
            .tombstone_ttl(Duration::ZERO)
            .durability(durability);
        fill_and_empty(builder).await;
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

async fn write(store: &FileStore, number: u64) -> Result<WriteOutcome, StoreError> {
    let data = Bytes::from(vec![number as u8; 1000]);
    let request = WriteRequest::new(&key(number), data, LIFE, Expected::Any);
    store.write(request).await
}

async fn check(store: &FileStore, count: u64) {
    for number in 0..count {
        // A read succeeds even if its touch fails.
        let ReadOutcome::Found(record) = store.read(&key(number), Some(LIFE)).await.unwrap() else {
            panic!("session {number} is missing");
        };
        assert_eq!(record.data, vec![number as u8; 1000]);
    }
}

async fn fill_and_empty(builder: FileStoreBuilder) {
    let store = builder.clone().open().unwrap();
    let mut count = 0;
    let refused = loop {
        match write(&store, count).await {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        assert!(count < 2000, "the disk fills up");
    };
    assert!(count > 100, "{count} sessions were written");
    let source = refused.source().unwrap().downcast_ref::<FileError>();
    assert!(source.is_some_and(FileError::is_full), "{refused}");
    check(&store, count).await;
    store.close().await.unwrap();
    let store = builder
        .clone()
        .open()
        .expect("a store on a full disk opens");
    check(&store, count).await;
    // The store recovers as soon as there is space.
    let second = builder.open().unwrap_err();
    assert!(matches!(second, FileError::InUse { .. }), "{second}");
    let mut destroyed = false;
    for number in 0..count {
        // A tombstone needs space too. The first ones may fail, until a compaction frees space.
        destroyed |= store.destroy(&key(number)).await.is_ok();
    }
    if destroyed {
        for _ in 0..200 {
            if write(&store, 5000).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("destroyed sessions free no space: {:?}", store.stats());
    }
}
