//! Application keys: from text to the ring that seals.

use super::{ConfigError, Secret};
use crate::seal::{KeyRing, SealKey};

/// The keys that stand in this crate's own documentation and examples, where everybody can read
/// them. A program may be built with one, as its tests are; an operator's is refused.
const PUBLIC: [&str; 5] = [
    "a secret of thirty-two characters or more",
    "sixty-four hexadecimal digits would do as well as this",
    "the first secret of thirty-two characters",
    "another secret of thirty-two characters",
    "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
];

const MISSING: &str = "set it to 32 random bytes as base64 (the program `session-key` prints such a \
                       key), or to a secret of at least 32 characters";

/// The ring of `first`, which seals, and of `older`, which still open.
pub(super) fn ring(first: Option<&Secret>, older: &[Secret]) -> Result<KeyRing, ConfigError> {
    let first = first.ok_or_else(|| ConfigError::new("app_key", MISSING))?;
    let ring = KeyRing::new(key("app_key", first)?);
    older.iter().try_fold(ring, |ring, older| {
        let older = key("app_key_previous", older)?;
        ring.with_previous(older)
            .map_err(|error| ConfigError::caused("app_key_previous", error))
    })
}

/// The key of a secret, if it is one that nobody can guess or read up.
pub(super) fn key(setting: &'static str, secret: &Secret) -> Result<SealKey, ConfigError> {
    let key = SealKey::from_text(secret.expose());
    let key = key.map_err(|error| ConfigError::caused(setting, error))?;
    if secret.is_operators() && is_public(&key) {
        let why = "this key stands in the documentation for everybody to read: `session-key` prints \
                   one of your own";
        return Err(ConfigError::new(setting, why));
    }
    Ok(key)
}

/// Whether it is one of those, however it was written.
fn is_public(key: &SealKey) -> bool {
    let mut public = PUBLIC
        .iter()
        .filter_map(|text| SealKey::from_text(text).ok());
    public.any(|public| public.id() == key.id())
}
