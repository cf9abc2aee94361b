//! A soak: visitors change sessions over HTTP while servers and stores are killed, suspended and cut off.
//! Each response is compared with what the visitor knows, so a change that was acknowledged and lost, or
//! applied twice, fails the test.
//!
//! Without `SOAK_MINUTES`, each kind of fault happens once. `scripts/soak.sh` runs longer ones.

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod ledger;
mod report;
mod server;
mod visitor;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use faults::{Environment, Fault, StoreKind};
use report::Report;
use visitor::{Counter, Site, Visitor};

/// The number of visitors with a session each.
const VISITORS: u64 = 32;

/// The number of visitors that change one session at once.
const COUNTERS: usize = 8;

/// The maximum number of requests at the same time.
const MAX_IN_FLIGHT: u64 = 2 * VISITORS + COUNTERS as u64;

/// The time from one fault to the next in a long run.
const FAULT_INTERVAL: Duration = Duration::from_secs(20);

/// The time from one fault to the next in a short run.
const SHORT_INTERVAL: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    soak(StoreKind::Memory, "memory").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file() {
    soak(StoreKind::File, "file").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookie() {
    soak(StoreKind::Cookie, "cookie").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis() {
    soak(StoreKind::Redis, "redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster() {
    soak(StoreKind::Cluster, "cluster").await;
}

/// Runs visitors and faults on a store, checks every session, and prints a line of the result.
///
/// `test` is the name of the calling test, which is also the program of its servers.
async fn soak(store: StoreKind, test: &str) {
    if let Ok(setting) = std::env::var(server::SETTING) {
        return server::run(&setting).await;
    }
    let minutes: Option<f64> = std::env::var("SOAK_MINUTES")
        .ok()
        .map(|text| text.parse().expect("SOAK_MINUTES is a number"));
    let environment = Environment::start(store, test);
    let site = Arc::new(Site::new(store, environment.addresses()));
    let counters = Counter::start_all(&site, COUNTERS).await;
    let visitors = (0..VISITORS)
        .map(|number| tokio::spawn(Visitor::new(number, &site).run()))
        .collect::<Vec<_>>();
    let report = Report::new(test);
    let faults = tokio::task::spawn_blocking({
        let site = Arc::clone(&site);
        move || inject_faults(environment, &site, report, minutes)
    });
    let (environment, report) = faults.await.unwrap();
    site.stop.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.await.unwrap();
    }
    for counter in counters {
        counter.await.unwrap();
    }
    site.check_counters().await;
    drop(environment);
    let max_unknown = match store {
        StoreKind::Memory => Some(0),
        // A killed server answers no request that it has received.
        StoreKind::File | StoreKind::Cookie => Some(report.faults as u64 * MAX_IN_FLIGHT),
        StoreKind::Redis | StoreKind::Cluster => None,
    };
    let is_long = minutes.is_some_and(|minutes| minutes >= 5.0);
    report.finish(&site, max_unknown, is_long);
}

/// Injects one fault after the other, each kind equally often, and takes samples of memory meanwhile.
fn inject_faults(
    mut environment: Environment,
    site: &Site,
    mut report: Report,
    minutes: Option<f64>,
) -> (Environment, Report) {
    let start = Instant::now();
    let kinds = environment.store().faults();
    let mut number = 0;
    let interval = minutes.map_or(SHORT_INTERVAL, |_| FAULT_INTERVAL);
    loop {
        let next = Instant::now() + interval;
        while Instant::now() < next && !site.has_failed() {
            std::thread::sleep(Duration::from_millis(250));
            report.sample(&environment, site);
        }
        let is_over = match minutes {
            Some(minutes) => start.elapsed().as_secs_f64() > minutes * 60.0,
            None => number >= kinds.len(),
        };
        if is_over || site.has_failed() {
            return (environment, report);
        }
        // In the second half of a long run, one process shows whether its memory grows.
        let is_second_half =
            minutes.is_some_and(|minutes| start.elapsed().as_secs_f64() > minutes * 30.0);
        let fault = match kinds[number % kinds.len()] {
            fault if is_second_half && environment.restarts_all_servers(fault) => {
                Fault::PauseServer
            }
            fault => fault,
        };
        environment.inject(fault);
        report.faults += 1;
        number += 1;
    }
}
