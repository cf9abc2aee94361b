//! The system clock under valgrind and under libfaketime, each in a process of its own.

use std::{
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use hyper_session::clock::Clock;

use crate::support::{config, test_name, test_server};

/// Set for the child process only.
const CHILD: &str = "CLOCK_CHILD";

/// Starts this test program again, under `program`, and returns the time that its clock prints.
#[track_caller]
fn child_time(program: &str, arguments: &[&str]) -> u64 {
    let output = Command::new(program)
        .args(arguments)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test_name(module_path!(), "child_process")])
        .arg("--nocapture")
        .env(CHILD, "1")
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("{program} does not start ({error}): install it"));
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{errors}");
    assert!(printed.contains("1 passed"), "{printed}{errors}");
    let (_, time) = printed.split_once("clock: ").expect("the child's time");
    time.lines().next().unwrap().parse().unwrap()
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

#[test]
fn a_program_runs_under_valgrind() {
    let start = now();
    let seconds = child_time("valgrind", &["--tool=none", "--quiet"]) / 1000;
    assert!((start - 1..=now()).contains(&seconds), "{seconds}");
}

#[test]
fn the_clock_follows_libfaketime() {
    let seconds = child_time("faketime", &["2040-01-01 00:00:00"]) / 1000;
    let year_2040 = 2_208_988_800;
    let ten_minutes = 600;
    assert!(
        (year_2040..year_2040 + ten_minutes).contains(&seconds),
        "{seconds}"
    );
}

/// Does its work only in the child process: one request with a session, then the clock.
#[tokio::test]
async fn child_process() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.put("n", 1).unwrap()).await;
    browser
        .visit(async |s| assert_eq!(s.get("n").unwrap(), Some(1)))
        .await;
    println!("clock: {}", Clock::system().now().as_millis());
}
