//! The system clock under valgrind and under libfaketime, each in a process of its own.

use std::{
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use hyper_session::{
    Sessions,
    clock::Clock,
    store::{CookieStore, MemoryStore},
};

use serde_json::{Value, json};

use crate::support::{
    Browser, config,
    net::Remote,
    playground::{Playground, ops},
    scratch::Scratch,
    test_name, test_server,
};

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
    if std::env::var_os(CHILD).is_none_or(|value| value != "1") {
        return;
    }
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.put("n", 1).unwrap()).await;
    browser
        .visit(async |s| assert_eq!(s.get("n").unwrap(), Some(1)))
        .await;
    println!("clock: {}", Clock::system().now().as_millis());
}

/// Returns the library that `faketime` loads into a program.
fn faketime_library() -> String {
    let output = Command::new("faketime")
        .args(["-f", "+0", "printenv", "LD_PRELOAD"])
        .output()
        .unwrap_or_else(|error| panic!("faketime does not start ({error}): install it"));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn sessions_survive_jumps_of_the_system_clock() {
    let folder = Scratch::new();
    let offset = folder.path().join("offset");
    std::fs::write(&offset, "+0").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test_name(module_path!(), "jumping_child")])
        .arg("--nocapture")
        .env(CHILD, &offset)
        .env("LD_PRELOAD", faketime_library())
        .env("FAKETIME_TIMESTAMP_FILE", &offset)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{errors}");
    assert!(printed.contains("jumps: 4"), "{printed}{errors}");
}

/// Does its work only in the child process: sets its clock back and forward between requests.
#[tokio::test]
async fn jumping_child() {
    let Some(offset) = std::env::var_os(CHILD).filter(|value| value != "1") else {
        return;
    };
    let memory = Sessions::new(config(), MemoryStore::new()).unwrap();
    let cookies = Sessions::new(config(), CookieStore::new()).unwrap();
    let mut browsers = [Browser::new(&memory), Browser::new(&cookies)];
    let start = now();
    let mut jumps = 0;
    for (number, text) in ["+0", "-1h", "+0", "+1h", "+4h"].into_iter().enumerate() {
        std::fs::write(&offset, text).unwrap();
        let elapsed = i64::try_from(Clock::system().now().as_millis() / 1000).unwrap()
            - i64::try_from(start).unwrap();
        let hours = [0, -1, 0, 1, 4][number];
        assert!((elapsed - hours * 3600).abs() < 1000, "{text}: {elapsed}");
        jumps += usize::from(number > 0);
        for browser in &mut browsers {
            let n = browser.visit(async |s| s.increment("n").unwrap()).await;
            // After two hours without a request, the session is a new one.
            let expected = if hours == 4 { 1 } else { number as i64 + 1 };
            assert_eq!(n, expected.into(), "{text}");
        }
    }
    println!("jumps: {jumps}");
}

/// Sets the clock of the program that reads its offset from this file.
fn set_clock(offset: &Path, text: &str) {
    let next = offset.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, offset).unwrap();
}

/// Returns the user who is signed in.
async fn user(client: &mut Remote) -> Value {
    ops(client, json!([{"op": "get", "key": "user"}])).await[0].take()
}

/// Starts the playground with a clock that is ahead by the offset in a file.
fn start(driver: &str, folder: &Scratch, offset: &Path) -> Playground {
    Playground::start_with(&[
        ("SESSION_DRIVER", driver),
        ("SESSION_FILE_LOCATION", folder.path().to_str().unwrap()),
        ("LD_PRELOAD", &faketime_library()),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ])
}

#[tokio::test]
async fn a_session_of_an_example_ends_by_the_clock_and_does_not_return() {
    for driver in ["memory", "file", "cookie"] {
        if driver == "file" && !cfg!(feature = "file") {
            continue;
        }
        let (folder, files) = (Scratch::new(), Scratch::new());
        let offset = files.path().join("offset");
        set_clock(&offset, "+0");
        let mut playground = start(driver, &folder, &offset);
        let mut client = playground.client();
        let sign_in = json!([{"op": "regenerate"}, {"op": "put", "key": "user", "value": 7}]);
        ops(&mut client, sign_in).await;
        set_clock(&offset, "+1h");
        assert_eq!(user(&mut client).await, 7, "{driver}");
        let copy = client.jar.clone();
        // Two hours and more without a request.
        set_clock(&offset, "+4h");
        let mut late = playground.client();
        late.jar = copy.clone();
        assert_eq!(user(&mut client).await, Value::Null, "{driver}");
        assert_eq!(user(&mut late).await, Value::Null, "{driver}");
        if driver == "file" {
            playground.stop();
            assert!(playground.wait());
            set_clock(&offset, "+1h");
            playground = start(driver, &folder, &offset);
        }
        set_clock(&offset, "+1h");
        let mut returned = playground.client();
        returned.jar = client.jar;
        assert_eq!(user(&mut returned).await, Value::Null, "{driver}");
        returned.jar = copy;
        // No server remembers the end of a session that is only in its cookie.
        let expected = if driver == "cookie" {
            json!(7)
        } else {
            Value::Null
        };
        assert_eq!(user(&mut returned).await, expected, "{driver}");
    }
}
