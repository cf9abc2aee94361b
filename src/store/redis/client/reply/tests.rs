//! Error messages of different server versions.

use super::{AttemptError, error_code, parse_error};

#[test]
fn a_code_is_found_at_the_start() {
    for (message, expected) in [
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            "OOM",
        ),
        ("NOSCRIPT", "NOSCRIPT"),
        (
            "ERR unknown command `X`, with args beginning with: `a: -OOM b`",
            "ERR",
        ),
        (
            "ERR unknown command `X`, with args: `@user_script: 1: -OOM b`",
            "ERR",
        ),
        ("session data: -OOM", "ERR"),
        ("", ""),
    ] {
        assert_eq!(error_code(message), expected, "{message}");
    }
}

/// Messages of Redis 6.2.14: the result of `redis.pcall`, and an error of `redis.call` that ended the
/// script.
#[test]
fn a_code_is_found_behind_the_place_in_a_script() {
    for code in ["OOM", "READONLY", "MISCONF", "NOREPLICAS"] {
        let caught = format!("@user_script: 1: -{code} text.");
        assert_eq!(error_code(&caught), code);
        let prefix =
            "ERR Error running script (call to f_1f8f4cfba6f3375f8c4ec02b9de4361a5dea5c64)";
        let ended = format!("{prefix}: @user_script:12: {caught}");
        assert_eq!(error_code(&ended), code);
    }
    assert_eq!(error_code("@user_script: 1: text"), "ERR");
}

/// Messages of Redis 6.2.5, Redis 7.0.15 and Valkey 9.1.2 about a script in a cluster that uses a key which
/// the server does not have, and about a cluster that is down.
#[test]
fn a_key_that_a_script_could_not_use_is_redirected() {
    for message in [
        "@user_script: 1: Lua script attempted to access a non local key in a cluster node",
        "@user_script: 1: Lua script attempted to execute a command while the cluster is down",
        "ERR Script attempted to access a non local key in a cluster node",
        "ERR Script attempted to access keys that do not hash to the same slot",
        "ERR Script attempted to execute a write command while the cluster is down and readonly",
        "ERR Attempted to access a non local key in a cluster node",
        "ERR Can not execute a command 'get' while the cluster is down",
    ] {
        let error = parse_error(message);
        assert!(AttemptError::is_redirection(&error), "{message}: {error:?}");
    }
    let other = parse_error("ERR Script attempted to access nonexistent global variable 'x'");
    assert!(!AttemptError::is_redirection(&other), "{other:?}");
}
