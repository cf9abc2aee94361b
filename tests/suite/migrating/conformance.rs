//! Conformance of the migrating store to the store contract, while sessions migrate.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper_session::{
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{
        Capabilities, Expected, MemoryStore, MigratingStore, ReadOutcome, ScanStore, Store,
        StoreFuture, Tag, TagStore, WriteOutcome, WriteRequest,
        conformance::{self, Check, ManualTime},
    },
};

use crate::support::GateStore;

/// Checks that require the same version after a renewal. The renewal that migrates a session changes
/// its version.
const RENEWED: [Check; 4] = [
    Check::DataIsOpaque,
    Check::TouchesKeepTheRecord,
    Check::TouchSetsTheExpiry,
    Check::MaximumTtlIsKept,
];

/// Machines behind one balancer. Some migrate sessions, and some are only prepared. New sessions begin
/// in the old store or in either.
struct Machines {
    prepared: MigratingStore,
    migrating: MigratingStore,
    begin: Begin,
    renewals_migrate: bool,
    turn: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq)]
enum Begin {
    InTheOldStore,
    InEither,
}

impl Machines {
    fn new(clock: &Clock, begin: Begin) -> Self {
        let memory = || MemoryStore::builder().clock(clock.clone()).build();
        // Other operations run between the steps of an operation.
        let (old, new) = (GateStore::yielding(memory()), GateStore::yielding(memory()));
        Self {
            prepared: MigratingStore::prepare(old.clone(), new.clone()),
            migrating: MigratingStore::new(old, new),
            begin,
            renewals_migrate: false,
            turn: AtomicUsize::default(),
        }
    }

    fn next(&self) -> &MigratingStore {
        let even = self.turn.fetch_add(1, Relaxed).is_multiple_of(2);
        match self.begin == Begin::InEither && even {
            true => &self.prepared,
            false => &self.migrating,
        }
    }

    fn next_to_renew(&self) -> &MigratingStore {
        match self.renewals_migrate {
            true => self.next(),
            false => &self.prepared,
        }
    }
}

impl Store for Machines {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        match touch {
            Some(_) => self.next_to_renew().read(key, touch),
            None => self.next().read(key, touch),
        }
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        match (self.begin, request.expected) {
            (Begin::InTheOldStore, Expected::Absent) => self.prepared.write(request),
            _ => self.next().write(request),
        }
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.next().destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.next_to_renew().touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        self.migrating.capabilities()
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn ScanStore> {
        self.prepared.scan()
    }
}

impl TagStore for Machines {
    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        self.next().tagged(tag)
    }
}

async fn keeps_the_contract<S: Store>(make: impl Fn(&Clock) -> S + Send + Sync) {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let report = conformance::run(&ManualTime::new(&clock, || ready(make(&clock)))).await;
    report.assert_passed();
    assert_eq!(report.passed(), Check::ALL, "no check is skipped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_machine_that_moves_sessions_keeps_the_contract() {
    keeps_the_contract(|clock| Machines::new(clock, Begin::InEither).migrating).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_machine_that_is_prepared_keeps_the_contract() {
    keeps_the_contract(|clock| Machines::new(clock, Begin::InEither).prepared).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_of_the_old_store_are_as_any_other() {
    keeps_the_contract(|clock| Machines::new(clock, Begin::InTheOldStore)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn machines_that_move_and_machines_that_are_prepared_keep_the_contract_together() {
    for _ in 0..3 {
        keeps_the_contract(|clock| Machines::new(clock, Begin::InEither)).await;
    }
}

#[tokio::test]
async fn the_contract_is_kept_on_one_thread() {
    keeps_the_contract(|clock| Machines::new(clock, Begin::InEither)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_renewal_that_moves_a_session_gives_it_a_version_and_changes_nothing_else() {
    for begin in [Begin::InTheOldStore, Begin::InEither] {
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        let make = || {
            ready(Machines {
                renewals_migrate: true,
                ..Machines::new(&clock, begin)
            })
        };
        let report = conformance::run(&ManualTime::new(&clock, make)).await;
        for violation in report.violations() {
            assert!(RENEWED.contains(&violation.check()), "{violation}");
        }
        assert!(report.passed().len() >= Check::ALL.len() - RENEWED.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_whose_types_are_known_at_run_time_only_migrate_too() {
    keeps_the_contract(|clock| {
        let memory =
            || -> Arc<dyn Store> { Arc::new(MemoryStore::builder().clock(clock.clone()).build()) };
        MigratingStore::new(memory(), memory())
    })
    .await;
}
