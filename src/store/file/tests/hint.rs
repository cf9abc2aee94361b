//! Hint files: their size, the space that they take, and hints that must not be used.

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    super::{
        Durability, FileStore, OnDamage,
        compact::segment::Compactor,
        disk::Disk,
        format::{
            file_names,
            frame::{FrameKind, HEADER_LEN},
            hint::HINT_HEAD_LEN,
        },
        log::{engine::FileEngine, segment::Segment},
        recover,
    },
    disk::{Crash, Fault, SimDisk},
    workload,
};
use crate::{
    id::StoreKey,
    store::{Expected, Tag, Tags, WriteRequest},
};

const LIFE: Duration = Duration::from_secs(600);

/// Returns a store with room for a hint, and the ended segment that needs it.
fn store_with_room() -> (SimDisk, Arc<FileEngine>, Arc<Segment>) {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let engine = workload::open(&disk, &clock).unwrap();
    for number in 0..60 {
        let key = StoreKey::from_bytes([number; StoreKey::LEN]);
        let request = WriteRequest::new(&key, vec![number; 100], LIFE, Expected::Any);
        engine.write(&request).map(drop).unwrap();
    }
    let segment = engine.log.oldest_segment().unwrap();
    (disk, Arc::new(engine), segment)
}

/// Appends touches until there is no room.
fn fill(engine: &FileEngine) {
    while engine
        .touch(&StoreKey::from_bytes([19; StoreKey::LEN]), LIFE)
        .is_ok()
    {}
}

fn has_hint(disk: &SimDisk, segment: &Segment) -> bool {
    let hint = file_names::hint(segment.id);
    disk.file_id(&hint).unwrap().is_some()
}

/// A hint must not take the space that is reserved for a compaction.
#[test]
fn mutations_that_fill_the_store_while_a_hint_is_written_leave_its_space_free() {
    let (mut written, mut refused) = (0, 0);
    // The sync of the segment, the creation of the hint, and the write.
    for operation in 0..3 {
        let (disk, engine, segment) = store_with_room();
        let other = Arc::clone(&engine);
        disk.set_hook(disk.operations() + operation, move || fill(&other));
        engine.log.write_hint(&segment).unwrap();
        let usage = engine.log.lock().usage();
        assert!(usage.fits(), "at operation {operation}: {usage:?}");
        assert_eq!(usage.total, disk.used(), "at operation {operation}");
        if has_hint(&disk, &segment) {
            written += 1;
        } else {
            refused += 1;
            assert!(!segment.is_hint_done(), "a later call tries again");
        }
        let stats = engine.stats();
        while engine.stats().compacted_segments < stats.segments {
            Compactor(&engine).compact_oldest(|_| true).unwrap();
            let stats = engine.stats();
            assert!(stats.disk_bytes <= stats.disk_limit, "{stats:?}");
            assert_eq!(stats.disk_bytes, disk.used());
        }
    }
    assert_eq!((written, refused), (2, 1));
}

/// A second sync of the segment would not see an error that the first one reports.
#[test]
fn a_segment_is_synced_for_its_hint_while_no_other_sync_runs() {
    let (disk, engine, segment) = store_with_room();
    let (other, is_alone) = (Arc::clone(&engine), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&is_alone);
    let hook = move || {
        let is_locked = other.log.sync_lock.try_lock().is_err();
        seen.store(is_locked, Ordering::Relaxed);
    };
    disk.set_hook(disk.operations(), hook);
    engine.log.write_hint(&segment).unwrap();
    assert!(is_alone.load(Ordering::Relaxed));
}

#[test]
fn a_hint_that_cannot_be_written_gives_its_space_back() {
    for operation in 0..2 {
        let (disk, engine, segment) = store_with_room();
        disk.set_fault(
            disk.operations() + 1 + operation,
            Fault::Once(ErrorKind::Other),
        );
        engine.log.write_hint(&segment).unwrap_err();
        assert!(!has_hint(&disk, &segment), "at operation {operation}");
        assert_eq!(engine.stats().disk_bytes, disk.used());
    }
    // Nothing can be removed, either. The space of the file is not given back.
    let (disk, engine, segment) = store_with_room();
    disk.set_fault(disk.operations() + 2, Fault::Permanent(ErrorKind::Other));
    engine.log.write_hint(&segment).unwrap_err();
    assert!(has_hint(&disk, &segment));
    assert!(engine.stats().disk_bytes >= disk.used());
}

