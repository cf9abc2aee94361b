//! The keys that `session-key` prints.

use std::process::{Command, Output};

use hyper_session::{SessionConfig, Sessions, seal::SealKey, store::MemoryStore};

fn run(arguments: &[&str]) -> Output {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_session-key"));
    tool.args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_key_is_another_one_and_works() {
    let (one, other) = (run(&[]), run(&[]));
    assert!(one.status.success() && one.stderr.is_empty());
    assert_ne!(one.stdout, other.stdout);
    let key = text(&one.stdout).strip_suffix('\n').unwrap().to_owned();
    assert!(
        key.starts_with("base64:") && key.len() == 51,
        "{}",
        key.len()
    );
    assert!(key.parse::<SealKey>().is_ok());
    let config = SessionConfig::default()
        .with_variables(|name| Ok((name == "APP_KEY").then(|| key.clone())));
    assert!(Sessions::new(config.unwrap(), MemoryStore::new()).is_ok());
}

#[test]
fn a_line_for_an_environment_file() {
    let line = run(&["--env"]);
    let key = text(&line.stdout).strip_prefix("APP_KEY=").unwrap();
    assert!(key.parse::<SealKey>().is_ok());
}

#[test]
fn help_describes_the_program_and_a_wrong_argument_lists_the_options() {
    for flag in ["--help", "-h"] {
        let help = run(&[flag]);
        assert!(help.status.success());
        assert!(text(&help.stdout).contains("APP_KEY_PREVIOUS"));
    }
    let wrong = run(&["--hepl"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty());
    assert!(text(&wrong.stderr).contains("--help"));
}
