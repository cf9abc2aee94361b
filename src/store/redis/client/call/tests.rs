//! What servers of different ages say.

use super::code;

#[test]
fn a_code_is_found_at_the_head() {
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
        ("what the data says: -OOM", "ERR"),
        ("", ""),
    ] {
        assert_eq!(code(message), expected, "{message}");
    }
}

/// As Redis 6.2.14 answers: what `redis.pcall` gave back, and what `redis.call` ended a script with.
#[test]
fn a_code_is_found_behind_the_place_in_a_script() {
    for code_of in ["OOM", "READONLY", "MISCONF", "NOREPLICAS"] {
        let caught = format!("@user_script: 1: -{code_of} it is so.");
        assert_eq!(code(&caught), code_of);
        let head = "ERR Error running script (call to f_1f8f4cfba6f3375f8c4ec02b9de4361a5dea5c64)";
        assert_eq!(code(&format!("{head}: @user_script:12: {caught}")), code_of);
    }
    assert_eq!(code("@user_script: 1: it is so"), "ERR");
}
