//! Application keys: from text to the key ring.

use super::{ConfigError, Secret};
use crate::seal::{KeyRing, SealKey};

/// The keys in this crate's documentation and examples. Everyone can read them, so an operator
/// must not set one of them. The program's own code may, as in tests.
const DOCUMENTED_KEYS: [&str; 5] = [
    "a secret of thirty-two characters or more",
    "sixty-four hexadecimal digits would do as well as this",
    "the first secret of thirty-two characters",
    "another secret of thirty-two characters",
    "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
];

const MISSING: &str = "application key is missing; set 32 random bytes as base64 (the program \
                       `session-key` prints such a key) or a secret of at least 32 characters";

const DOCUMENTED: &str = "application key is printed in the documentation, so it is not secret; \
                          generate your own with the program `session-key`";

/// Returns the key ring of `current`, which seals, and of `previous`, which only open.
pub(super) fn key_ring(
    current: Option<&Secret>,
    previous: &[Secret],
) -> Result<KeyRing, ConfigError> {
    let current = current.ok_or_else(|| ConfigError::new("app_key", MISSING))?;
    let ring = KeyRing::new(seal_key("app_key", current)?);
    previous.iter().try_fold(ring, |ring, secret| {
        let key = seal_key("app_key_previous", secret)?;
        ring.with_previous(key)
            .map_err(|error| ConfigError::with_source("app_key_previous", error))
    })
}

/// Returns the key of a secret. Rejects weak and documented keys.
pub(super) fn seal_key(setting: &'static str, secret: &Secret) -> Result<SealKey, ConfigError> {
    let key = SealKey::from_text(secret.expose());
    let key = key.map_err(|error| ConfigError::with_source(setting, error))?;
    if secret.is_from_operator() && is_documented(&key) {
        return Err(ConfigError::new(setting, DOCUMENTED));
    }
    Ok(key)
}

/// Compares by key id, so that every encoding of a documented key matches.
fn is_documented(key: &SealKey) -> bool {
    let mut documented = DOCUMENTED_KEYS
        .iter()
        .filter_map(|text| SealKey::from_text(text).ok());
    documented.any(|documented| documented.id() == key.id())
}
