//! The next segment cannot be created, or the disk reports another error that may pass.

use std::{
    fs::{self, File},
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    super::{
        Durability, FileError, FileEvent, FileStore,
        async_ops::{Attempt, AttemptMode, FileInner},
        compact::segment::Compactor,
        format::file_names,
        recover,
    },
    disk::{Crash, FailingCall, Fault, SimDisk},
    workload::{Workload, check_sizes, clock},
};
use crate::{
    id::StoreKey,
    store::{Expected, ReadOutcome, WriteRequest},
};

const SEGMENT: u64 = 16 << 10;
const LIFE: Duration = Duration::from_secs(60);

fn key(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; StoreKey::LEN])
}

/// A store without threads, and the number of touches that were omitted.
struct TestStore {
    inner: FileInner,
    disk: SimDisk,
    omitted: Arc<AtomicUsize>,
}

impl TestStore {
    fn open(disk: &SimDisk, durability: Durability) -> Self {
        let omitted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&omitted);
        let builder = FileStore::builder("simulated").durability(durability);
        let builder = builder.segment_bytes(SEGMENT).cache_bytes(0).clock(clock());
        let builder = builder.listener(move |event: &FileEvent<'_>| {
            let is_omitted = matches!(event, FileEvent::TouchFailed { .. });
            count.fetch_add(usize::from(is_omitted), Ordering::Relaxed);
        });
        let engine = recover::open::open(Box::new(disk.clone()), builder.options).unwrap();
        Self {
            inner: FileInner::new(engine),
            disk: disk.clone(),
            omitted,
        }
    }

    fn write(&self, number: u8) -> Result<(), FileError> {
        let request = WriteRequest::new(&key(number), vec![number; 500], LIFE, Expected::Any);
        let written = self.inner.engine.write(&request).map(drop);
        let stats = self.inner.engine.stats();
        assert_eq!(stats.disk_bytes, self.disk.used());
        assert!(stats.disk_bytes <= stats.disk_limit, "{stats:?}");
        written
    }

    /// Reads a record that exists, with a touch.
    fn read(&self, number: u8) {
        let read = self
            .inner
            .read(&key(number), Some(LIFE), AttemptMode::WithoutRoom);
        let Ok(Attempt::Done((ReadOutcome::Found(record), _))) = read else {
            panic!("a read fails: {:?}", read.err());
        };
        assert_eq!(record.data, vec![number; 500]);
    }

    fn omitted(&self) -> usize {
        self.omitted.load(Ordering::Relaxed)
    }
}

#[test]
fn while_no_segment_can_be_created_writes_continue_as_far_as_there_is_room() {
    for durability in [Durability::Os, Durability::Always] {
        let disk = SimDisk::with_fault(None);
        let store = TestStore::open(&disk, durability);
        (0..8).for_each(|number| store.write(number).unwrap());
        disk.fail_call(Some(FailingCall::Create));
        let segments = store.inner.engine.log.segment_count();
        let used = disk.used();
        let refused = loop {
            for number in 0..8 {
                store.read(number);
            }
            assert_eq!(store.omitted(), 0, "there is room for the touches");
            if let Err(error) = store.write(disk.operations() as u8 % 8) {
                break error;
            }
        };
        assert!(matches!(refused, FileError::DiskLimit { .. }), "{refused}");
        let written = disk.used() - used;
        assert!(written > SEGMENT / 2, "{written} bytes");
        assert_eq!(store.inner.engine.log.segment_count(), segments);
        // There may be room for a few touches yet.
        (0..50).for_each(|number| store.read(number % 8));
        assert!(store.omitted() > 8, "{} touches", store.omitted());
        // The next compaction makes room again.
        disk.fail_call(None);
        let compactor = Compactor(&store.inner.engine);
        while store.write(1).is_err() {
            compactor.compact_oldest(|_| true).unwrap();
        }
        store.inner.engine.log.sync().unwrap();
        let store = TestStore::open(&disk.crash(Crash::Power(1), None), durability);
        (0..8).for_each(|number| store.read(number));
    }
}

#[test]
fn while_no_segment_can_be_created_the_active_one_stays_within_four_times_its_length() {
    let disk = SimDisk::with_fault(None);
    let store = TestStore::open(&disk, Durability::Os);
    // With this much data, there is room for far more.
    (0..=u8::MAX).for_each(|number| store.write(number).unwrap());
    disk.fail_call(Some(FailingCall::Create));
    let refused = (0..2000).find_map(|write| store.write(write as u8).err());
    let refused = refused.expect("the active segment grows without a limit");
    assert!(matches!(refused, FileError::Io { .. }), "{refused}");
    let len = store.inner.engine.log.lock().usage().longest;
    assert!(len > 3 * SEGMENT && len <= 4 * SEGMENT, "{len} bytes");
    store.read(1);
    disk.fail_call(None);
    store.write(1).unwrap();
    let store = TestStore::open(&disk.crash(Crash::Process, None), Durability::Os);
    (0..=u8::MAX).for_each(|number| store.read(number));
}

#[test]
fn a_segment_that_is_too_long_for_an_offset_prevents_the_opening() {
    let name = format!("hyper-session-too-long-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    drop(FileStore::open(&directory).unwrap());
    let segment = directory.join(file_names::segment(1));
    let file = File::options().write(true).open(&segment).unwrap();
    file.set_len(1 << 32).unwrap();
    let refused = FileStore::open(&directory).unwrap_err();
    let len = file.metadata().unwrap().len();
    fs::remove_dir_all(&directory).unwrap();
    let message = format!("{refused:?}");
    assert!(
        message.contains("longer than 4 GiB") && message.contains(segment.to_str().unwrap()),
        "{message}"
    );
    assert_eq!(len, 1 << 32, "the segment was truncated");
}

#[test]
fn files_stay_within_their_limit_while_segments_can_be_created_only_at_times() {
    for durability in [Durability::Os, Durability::Always] {
        let disk = SimDisk::with_fault(None);
        let mut workload = Workload::begin(&disk, durability, false).unwrap();
        let mut compacted = 0;
        for seed in 0..200 {
            // The workload checks the limit after each operation.
            disk.fail_call((seed % 3 > 0).then_some(FailingCall::Create));
            workload.run(seed, 60);
            check_sizes(&workload);
            workload.check(&workload.engine);
            compacted += workload.engine.stats().compacted_segments;
        }
        workload.engine.log.sync().unwrap();
        assert!(compacted > 10, "{compacted} compacted segments");
        workload.check_after(&disk.crash(Crash::Process, None));
    }
}

#[test]
fn a_read_whose_touch_meets_an_error_of_the_disk_succeeds() {
    let disk = SimDisk::with_fault(None);
    let store = TestStore::open(&disk, Durability::Os);
    store.write(1).unwrap();
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        let omitted = store.omitted();
        disk.set_fault(disk.operations(), Fault::Once(kind));
        store.read(1);
        assert_eq!(store.omitted(), omitted + 1);
        // A touch alone reports the error.
        disk.set_fault(disk.operations(), Fault::Once(kind));
        assert!(store.inner.engine.touch(&key(1), LIFE).is_err());
    }
    store.read(1);
    assert_eq!(store.omitted(), 2);
}
