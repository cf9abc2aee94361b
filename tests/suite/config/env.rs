//! Settings from environment variables, which override earlier settings.

use hyper_session::{
    SessionConfig, Sessions,
    config::{ConfigError, Secret},
    cookie::Priority,
};

use crate::support::{KEY, config};

const MINE: &str = "a secret that no documentation holds";

/// Applies these variables to a configuration.
fn with_variables(
    config: SessionConfig,
    variables: &[(&str, &str)],
) -> Result<SessionConfig, ConfigError> {
    config.with_variables(|name| {
        let variable = variables.iter().find(|(known, _)| *known == name);
        Ok(variable.map(|(_, value)| (*value).to_owned()))
    })
}

#[test]
fn each_variable_sets_its_setting() {
    let config = with_variables(
        SessionConfig::default(),
        &[
            ("SESSION_DRIVER", "redis"),
            ("SESSION_AGE", "30 minutes"),
            ("SESSION_COOKIE", "sid"),
            ("SESSION_COOKIE_PRIORITY", "high"),
            ("SESSION_KEEP_FLASH_ON_REDIRECT", "true"),
            ("APP_KEY", MINE),
            (
                "APP_KEY_PREVIOUS",
                " the first of the keys that were before ,, the second of the keys that were before",
            ),
            ("SESSION_FILE_LOCATION", "/var/lib/sessions"),
            ("SESSION_FILE_DURABILITY", "always"),
            ("SESSION_FILE_ON_DAMAGE", "drop_uncertain"),
            ("REDIS_URL", "redis://sessions.internal/1"),
            ("SESSION_MIGRATE_FROM", "file"),
            ("SESSION_MIGRATE_TO", "memory"),
        ],
    )
    .unwrap();
    assert_eq!(config.store, "redis");
    assert_eq!(config.age.to_string(), "30m");
    assert_eq!(config.cookie_name, "sid");
    assert_eq!(config.cookie.priority, Some(Priority::High));
    assert!(config.keep_flash_on_redirect);
    assert!(config.app_key.is_some());
    assert_eq!(config.app_key_previous.len(), 2, "commas separate keys");
    assert_eq!(
        config.stores.file.location.to_str(),
        Some("/var/lib/sessions")
    );
    assert_eq!(config.stores.file.durability.as_deref(), Some("always"));
    assert_eq!(
        config.stores.redis.url,
        Secret::new("redis://sessions.internal/1")
    );
    assert_eq!(config.migrate_from.as_deref(), Some("file"));
    assert_eq!(config.migrate_to.as_deref(), Some("memory"));
}

#[test]
fn the_environment_wins_over_before_and_loses_to_after() {
    let before = config().cookie_name("before");
    let config = with_variables(before, &[("SESSION_COOKIE", "env")]).unwrap();
    assert_eq!(config.cookie_name, "env");
    assert_eq!(config.cookie_name("after").cookie_name, "after");
}

#[test]
fn an_unset_or_empty_variable_changes_nothing() {
    let set = config().cookie_name("mine").store("memory");
    let empty = [
        ("SESSION_COOKIE", ""),
        ("SESSION_DRIVER", "  "),
        ("APP_KEY", ""),
    ];
    for variables in [&[][..], &empty] {
        let config = with_variables(set.clone(), variables).unwrap();
        assert_eq!((&*config.cookie_name, &*config.store), ("mine", "memory"));
        assert!(Sessions::builder(config).build().is_ok());
    }
}

#[test]
fn a_number_alone_is_seconds() {
    let config = with_variables(config(), &[("SESSION_AGE", "90")]).unwrap();
    assert_eq!(config.age.duration().as_secs(), 90);
}

/// Returns the error text for a value, as an operator sees it.
fn refusal(variable: &str, value: &str) -> String {
    let error = with_variables(config(), &[(variable, value)]).unwrap_err();
    assert_eq!(error.setting(), variable);
    let text = error.to_string();
    let prefix = format!("environment variable `{variable}`: ");
    assert!(text.starts_with(&prefix), "{text}");
    assert!(text.len() > prefix.len() + 20, "it has a remedy: {text}");
    text
}