#[test]
fn a_hint_that_a_compaction_cannot_remove_keeps_its_space() {
    let mut left = 0;
    for operation in 0..20 {
        let (disk, engine, segment) = store_with_room();
        engine.log.write_hint(&segment).unwrap();
        let fault = Fault::Once(ErrorKind::Other);
        disk.set_fault(disk.operations() + operation, fault);
        // The second attempt completes the first one.
        for _ in 0..2 {
            let _ = Compactor(&engine).compact_oldest(|_| true);
        }
        let is_left = engine.log.segment(segment.id).is_none() && has_hint(&disk, &segment);
        left += u32::from(is_left);
        let stats = engine.stats();
        assert_eq!(stats.disk_bytes, disk.used(), "at operation {operation}");
    }
    assert_eq!(left, 1);
}

fn content(disk: &SimDisk, name: &str) -> Vec<u8> {
    let mut copy = Vec::new();
    disk.tamper(name, |bytes| copy.clone_from(bytes));
    copy
}

/// Corrects the checksums of a hint.
fn repair_checksums(hint: &mut [u8]) {
    let body = crc32fast::hash(&hint[HINT_HEAD_LEN..]);
    hint[44..48].copy_from_slice(&body.to_le_bytes());
    let head = crc32fast::hash(&hint[..48]);
    hint[48..52].copy_from_slice(&head.to_le_bytes());
}

/// A malformed hint could come only from a defect. No entry before the malformed one is applied.
#[test]
fn a_malformed_hint_with_correct_checksums_is_not_used_at_all() {
    let (whole, engine, segment) = store_with_room();
    engine.log.write_hint(&segment).unwrap();
    engine.log.finish().unwrap();
    let (clock, name) = (workload::clock(), file_names::hint(segment.id));
    let hint = content(&whole, &name);
    let used = |hint: Vec<u8>| {
        let disk = whole.crash(Crash::Process, None);
        disk.tamper(&name, |bytes| *bytes = hint);
        let engine = workload::open(&disk, &clock).unwrap();
        let stats = engine.stats();
        assert_eq!((stats.records, stats.damaged), (60, 0));
        stats.hints_used
    };
    assert_eq!(used(hint.clone()), 1);
    // The first key is another one. That is not malformed, but a hint with it must not be applied in part.
    let mut other = hint.clone();
    let at = hint.windows(32).position(|key| key == [1; 32]).unwrap();
    other[at..at + 32].fill(0xee);
    for cut in HINT_HEAD_LEN..hint.len() {
        let mut malformed = other[..cut].to_vec();
        repair_checksums(&mut malformed);
        assert_eq!(used(malformed), 0, "cut off at {cut}");
    }
    let longer = |count: u8| {
        let mut longer = other.clone();
        longer.extend([FrameKind::Closed as u8, 0, 0, 0, 0, 0]);
        longer[20] += count;
        repair_checksums(&mut longer);
        longer
    };
    assert_eq!(used(longer(0)), 0, "more entries than stated");
    assert_eq!(used(longer(1)), 0, "a frame after the end of the segment");
}

#[test]
fn a_hint_is_not_used_for_other_frames_of_the_same_length() {
    // The closed frame is lost, which is no loss of data; then also the touch before it.
    for lost in [1, 2] {
        let (whole, clock) = (SimDisk::with_fault(None), workload::clock());
        // Without preallocation.
        let builder = FileStore::builder("simulated").durability(Durability::Os);
        let builder = builder.segment_bytes(16 << 10).clock(clock.clone());
        let options = builder.on_damage(OnDamage::AllowDataLoss).options;
        let open = |disk: &SimDisk| recover::open::open(Box::new(disk.clone()), options.clone());
        let engine = open(&whole).unwrap();
        let key = StoreKey::from_bytes([1; StoreKey::LEN]);
        let request = WriteRequest::new(&key, vec![1; 900], LIFE, Expected::Any);
        engine.write(&request).map(drop).unwrap();
        engine.touch(&key, LIFE).unwrap();
        engine.log.finish().unwrap();
        let segment = engine.log.segment(1).unwrap();
        engine.log.write_last_hint(&segment).unwrap();
        let (name, hint) = (file_names::segment(1), file_names::hint(1));
        let len = content(&whole, &name).len();
        whole.tamper(&name, |bytes| bytes.truncate(len - lost * HEADER_LEN));
        let mut same_length = 0;
        // The opening appends as many bytes as are lost. It is interrupted before it removes the hint.
        for at in 0..20 {
            let disk = whole.crash(Crash::Process, Some((at, Fault::PowerOff)));
            let _ = open(&disk);
            let disk = disk.crash(Crash::Process, None);
            if disk.file_id(&hint).unwrap().is_none() || content(&disk, &name).len() != len {
                continue;
            }
            same_length += 1;
            let engine = open(&disk).unwrap();
            assert_eq!(engine.stats().hints_used, 0, "{lost} frames lost");
            engine.log.roll(&mut engine.log.lock()).unwrap();
            engine.log.finish().unwrap();
            drop(engine);
            workload::open(&disk, &clock).expect("the next segment states the end of this one");
        }
        assert!(same_length > 0, "{lost} frames lost");
    }
}

