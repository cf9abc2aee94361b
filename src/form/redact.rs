//! Removal of secrets from the input that is flashed.

use serde_json::{Map, Value};

use super::tree::TOKEN_FIELD;

/// Returns a copy of the input without passwords, CSRF tokens and `_method`, at every level.
pub(super) fn redact(input: &Value) -> Value {
    match input {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(name, _)| !is_secret(name))
                .map(|(name, value)| (name.clone(), redact(value)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => items.iter().map(redact).collect(),
        value => value.clone(),
    }
}

/// Matches `password`, `password_confirmation`, `newPassword`, `passphrase` and similar names.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_secret_part = |part: &str| {
        matches!(
            part,
            TOKEN_FIELD | "_method" | "pass" | "passwd" | "pwd" | "pin" | "otp"
        )
    };
    // A name with dots, or with malformed brackets, is one member: `user.pin`, `pin[`.
    name.split(['.', '[', ']']).any(is_secret_part)
        || name.contains("password")
        || name.contains("passphrase")
}
