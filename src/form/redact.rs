//! What of a form is not shown again.

use serde_json::{Map, Value};

use super::tree::TOKEN_FIELD;

/// The input without passwords, tokens and the method, at every level.
pub(super) fn presentable(input: &Value) -> Value {
    match input {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(name, _)| !is_secret(name))
                .map(|(name, value)| (name.clone(), presentable(value)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => items.iter().map(presentable).collect(),
        value => value.clone(),
    }
}

/// `password`, `password_confirmation`, `newPassword`, `passphrase` and the like.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(
        &*name,
        TOKEN_FIELD | "_method" | "pass" | "passwd" | "pwd" | "pin" | "otp"
    ) || name.contains("password")
        || name.contains("passphrase")
}
