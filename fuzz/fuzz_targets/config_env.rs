//! Arbitrary environment variables. An invalid one is an error that names its variable or setting and
//! contains no secret. A valid configuration builds sessions or fails with such an error.
#![no_main]

use std::collections::HashMap;

use hyper_session::{SessionConfig, Sessions, config::ConfigError, store::MemoryStore};
use libfuzzer_sys::fuzz_target;

/// A part of every secret and of no other value. Inputs that contain it are skipped.
const MARK: &str = "zq7zq7zq7";

const NAMES: [&str; 11] = [
    "SESSION_DRIVER",
    "SESSION_AGE",
    "SESSION_COOKIE",
    "APP_KEY",
    "APP_KEY_PREVIOUS",
    "SESSION_FILE_LOCATION",
    "SESSION_FILE_DURABILITY",
    "REDIS_URL",
    "SESSION_MIGRATE_FROM",
    "SESSION_MIGRATE_TO",
    "SESSION_FILE_ON_DAMAGE",
];

// Each line is a variable: a digit, which is its number, and its value.
fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if text.contains(MARK) {
        return;
    }
    let variables: HashMap<&str, String> = text.lines().filter_map(variable).collect();
    let read = SessionConfig::default().with_variables(|name| Ok(variables.get(name).cloned()));
    let shown = match read.as_ref() {
        Ok(config) => format!("{config:?}"),
        Err(error) => checked_text(error),
    };
    assert!(!shown.contains(MARK), "{shown}");
    let Ok(config) = read else {
        return;
    };
    // This store replaces the named one.
    if let Err(error) = Sessions::new(config, MemoryStore::new()) {
        checked_text(&error);
    }
});

fn variable(line: &str) -> Option<(&'static str, String)> {
    let mut characters = line.chars();
    let number = characters.next()?.to_digit(10)?;
    let name = *NAMES.get(usize::try_from(number).ok()?)?;
    let value = characters.as_str();
    let value = match name {
        "APP_KEY" | "REDIS_URL" => format!("{value}{MARK}"),
        "APP_KEY_PREVIOUS" => value.replace(',', &format!("{MARK},")) + MARK,
        _ => value.to_owned(),
    };
    Some((name, value))
}

/// Returns the error's text after checking that it names the setting and contains no secret.
fn checked_text(error: &ConfigError) -> String {
    let text = format!("{error} {error:?}");
    assert!(text.contains(error.setting()), "{text}");
    assert!(!text.contains(MARK), "{text}");
    text
}