#[test]
fn the_hint_of_a_repaired_segment_claims_no_end_from_before_the_repair() {
    let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
    let open = |on_damage: OnDamage| {
        let builder = FileStore::builder("simulated").durability(Durability::Os);
        let builder = builder.segment_bytes(16 << 10).clock(clock.clone());
        let options = builder.on_damage(on_damage).options;
        recover::open::open(Box::new(disk.clone()), options)
    };
    let close = |engine: FileEngine| {
        engine.log.finish().unwrap();
        let last = Arc::clone(engine.log.lock().active());
        engine.log.write_last_hint(&last).unwrap();
    };
    let write = |engine: &FileEngine, number: u8| {
        let key = StoreKey::from_bytes([number; StoreKey::LEN]);
        let request = WriteRequest::new(&key, vec![1; 100], LIFE, Expected::Any);
        engine.write(&request).map(drop).unwrap();
    };
    let engine = open(OnDamage::Refuse).unwrap();
    (0..7).for_each(|number| write(&engine, number));
    close(engine);
    // It states how far the segment was durable.
    let engine = open(OnDamage::Refuse).unwrap();
    write(&engine, 7);
    close(engine);
    let name = file_names::segment(1);
    assert_eq!(disk.file_id(&file_names::segment(2)).unwrap(), None);
    // More than a repair appends.
    disk.tamper(&name, |bytes| {
        drop(bytes.drain(300..1000));
    });
    assert!(open(OnDamage::Refuse).is_err());
    close(open(OnDamage::DropUncertain).unwrap());
    open(OnDamage::Refuse).expect("the damage was handled");
}

#[test]
fn segments_of_small_or_tagged_records_have_hints_after_compactions_too() {
    for (len, tagged) in [(100, false), (100, true), (256, true)] {
        let (disk, clock) = (SimDisk::with_fault(None), workload::clock());
        let engine = workload::open(&disk, &clock).unwrap();
        let mut tags = Tags::new();
        if tagged {
            tags.insert(&Tag::new("user-123456").unwrap()).unwrap();
        }
        // In an order and with lives that are far from each other.
        for number in (0..200_u8).map(|number| number.wrapping_mul(77)) {
            let key = StoreKey::from_bytes([number; StoreKey::LEN]);
            let life = Duration::from_secs(1 + u64::from(number) * 99_991);
            let request = WriteRequest::new(&key, vec![number; len], life, Expected::Any);
            engine.write(&request.tags(tags.clone())).map(drop).unwrap();
        }
        Compactor(&engine).compact_all(|_| true, || ()).unwrap();
        engine.log.finish().unwrap();
        for segment in engine.log.segments_without_hint() {
            engine.log.write_hint(&segment).unwrap();
            let hint = file_names::hint(segment.id);
            let has_hint = disk.file_id(&hint).unwrap().is_some();
            assert!(has_hint, "{len} bytes, tagged: {tagged}");
        }
        drop(engine);
        let stats = workload::open(&disk, &clock).unwrap().stats();
        // All but the active segment and the next one.
        assert!(stats.hints_used + 2 >= stats.segments, "{stats:?}");
        assert!(stats.hints_used > 2, "{stats:?}");
        assert_eq!(stats.records, 200);
    }
}
