//! Settings from the environment: what is set there wins over what was set before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed unwrap is the verdict"
)]

mod support;

use hyper_session::{SessionConfig, Sessions, config::ConfigError};
use support::{KEY, config};

/// A configuration after these variables.
fn with(config: SessionConfig, variables: &[(&str, &str)]) -> Result<SessionConfig, ConfigError> {
    config.with_variables(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        Ok(found.map(|(_, value)| (*value).to_owned()))
    })
}

#[test]
fn each_variable_sets_its_setting() {
    let config = with(
        SessionConfig::default(),
        &[
            ("SESSION_DRIVER", "redis"),
            ("SESSION_AGE", "30 minutes"),
            ("SESSION_COOKIE", "sid"),
            ("APP_KEY", KEY),
            (
                "APP_KEY_PREVIOUS",
                " first of the older keys, 32 long , second of the older keys, 32 ",
            ),
        ],
    )
    .unwrap();
    assert_eq!(config.store, "redis");
    assert_eq!(config.age.to_string(), "30m");
    assert_eq!(config.cookie_name, "sid");
    assert!(config.app_key.is_some());
    assert_eq!(config.app_key_previous.len(), 4, "commas part keys");
}

#[test]
fn the_environment_wins_over_before_and_loses_to_after() {
    let before = config().cookie_name("before");
    let config = with(before, &[("SESSION_COOKIE", "env")]).unwrap();
    assert_eq!(config.cookie_name, "env");
    assert_eq!(config.cookie_name("after").cookie_name, "after");
}

#[test]
fn what_is_unset_or_empty_changes_nothing() {
    let set = config().cookie_name("mine").store("memory");
    let empty = [
        ("SESSION_COOKIE", ""),
        ("SESSION_DRIVER", "  "),
        ("APP_KEY", ""),
    ];
    for variables in [&[][..], &empty] {
        let config = with(set.clone(), variables).unwrap();
        assert_eq!((&*config.cookie_name, &*config.store), ("mine", "memory"));
        assert!(Sessions::builder(config).build().is_ok());
    }
}

#[test]
fn a_number_alone_is_seconds() {
    let config = with(config(), &[("SESSION_AGE", "90")]).unwrap();
    assert_eq!(config.age.duration().as_secs(), 90);
}

#[test]
fn a_value_that_cannot_be_read_is_refused_by_its_variable() {
    let error = with(config(), &[("SESSION_AGE", "1 month")]).unwrap_err();
    assert_eq!(error.setting(), "SESSION_AGE");
    assert!(error.to_string().contains("no fixed length"));
}

#[test]
fn a_name_from_the_environment_is_checked_when_sessions_are_built() {
    let config = with(config(), &[("SESSION_COOKIE", "a b")]).unwrap();
    let error = Sessions::builder(config).build().unwrap_err();
    assert_eq!(error.setting(), "cookie_name");
}