#[test]
fn a_value_that_cannot_be_used_is_refused_by_its_variable() {
    for (variable, value, word) in [
        ("SESSION_AGE", "1 month", "no fixed length"),
        ("SESSION_AGE", "0", "1s to"),
        ("SESSION_AGE", "999ms", "999ms"),
        ("SESSION_AGE", "11 years", "no fixed length"),
        ("SESSION_AGE", "4000d", "4000d"),
        ("SESSION_AGE", "two hours", "two hours"),
        ("SESSION_FILE_LOCATION", "~/sessions", "`~` is not expanded"),
        ("SESSION_FILE_LOCATION", "\"/var/lib/s\"", "remove them"),
        ("SESSION_FILE_LOCATION", "'/var/lib/s'", "remove them"),
        ("SESSION_COOKIE", "a b", "a b"),
        ("SESSION_COOKIE", "a;b", "a;b"),
        ("SESSION_COOKIE_PRIORITY", "urgent", "urgent"),
        ("SESSION_KEEP_FLASH_ON_REDIRECT", "yes", "`true` or `false`"),
        ("APP_KEY", "short", "32"),
        ("APP_KEY", "base64:not this", "base64"),
        (
            "APP_KEY",
            "abcabcabcabcabcabcabcabcabcabcabcabc",
            "repeats a shorter text",
        ),
        ("APP_KEY", KEY, "session-key"),
        (
            "APP_KEY",
            "a key of one text,which would become two keys after a rotation",
            "comma",
        ),
    ] {
        let text = refusal(variable, value);
        assert!(text.contains(word), "{text}");
    }
}

/// Some programs keep the quotation marks of environment files. With them, it would be another key.
#[test]
fn a_key_in_quotation_marks_is_refused_and_not_shown() {
    let key = hyper_session::seal::SealKey::generate_text().unwrap();
    for mark in ['"', '\''] {
        for secret in [&*key, MINE] {
            let quoted = format!("{mark}{secret}{mark}");
            let text = refusal("APP_KEY", &quoted);
            assert!(text.contains("quotation mark"), "{text}");
            assert!(!text.contains(secret), "{text}");
        }
        let list = format!("{mark}{MINE},{key}{mark}");
        let text = refusal("APP_KEY_PREVIOUS", &list);
        assert!(
            text.contains("key 1 of 2") && text.contains("quotation mark"),
            "{text}"
        );
        assert!(!text.contains(MINE) && !text.contains(&key), "{text}");
    }
    assert!(
        with_variables(
            config(),
            &[("APP_KEY", "a secret \"that\" no documentation's page holds")]
        )
        .is_ok()
    );
}

#[cfg(all(feature = "file", unix))]
#[test]
fn a_durability_that_is_none_is_refused_by_its_variable() {
    for (value, word) in [("0s", "interval"), ("never", "`always`")] {
        let text = refusal("SESSION_FILE_DURABILITY", value);
        assert!(text.contains(word) && text.contains(value), "{text}");
    }
}

#[cfg(all(feature = "file", unix))]
#[test]
fn an_unknown_reaction_to_damage_is_refused_by_its_variable() {
    let text = refusal("SESSION_FILE_ON_DAMAGE", "ignore");
    for word in [
        "ignore",
        "`refuse`",
        "`drop_uncertain`",
        "`allow_data_loss`",
    ] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn variables_of_a_store_that_is_not_chosen_change_nothing() {
    let others = [
        ("SESSION_DRIVER", "memory"),
        ("SESSION_FILE_DURABILITY", "always"),
        ("SESSION_FILE_LOCATION", "/dev/null/x"),
        ("REDIS_URL", "redis-of-another-service"),
    ];
    let config = with_variables(config(), &others).unwrap();
    assert!(Sessions::builder(config).build().is_ok());
}

#[test]
fn a_list_of_older_keys_says_which_of_them_is_wrong() {
    let list = format!("{MINE},k3y-that-is-secret");
    let text = refusal("APP_KEY_PREVIOUS", &list);
    assert!(text.contains("key 2 of 2"), "{text}");
    assert!(!text.contains("k3y"), "{text}");
}

#[test]
fn a_value_that_is_not_text_is_refused_by_its_reader() {
    let error = config().with_variables(|name| match name {
        "SESSION_AGE" => Ok(Some("1 month".to_owned())),
        _ => Ok(None),
    });
    assert_eq!(error.unwrap_err().setting(), "SESSION_AGE");
}

#[test]
fn an_error_at_build_time_names_setting_and_variable() {
    for (variables, setting, variable) in [
        (
            &[("SESSION_DRIVER", "redsi")][..],
            "store",
            "SESSION_DRIVER",
        ),
        (
            &[("SESSION_MIGRATE_FROM", "fiel")],
            "migrate_from",
            "SESSION_MIGRATE_FROM",
        ),
        (
            &[("SESSION_MIGRATE_FROM", "memory")],
            "migrate_from",
            "SESSION_MIGRATE_FROM",
        ),
    ] {
        let config = with_variables(config(), variables).unwrap();
        let error = Sessions::builder(config).build().unwrap_err();
        assert_eq!(error.setting(), setting);
        let text = error.to_string();
        assert!(text.contains(variable) && text.contains("memory"), "{text}");
    }
}
