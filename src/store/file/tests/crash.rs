//! The disk fails, or the machine stops, at every single operation of a workload.

use std::io::ErrorKind;

use super::{
    super::Durability,
    disk::{Crash, SimDisk, Trouble},
    workload::{Workload, check_sizes},
};

const STEPS: usize = 120;

/// How many different workloads are run: more in a long run.
fn seeds() -> std::ops::Range<u64> {
    let wanted = std::env::var("FILE_CRASH_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok());
    0..wanted.unwrap_or(3)
}

/// One workload of three writes as the system likes; the others make room ahead, as where writers
/// wait for syncs.
const fn durability(seed: u64) -> Durability {
    match seed % 3 {
        1 => Durability::Os,
        _ => Durability::Always,
    }
}

/// How many operations of the disk the workload makes when nothing fails.
fn operations(seed: u64) -> usize {
    let disk = SimDisk::with(None);
    let mut workload = Workload::begin(&disk, durability(seed), false).unwrap();
    workload.run(seed, STEPS);
    disk.operations()
}

/// Runs the workload into trouble at every operation; `then` looks at what came of it.
fn at_every_operation(
    seed: u64,
    trouble: Trouble,
    at_once: bool,
    then: impl Fn(&SimDisk, &Workload, usize),
) {
    for at in 0..operations(seed) {
        let disk = SimDisk::with(Some((at, trouble)));
        // An opening that fails has nothing to remember yet.
        if let Ok(mut workload) = Workload::begin(&disk, durability(seed), at_once) {
            workload.run(seed, STEPS);
            then(&disk, &workload, at);
        }
    }
}

#[test]
fn the_workload_reaches_everything_that_can_crash() {
    for durability in [Durability::Always, Durability::Os] {
        let disk = SimDisk::with(None);
        let mut workload = Workload::begin(&disk, durability, false).unwrap();
        let (mut cleaned, mut hints) = (0, 0);
        for seed in 0..10 {
            workload.run(seed, STEPS);
            check_sizes(&workload);
            workload.check(&workload.engine);
            let stats = workload.engine.stats();
            cleaned += stats.cleaned_segments;
            hints += stats.hints_used;
        }
        assert!(cleaned > 4, "cleaned {cleaned}");
        assert!(hints > 4, "hints {hints}");
    }
}

#[test]
fn what_was_synced_survives_a_power_failure_at_every_operation() {
    for seed in seeds() {
        at_every_operation(seed, Trouble::Cut, false, |disk, workload, at| {
            for luck in 0..4 {
                let power = Crash::Power(at as u64 * 64 + luck);
                workload.check_after(&disk.after(power, None));
            }
        });
    }
}

#[test]
fn what_was_acknowledged_survives_the_end_of_the_process_at_every_operation() {
    for seed in seeds() {
        at_every_operation(seed, Trouble::Cut, true, |disk, workload, _| {
            workload.check_after(&disk.after(Crash::Process, None));
        });
    }
}

#[test]
fn a_power_failure_during_the_opening_after_a_power_failure_loses_nothing_either() {
    at_every_operation(1, Trouble::Cut, false, |disk, workload, at| {
        for second in 0..12 {
            let crash = Crash::Power(at as u64);
            let during = disk.after(crash, Some((second, Trouble::Cut)));
            let _ = super::workload::open(&during, &super::workload::clock());
            workload.check_after(&during.after(Crash::Power(second as u64), None));
        }
    });
}

#[test]
fn a_full_disk_at_any_operation_changes_nothing_and_the_store_goes_on() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for seed in [1, 2] {
            at_every_operation(seed, Trouble::Once(kind), true, |disk, workload, _| {
                workload.check(&workload.engine);
                workload.check_after(&disk.after(Crash::Process, None));
            });
        }
    }
}

#[test]
fn a_disk_that_stays_broken_leaves_what_was_there_readable() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        at_every_operation(0, Trouble::Ever(kind), true, |disk, workload, _| {
            workload.check(&workload.engine);
            workload.check_after(&disk.after(Crash::Process, None));
        });
    }
}

#[test]
fn after_a_failed_sync_the_store_takes_no_write_and_loses_nothing_that_was_synced() {
    at_every_operation(
        2,
        Trouble::Once(ErrorKind::Other),
        false,
        |disk, workload, at| {
            let power = Crash::Power(at as u64);
            workload.check_after(&disk.after(power, None));
        },
    );
}
