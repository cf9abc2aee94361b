//! The disk fails, or the machine stops, at every single operation of a workload.

use std::{io::ErrorKind, time::Duration};

use super::{
    super::{Durability, FileError, log::engine::FileEngine},
    disk::{Crash, Fault, SimDisk},
    workload::{self, Workload, check_sizes},
};
use crate::{
    id::StoreKey,
    store::{Expected, WriteRequest},
};

const STEPS: usize = 120;

/// Returns the seeds of the workloads. `FILE_CRASH_SEEDS` sets their number (3).
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("FILE_CRASH_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok());
    0..count.unwrap_or(3)
}

/// Returns the durability of a workload. Two of three use preallocation.
const fn durability(seed: u64) -> Durability {
    match seed % 3 {
        1 => Durability::Os,
        _ => Durability::Always,
    }
}

/// From this seed on, the keys that encrypt the records rotate at each opening.
const ROTATING: u64 = 1000;

fn begin(disk: &SimDisk, seed: u64, acknowledge_at_once: bool) -> Result<Workload, FileError> {
    let mut workload = Workload::begin(disk, durability(seed), acknowledge_at_once)?;
    if seed >= ROTATING {
        workload.rotate_keys();
    }
    Ok(workload)
}

/// Returns the number of disk operations of the workload if nothing fails.
fn operations(seed: u64) -> usize {
    let disk = SimDisk::with_fault(None);
    let mut workload = begin(&disk, seed, false).unwrap();
    workload.run(seed, STEPS);
    disk.operations()
}

/// Runs the workload with a fault at every operation; `check` checks the result.
fn at_every_operation(
    seed: u64,
    fault: Fault,
    acknowledge_at_once: bool,
    check: impl Fn(&SimDisk, &Workload, usize),
) {
    for at in 0..operations(seed) {
        let disk = SimDisk::with_fault(Some((at, fault)));
        // If the opening fails, there is no state to check.
        if let Ok(mut workload) = begin(&disk, seed, acknowledge_at_once) {
            workload.run(seed, STEPS);
            check(&disk, &workload, at);
        }
    }
}

#[test]
fn the_workload_reaches_everything_that_can_crash() {
    for durability in [Durability::Always, Durability::Os] {
        let disk = SimDisk::with_fault(None);
        let mut workload = Workload::begin(&disk, durability, false).unwrap();
        let (mut compacted, mut hints) = (0, 0);
        for seed in 0..10 {
            workload.run(seed, STEPS);
            check_sizes(&workload);
            workload.check(&workload.engine);
            let stats = workload.engine.stats();
            compacted += stats.compacted_segments;
            hints += stats.hints_used;
        }
        assert!(compacted > 4, "{compacted} compacted segments");
        assert!(hints > 4, "{hints} hints");
    }
}

#[test]
fn synced_data_survives_a_power_failure_at_every_operation() {
    for seed in seeds() {
        at_every_operation(seed, Fault::PowerOff, false, |disk, workload, at| {
            for choice in 0..4 {
                let power = Crash::Power(at as u64 * 64 + choice);
                workload.check_after(&disk.crash(power, None));
            }
        });
    }
}

#[test]
fn acknowledged_data_survives_the_end_of_the_process_at_every_operation() {
    for seed in seeds() {
        at_every_operation(seed, Fault::PowerOff, true, |disk, workload, _| {
            workload.check_after(&disk.crash(Crash::Process, None));
        });
    }
}

#[test]
fn records_survive_a_power_failure_at_every_operation_while_their_keys_rotate() {
    let disk = SimDisk::with_fault(None);
    let mut workload = begin(&disk, ROTATING, false).unwrap();
    let mut encrypted_again = 0;
    for seed in 0..40 {
        let before = workload.engine.stats().previous_key;
        workload.run(seed, STEPS);
        encrypted_again += before.saturating_sub(workload.engine.stats().previous_key);
        workload.check(&workload.engine);
    }
    assert!(encrypted_again > 4, "{encrypted_again} records");
    at_every_operation(ROTATING, Fault::PowerOff, false, |disk, workload, at| {
        workload.check_after(&disk.crash(Crash::Power(at as u64), None));
    });
}

#[test]
fn a_power_failure_during_the_opening_after_a_power_failure_loses_nothing_either() {
    at_every_operation(1, Fault::PowerOff, false, |disk, workload, at| {
        for second in 0..12 {
            let crash = Crash::Power(at as u64);
            let during = disk.crash(crash, Some((second, Fault::PowerOff)));
            let _ = super::workload::open(&during, &super::workload::clock());
            workload.check_after(&during.crash(Crash::Power(second as u64), None));
        }
    });
}

#[test]
fn a_full_disk_at_any_operation_changes_nothing_and_the_store_goes_on() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for seed in [1, 2] {
            at_every_operation(seed, Fault::Once(kind), true, |disk, workload, _| {
                // A removed file counts until its removal is synced.
                let counted = workload.engine.stats().disk_bytes;
                assert!(counted >= disk.used(), "all files count");
                workload.check(&workload.engine);
                workload.check_after(&disk.crash(Crash::Process, None));
            });
        }
    }
}

#[test]
fn a_disk_that_stays_broken_leaves_stored_data_readable() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        at_every_operation(0, Fault::Permanent(kind), true, |disk, workload, _| {
            workload.check(&workload.engine);
            workload.check_after(&disk.crash(Crash::Process, None));
        });
    }
}

#[test]
fn after_a_failed_sync_the_store_accepts_no_write_and_loses_no_synced_data() {
    at_every_operation(
        2,
        Fault::Once(ErrorKind::Other),
        false,
        |disk, workload, at| {
            let power = Crash::Power(at as u64);
            workload.check_after(&disk.crash(power, None));
        },
    );
}

#[test]
fn after_the_directory_was_moved_nothing_is_acknowledged_as_durable() {
    for seed in [0, 1] {
        at_every_operation(seed, Fault::Moved, false, |disk, workload, at| {
            assert!(
                workload.engine.log.sync().is_err(),
                "moved at operation {at}"
            );
            workload.check_after(&disk.crash(Crash::Power(at as u64), None));
        });
    }
}

/// After a failed sync the system may take data that only the memory has for written.
#[test]
fn after_a_failed_sync_the_next_opening_writes_the_data_again() {
    let clock = workload::clock();
    let write = |engine: &FileEngine, number: u8| {
        let key = StoreKey::from_bytes([number; StoreKey::LEN]);
        let life = Duration::from_secs(60);
        let request = WriteRequest::new(&key, vec![number; 500], life, Expected::Any);
        engine.write(&request).map(drop).unwrap();
    };
    for seed in 0..8 {
        let disk = SimDisk::with_fault(None);
        let engine = workload::open(&disk, &clock).unwrap();
        write(&engine, 0);
        engine.log.sync().unwrap();
        // They are in several segments.
        (1..20).for_each(|number| write(&engine, number));
        disk.break_down();
        engine.log.sync().unwrap_err();
        let disk = disk.restart();
        let engine = workload::open(&disk, &clock).unwrap();
        write(&engine, 20);
        engine.log.sync().unwrap();
        let disk = disk.crash(Crash::Power(seed), None);
        let engine = workload::open(&disk, &clock).expect("synced data is lost");
        assert_eq!(engine.stats().records, 21);
    }
}
