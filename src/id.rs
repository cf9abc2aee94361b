//! Session ids: what the visitor holds, and the one-way hash of it that a store may know.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// The secret name of a session: 128 bits from the operating system's random source.
///
/// Whoever knows an id holds the session, so it travels only inside the sealed cookie, stores see
/// only its [`StoreKey`], and [`Debug`](fmt::Debug) shows neither. [`Display`](fmt::Display) writes the
/// 22 characters of its base64url form: do not log them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId([u8; Self::LEN]);

impl SessionId {
    /// Length of an id in bytes.
    pub const LEN: usize = 16;

    /// A new id.
    ///
    /// # Errors
    /// [`EntropyError`] when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, EntropyError> {
        let mut bytes = [0; Self::LEN];
        getrandom::fill(&mut bytes).map_err(|_| EntropyError)?;
        Ok(Self(bytes))
    }

    /// The id with these bytes, as read from a cookie that was authenticated.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The id's bytes. They are the secret itself.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Reads the form that [`Display`](fmt::Display) writes; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::LEN];
        let out = base64_simd::Out::from_slice(&mut bytes);
        let read = base64_simd::URL_SAFE_NO_PAD
            .decode(text.as_bytes(), out)
            .ok()?
            .len();
        (read == Self::LEN).then_some(Self(bytes))
    }

    /// The name under which stores keep this session: the SHA-256 of the id.
    pub fn store_key(&self) -> StoreKey {
        StoreKey(Sha256::digest(self.0).into())
    }
}

impl Drop for SessionId {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64_simd::URL_SAFE_NO_PAD.encode_to_string(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// The operating system gave no random bytes for a new session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random source gave no bytes for a new session id")]
pub struct EntropyError;

/// What a store knows a session by: a one-way hash of its id.
///
/// A leaked store opens no session, since the id cannot be found from its key. A key may be logged
/// and shown to the session's owner; [`Display`](fmt::Display) writes it as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey([u8; Self::LEN]);

impl StoreKey {
    /// Length of a key in bytes.
    pub const LEN: usize = 32;

    /// The key with these bytes, as a store reads it back.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// A key for something else than a session: as good as random, and never a session's.
    pub(crate) fn derive(purpose: &str, of: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(purpose).chain_update([0]);
        Self(hash.chain_update(of).finalize().into())
    }

    /// The key under which a session is kept that another framework knows by `id`: the SHA-256 of
    /// that text. No id of ours leads to it, so the session is found by its key only.
    pub fn from_foreign_id(id: &str) -> Self {
        Self(Sha256::digest(id).into())
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "StoreKey({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}
