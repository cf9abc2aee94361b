//! Arbitrary environment variables. An invalid one is an error that names its variable or setting and
//! contains no secret. A valid configuration builds sessions or fails with such an error. A model knows which values
//! are valid, and their durations.
#![no_main]

use std::collections::HashMap;

use hyper_session::{SessionConfig, Sessions, config::ConfigError, store::MemoryStore};
use libfuzzer_sys::fuzz_target;

/// A part of every secret and of no other value. Inputs that contain it are skipped.
const MARK: &str = "zq7zq7zq7";

const NAMES: [&str; 13] = [
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
    "SESSION_COOKIE_PRIORITY",
    "SESSION_KEEP_FLASH_ON_REDIRECT",
];

// Each line is a variable: a hexadecimal digit, which is its number, and its value.
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
    let value_of = |name| variables.get(name).map_or("", |value| value.trim());
    check_validity(read.as_ref().err(), value_of);
    let Ok(config) = read else {
        return;
    };
    check_values(&config, value_of);
    let is_redis = value_of("SESSION_DRIVER") == "redis"
        && value_of("SESSION_MIGRATE_FROM").is_empty()
        && value_of("SESSION_MIGRATE_TO").is_empty();
    let built = if is_redis {
        // It does not connect.
        Sessions::builder(config).build()
    } else {
        // This store replaces the named one.
        Sessions::new(config, MemoryStore::new())
    };
    match built {
        Ok(sessions) => assert!(!format!("{sessions:?}").contains(MARK)),
        Err(error) => drop(checked_text(&error)),
    }
});

/// Checks that the variable of an error is invalid, and that without an error no variable is.
fn check_validity<'v>(error: Option<&ConfigError>, value_of: impl Fn(&'static str) -> &'v str) {
    for name in NAMES {
        let value = value_of(name);
        match (is_valid(name, value), error) {
            (Some(valid), None) => assert!(valid, "{name}: {value:?}"),
            (Some(true), Some(error)) => assert_ne!(error.setting(), name, "{value:?}"),
            _ => {}
        }
    }
}

/// Returns `true` if a variable accepts the value, or `None` if the model does not know.
fn is_valid(name: &str, value: &str) -> Option<bool> {
    let lower = value.to_ascii_lowercase();
    let valid = match name {
        "APP_KEY" | "APP_KEY_PREVIOUS" | "SESSION_FILE_LOCATION" => return None,
        _ if value.is_empty() => true,
        "SESSION_AGE" => nanoseconds(value).is_some_and(|age| (SECOND..=MAX_AGE).contains(&age)),
        "SESSION_COOKIE" => value.len() <= 256 && value.chars().all(is_token),
        "SESSION_COOKIE_PRIORITY" => ["low", "medium", "high"].contains(&&*lower),
        "SESSION_KEEP_FLASH_ON_REDIRECT" => ["true", "false"].contains(&value),
        "SESSION_FILE_DURABILITY" => {
            ["always", "os"].contains(&value) || nanoseconds(value).is_some_and(|time| time > 0)
        }
        "SESSION_FILE_ON_DAMAGE" => {
            ["refuse", "drop_uncertain", "allow_data_loss"].contains(&value)
        }
        // Sessions that are built check the names of stores and the URL.
        _ => true,
    };
    Some(valid)
}

/// Returns `true` if a name of a cookie may contain the character.
fn is_token(character: char) -> bool {
    character.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(character)
}

/// Compares accepted values with the variables.
fn check_values<'v>(config: &SessionConfig, value_of: impl Fn(&'static str) -> &'v str) {
    let switch = value_of("SESSION_KEEP_FLASH_ON_REDIRECT");
    assert_eq!(config.keep_flash_on_redirect, switch == "true");
    let age = value_of("SESSION_AGE");
    if !age.is_empty() {
        let expected = nanoseconds(age);
        assert_eq!(Some(config.age.duration().as_nanos()), expected, "{age:?}");
    }
    let texts = [
        ("SESSION_DRIVER", Some(&config.store)),
        ("SESSION_COOKIE", Some(&config.cookie_name)),
        ("SESSION_MIGRATE_FROM", config.migrate_from.as_ref()),
        ("SESSION_MIGRATE_TO", config.migrate_to.as_ref()),
        (
            "SESSION_FILE_DURABILITY",
            config.stores.file.durability.as_ref(),
        ),
        (
            "SESSION_FILE_ON_DAMAGE",
            config.stores.file.on_damage.as_ref(),
        ),
    ];
    for (name, text) in texts {
        let value = value_of(name);
        assert!(
            value.is_empty() || text.is_some_and(|text| text == value),
            "{name}: {text:?}"
        );
    }
    let priority = value_of("SESSION_COOKIE_PRIORITY").to_ascii_lowercase();
    let found = config
        .cookie
        .priority
        .map(|priority| format!("{priority:?}").to_lowercase());
    assert_eq!(found.unwrap_or_default(), priority);
}

const SECOND: u128 = 1_000_000_000;
/// Ten years.
const MAX_AGE: u128 = 3_650 * 86_400 * SECOND;

/// Returns the length of a duration in nanoseconds.
fn nanoseconds(text: &str) -> Option<u128> {
    let start = text.find(|c: char| c != '.' && !c.is_ascii_digit());
    let (number, unit) = text.split_at(start.unwrap_or(text.len()));
    let unit = match &*unit.trim_start().to_ascii_lowercase() {
        "ms" | "millisecond" | "milliseconds" => SECOND / 1_000,
        "" | "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600 * SECOND,
        "d" | "day" | "days" => 86_400 * SECOND,
        "w" | "week" | "weeks" => 7 * 86_400 * SECOND,
        _ => return None,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if decimals.is_empty() || decimals.len() > 9 {
        return None;
    }
    let decimals: u128 = format!("{decimals:0<9}").parse().ok()?;
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    let length = whole + decimals * unit / SECOND;
    (length / SECOND <= u64::MAX.into()).then_some(length)
}

fn variable(line: &str) -> Option<(&'static str, String)> {
    let mut characters = line.chars();
    let number = characters.next()?.to_digit(16)?;
    let name = *NAMES.get(usize::try_from(number).ok()?)?;
    let value = characters.as_str();
    let value = match name {
        "APP_KEY" => format!("{value}{MARK}"),
        "REDIS_URL" => marked_url(value),
        "APP_KEY_PREVIOUS" => value.replace(',', &format!("{MARK},")) + MARK,
        _ => value.to_owned(),
    };
    Some((name, value))
}

/// Adds the mark to the parts of a URL that may be secret: the start of the user, the end of the password and the end of the
/// text unless an address is there. A text that is not only a scheme and a host is secret as a whole.
fn marked_url(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return format!("{value}{MARK}");
    };
    let user = if rest.contains(['@', ':']) { MARK } else { "" };
    let is_address = !rest.contains(['?', '#']) && (rest.contains('@') || !rest.contains(':'));
    let end = if is_address { "" } else { MARK };
    let rest = match rest.rsplit_once('@') {
        Some((before, host)) => format!("{before}{MARK}@{host}"),
        None => rest.to_owned(),
    };
    format!("{scheme}://{user}{rest}{end}")
}

/// Returns the error's text after checking that it names the setting and contains no secret.
fn checked_text(error: &ConfigError) -> String {
    let text = format!("{error} {error:?}");
    assert!(text.contains(error.setting()), "{text}");
    assert!(!text.contains(MARK), "{text}");
    text
}
