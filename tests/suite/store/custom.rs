//! The store of `examples/custom_store.rs` keeps the contract and persists its data.

#[path = "../../../examples/custom_store/redb_store.rs"]
pub(crate) mod redb_store;

use std::{future::ready, path::PathBuf};

use hyper_session::{
    Sessions,
    clock::{Clock, Timestamp},
    config::StoreRegistry,
    store::conformance::{self, Check, ManualTime},
};
use redb_store::RedbStore;

use crate::support::{Browser, config};

/// The checks that need an extension, of which the example has none.
const NEED_AN_EXTENSION: [Check; 7] = [
    Check::TagsListTheirSessions,
    Check::TagNamesAreOpaque,
    Check::TouchedSessionsStayListed,
    Check::DestroyTaggedEndsSessions,
    Check::DestroyedSessionsStayUntagged,
    Check::ScansVisitEverySession,
    Check::ScansMissNoSession,
];

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{name}-{}.redb", std::process::id()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_example_keeps_the_contract() {
    let file = file("contract");
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let store = RedbStore::open(&file, clock.clone()).unwrap();
    let report = conformance::run(&ManualTime::new(&clock, || ready(store.clone()))).await;
    report.assert_passed();
    assert_eq!(report.skipped(), NEED_AN_EXTENSION);
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn it_is_chosen_by_its_name_and_keeps_what_it_is_given() {
    let file = file("named");
    let mut jar = None;
    for visits in 1..=2 {
        let path = file.clone();
        let stores = StoreRegistry::new()
            .register_with("redb", move || RedbStore::open(&path, Clock::system()));
        let built = Sessions::builder(config().store("redb"))
            .stores(stores)
            .build();
        let mut browser = Browser::new(&built.unwrap());
        browser.jar = jar.take().unwrap_or_default();
        let seen = browser
            .visit(async |session| session.increment("visits").unwrap())
            .await;
        assert_eq!(seen, hyper_session::document::Number::Int(visits));
        jar = Some(browser.jar);
    }
    std::fs::remove_file(file).unwrap();
}
