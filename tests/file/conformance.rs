//! The file store keeps the store contract in every durability mode.

use std::{future::ready, time::Duration};

use hyper_session::{
    clock::{Clock, Timestamp},
    store::{
        FileStore,
        conformance::{self, Check, ManualTime},
        file::Durability,
    },
};

use crate::support::scratch::Scratch;

async fn keeps_the_contract(durability: Durability) {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let scratch = Scratch::new();
    let store = FileStore::builder(scratch.path())
        .durability(durability)
        .clock(clock.clone())
        .open()
        .unwrap();
    let store = || ready(store.clone());
    let report = conformance::run(&ManualTime::new(&clock, store)).await;
    report.assert_passed();
    assert_eq!(report.passed(), Check::ALL, "no check is skipped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_contract_is_kept_when_the_system_decides_about_the_disk() {
    keeps_the_contract(Durability::Os).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_contract_is_kept_with_a_sync_every_interval() {
    keeps_the_contract(Durability::Interval(Duration::from_millis(20))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_contract_is_kept_with_every_write_on_the_disk() {
    keeps_the_contract(Durability::Always).await;
}

#[tokio::test]
async fn the_contract_is_kept_on_one_thread() {
    keeps_the_contract(Durability::Os).await;
}
