//! Log lines of an outage of a store that does not report it: one when it begins and one when it ends.

use std::time::Duration;

use http::StatusCode;
use hyper_session::{
    Sessions,
    clock::{Clock, Timestamp},
    store::{MemoryStore, MigratingStore, Store},
    testing::{StoreCall, TestStore},
};
use tracing::subscriber::DefaultGuard;

use crate::{
    log::{Log, ONE},
    support::{Browser, config},
};

/// Returns the warnings of a log.
fn warnings(log: &Log) -> Vec<String> {
    let text = log.text();
    let lines = text.lines().filter(|line| line.contains("WARN"));
    lines.map(str::to_owned).collect()
}

fn log_to(log: &Log) -> DefaultGuard {
    let subscriber = tracing_subscriber::fmt().with_ansi(false);
    tracing::subscriber::set_default(subscriber.with_writer(log.clone()).finish())
}

fn sessions(store: impl Store, clock: &Clock) -> Sessions {
    let builder = Sessions::builder(config()).clock(clock.clone());
    builder.store(store).build().unwrap()
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_800_000_000_000))
}

async fn read(browser: &mut Browser) -> StatusCode {
    let visit = browser.request(async |s| s.load().await.map(drop));
    visit.await.status
}

async fn write(browser: &mut Browser) -> StatusCode {
    let visit = browser.request(async |s| s.load().await.map(|s| s.increment("n").unwrap()));
    visit.await.status
}

