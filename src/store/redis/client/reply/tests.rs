//! Error messages of different server versions.

use super::error_code;

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
