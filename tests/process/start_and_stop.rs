//! The start and the stop of the example programs, and their log.

use std::{fs, io::Write, process::Command, time::Duration};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::support::{KEY, ServerProcess, config, playground::Playground, secrets, test_server};

/// A program that says that it listens can be stopped: its signal handlers exist before.
#[test]
fn signals_are_received_before_the_program_says_that_it_listens() {
    let (stdout, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    // The program waits in its first line, the address, because no process reads it.
    let mut command = Playground::command(&[("RUST_LOG", "off")]);
    let mut child = command.stdout(writer).spawn().unwrap();
    drop(command);
    let status = format!("/proc/{}/status", child.id());
    let catches = |signal: u64| {
        let status = fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        caught & (1 << (signal - 1)) != 0
    };
    let (interrupt, terminate) = (2, 15);
    let mut tries = 0..1200;
    while !(catches(interrupt) && catches(terminate)) {
        assert!(tries.next().is_some(), "it does not receive signals");
        std::thread::sleep(Duration::from_millis(50));
    }
    let sent = Command::new("kill").arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
    let printed = std::io::read_to_string(stdout).unwrap();
    assert!(printed.ends_with("stopped\n"), "{}", printed.trim_start());
    assert!(child.wait().unwrap().success());
}

/// Starts an example, and stops it. Returns its end.
#[cfg(all(
    feature = "axum",
    feature = "forms",
    feature = "templates",
    feature = "tracing"
))]
fn run(name: &str) -> crate::support::child::Exit {
    let scratch = crate::support::scratch::Scratch::new();
    let mut command = Command::new(crate::support::example(name));
    command
        .env_clear()
        .env("ADDR", "127.0.0.1:0")
        .env("METRICS_ADDR", "127.0.0.1:0")
        .env("APP_KEY", "a secret that no documentation holds")
        .current_dir(scratch.path());
    let process = ServerProcess::start(&mut command);
    process.signal("TERM");
    process.wait()
}

/// The other tests search the log for secrets, so it must not be empty.
#[cfg(all(
    feature = "axum",
    feature = "forms",
    feature = "templates",
    feature = "tracing"
))]
#[test]
fn the_examples_log_the_events_of_their_sessions() {
    for name in ["admin", "axum_app", "observability", "playground", "site"] {
        let exit = run(name);
        assert!(exit.status.success(), "{name}: {}", exit.stderr);
        assert!(
            exit.stderr.contains("event=\"started\""),
            "{name}: {}",
            exit.stderr
        );
    }
}

#[test]
#[should_panic(expected = "a secret is printed: key: a secret of this test!")]
fn a_secret_in_the_output_of_a_program_fails_the_test() {
    let script = "echo listening on http://127.0.0.1:1; echo key: \"$APP_KEY\"! >&2";
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .env("APP_KEY", "a secret of this test");
    ServerProcess::start(&mut command).wait();
}

#[tokio::test]
#[should_panic(expected = "is printed: id: ")]
async fn the_id_of_a_cookie_in_a_text_fails_the_test() {
    let mut browser = test_server(config()).browser();
    let id = browser.visit(async |session| session.id().unwrap()).await;
    let server = ([127, 0, 0, 1], 2).into();
    secrets::record(server, browser.cookie().unwrap());
    let id = id.to_string();
    secrets::check(server, Some(KEY), &format!("nothing {}", &id[..15]));
    // A part of an id is also found.
    secrets::check(server, Some(KEY), &format!("id: {}", &id[5..21]));
}