/// Makes requests that fail, then one that succeeds.
async fn outage(
    browser: &mut Browser,
    store: &TestStore<MemoryStore>,
    call: StoreCall,
    times: u32,
) {
    store.fail_always(call);
    for _ in 0..times {
        assert_eq!(write(browser).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    store.clear_rules();
    assert_eq!(write(browser).await, StatusCode::OK);
}

#[tokio::test]
async fn an_outage_of_any_store_is_one_line_at_each_end() {
    let _one = ONE.lock().await;
    for call in [StoreCall::Read, StoreCall::Write] {
        let (log, clock) = (Log::default(), clock());
        let _here = log_to(&log);
        let store = TestStore::new(MemoryStore::new());
        let mut browser = Browser::new(&sessions(store.clone(), &clock));
        assert_eq!(write(&mut browser).await, StatusCode::OK);
        outage(&mut browser, &store, call, 50).await;
        let lines = warnings(&log);
        let [away, back] = &lines[..] else {
            panic!("not one line for each end: {lines:#?}");
        };
        let verb = if call == StoreCall::Read {
            "read"
        } else {
            "write"
        };
        let reason = format!("session store test: {verb} failed: the test made the call fail");
        let expected = format!("event=\"store_away\" store=\"test\" reason={reason} left_out=0");
        assert!(away.ends_with(&expected), "{away}");
        let expected = "event=\"store_back\" store=\"test\" lasted=0ns failed=50";
        assert!(back.ends_with(expected), "{back}");
    }
}

#[tokio::test]
async fn a_store_that_fails_now_and_then_does_not_fill_the_log() {
    let _one = ONE.lock().await;
    let (log, clock) = (Log::default(), clock());
    let _here = log_to(&log);
    let store = TestStore::new(MemoryStore::new());
    let mut browser = Browser::new(&sessions(store.clone(), &clock));
    assert_eq!(write(&mut browser).await, StatusCode::OK);
    for _ in 0..100 {
        outage(&mut browser, &store, StoreCall::Write, 1).await;
    }
    assert_eq!(warnings(&log).len(), 2, "{:#?}", warnings(&log));
    clock.advance(Duration::from_secs(10));
    outage(&mut browser, &store, StoreCall::Write, 1).await;
    let lines = warnings(&log);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines[2].ends_with("left_out=99"), "{}", lines[2]);
}

#[tokio::test]
async fn a_read_ends_an_outage_of_reads_only() {
    let _one = ONE.lock().await;
    let (log, clock) = (Log::default(), clock());
    let _here = log_to(&log);
    let store = TestStore::new(MemoryStore::new());
    let sessions = sessions(store.clone(), &clock);
    let mut browser = Browser::new(&sessions);
    assert_eq!(write(&mut browser).await, StatusCode::OK);

    store.fail_always(StoreCall::Write);
    assert_eq!(write(&mut browser).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(read(&mut browser).await, StatusCode::OK);
    assert_eq!(warnings(&log).len(), 1, "{:#?}", warnings(&log));
    store.clear_rules();
    assert_eq!(write(&mut browser).await, StatusCode::OK);
    assert_eq!(warnings(&log).len(), 2, "{:#?}", warnings(&log));

    clock.advance(Duration::from_secs(10));
    store.fail_always(StoreCall::Read);
    assert_eq!(read(&mut browser).await, StatusCode::SERVICE_UNAVAILABLE);
    // A new visitor needs no read.
    assert_eq!(read(&mut Browser::new(&sessions)).await, StatusCode::OK);
    assert_eq!(warnings(&log).len(), 3, "{:#?}", warnings(&log));
    store.clear_rules();
    assert_eq!(read(&mut browser).await, StatusCode::OK);
    assert_eq!(warnings(&log).len(), 4, "{:#?}", warnings(&log));
}

#[tokio::test]
async fn an_outage_of_one_store_of_a_migration_is_one_line_at_each_end() {
    let _one = ONE.lock().await;
    let (log, clock) = (Log::default(), clock());
    let _here = log_to(&log);
    let (old, new) = (MemoryStore::new(), TestStore::new(MemoryStore::new()));
    let mut browser = Browser::new(&sessions(MigratingStore::new(old, new.clone()), &clock));
    assert_eq!(write(&mut browser).await, StatusCode::OK);
    outage(&mut browser, &new, StoreCall::Write, 20).await;
    let lines = warnings(&log);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[1].ends_with("failed=20"), "{}", lines[1]);
}

/// A full disk: a small file system in memory, mounted for a separate process.
#[cfg(all(target_os = "linux", feature = "file"))]
mod full_disk {
    use std::{env, fs, path::Path, process::Command};

    use hyper_session::store::{FileStore, file::Durability};

    use super::*;
    use crate::support::{scratch::Scratch, test_name};

    const DIRECTORY: &str = "OUTAGE_FULL_DIRECTORY";

    #[test]
    fn a_full_disk_is_one_line_when_it_begins_and_one_when_it_ends() {
        let scratch = Scratch::new();
        let mount = "mount -t tmpfs -o size=1m tmpfs \"$OUTAGE_FULL_DIRECTORY\"";
        let run = |script: String| {
            let mut command = Command::new("unshare");
            command.args(["-r", "-m", "sh", "-c", &script]);
            command.env(DIRECTORY, scratch.path());
            command.arg(env::current_exe().unwrap()).output()
        };
        if !run(mount.to_owned()).is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: mounting is not allowed");
            return;
        }
        let test = test_name(module_path!(), "the_process_with_the_small_disk");
        let inner = format!("exec \"$0\" --exact {test} --nocapture");
        let output = run(format!("{mount} && {inner}")).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains("1 passed"), "{stdout}");
    }

    /// The child process; does nothing unless the test above has started it.
    #[tokio::test]
    async fn the_process_with_the_small_disk() {
        let Some(directory) = env::var_os(DIRECTORY) else {
            return;
        };
        let (log, clock, directory) = (Log::default(), clock(), Path::new(&directory));
        let _here = log_to(&log);
        let store = FileStore::builder(directory.join("sessions")).durability(Durability::Always);
        let mut browser = Browser::new(&sessions(store.open().unwrap(), &clock));
        assert_eq!(write(&mut browser).await, StatusCode::OK);
        let filler = directory.join("filler");
        fs::write(&filler, vec![1; 2 << 20]).expect_err("the disk is small");
        let mut failed = 0;
        // The store uses up the space that it has allocated in advance.
        while failed < 5 {
            let visit = browser.request(async |s| {
                s.load()
                    .await
                    .map(|s| s.put("data", "x".repeat(20_000)).unwrap())
            });
            failed += u32::from(visit.await.status == StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(read(&mut browser).await, StatusCode::OK);
        fs::remove_file(filler).unwrap();
        assert_eq!(write(&mut browser).await, StatusCode::OK);
        let lines = warnings(&log);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].contains("full"), "{}", lines[0]);
        assert!(lines[1].ends_with("failed=5"), "{}", lines[1]);
    }
}

/// A client that signs out beside a slow request causes a dropped write each time.
#[tokio::test]
async fn dropped_writes_do_not_fill_the_log() {
    let _one = ONE.lock().await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false);
    let subscriber = subscriber.with_max_level(tracing::Level::DEBUG);
    let _here = tracing::subscriber::set_default(subscriber.with_writer(log.clone()).finish());
    let mut browser = Browser::new(&sessions(MemoryStore::new(), &clock()));
    for _ in 0..20 {
        assert_eq!(write(&mut browser).await, StatusCode::OK);
        let mut other = browser.clone();
        let slow = browser.request(async |s| {
            s.load().await.unwrap().increment("n").unwrap();
            other.visit(async |s| s.destroy()).await.unwrap();
        });
        assert_eq!(slow.await.status, StatusCode::OK);
    }
    let text = log.text();
    let dropped = text
        .lines()
        .filter(|line| line.contains("\"write_dropped\""));
    let (warnings, others): (Vec<_>, Vec<_>) = dropped.partition(|line| line.contains("WARN"));
    // Another test may have caused a warning less than ten seconds before.
    assert!(warnings.len() <= 1, "{warnings:#?}");
    assert_eq!(warnings.len() + others.len(), 20, "{text}");
}
