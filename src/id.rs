//! Session ids, and the store keys that are derived from them.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use ctutils::CtEq;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// The secret id of a session: 128 bits from the operating system's random source.
///
/// A client that knows the id has access to the session. So the id is sent only inside the sealed
/// cookie, stores see only its [`StoreKey`], and [`Debug`](fmt::Debug) hides it.
/// [`Display`](fmt::Display) writes the id as 22 characters of base64url; do not log it. The bytes
/// are zeroized on drop. Ids are compared in constant time.
#[derive(Clone)]
#[doc(alias = "sid")]
#[doc(alias = "Id")]
pub struct SessionId([u8; Self::LEN]);

impl SessionId {
    /// Length of an id in bytes.
    pub const LEN: usize = 16;

    /// Generates an id.
    ///
    /// # Errors
    /// If the operating system provides no random bytes.
    pub fn generate() -> Result<Self, EntropyError> {
        let mut id = Self([0; Self::LEN]);
        getrandom::fill(&mut id.0).map_err(|_| EntropyError)?;
        Ok(id)
    }

    /// Creates an id from its bytes, which must come from an authenticated cookie.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the id's bytes. They are secret.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Parses the text that [`Display`](fmt::Display) writes. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = Self([0; Self::LEN]);
        let out = base64_simd::Out::from_slice(&mut id.0);
        let len = base64_simd::URL_SAFE_NO_PAD
            .decode(text.as_bytes(), out)
            .ok()?
            .len();
        (len == Self::LEN).then_some(id)
    }

    /// Returns the key of the session in the store: the SHA-256 of the id.
    pub fn store_key(&self) -> StoreKey {
        StoreKey(Sha256::digest(self.0).into())
    }
}

impl PartialEq for SessionId {
    fn eq(&self, other: &Self) -> bool {
        self.0[..].ct_eq(&other.0[..]).to_bool()
    }
}

impl Eq for SessionId {}

impl Hash for SessionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
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

/// The error of generating an id or a token: the operating system provides no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot generate a session id or token: the operating system provides no random bytes")]
#[non_exhaustive]
pub struct EntropyError;

/// The key of a session in a store: a one-way hash of its id.
///
/// The id cannot be computed from the key, so a leaked store gives no access to sessions. A key may
/// be logged and shown to the session's owner. [`Display`](fmt::Display) writes it as 64 hexadecimal
/// digits, [`Debug`](fmt::Debug) the first 8.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey([u8; Self::LEN]);

impl StoreKey {
    /// Length of a key in bytes.
    pub const LEN: usize = 32;

    /// Creates a key from its bytes, for example from a store.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Derives a key for an entry that is not a session. It never equals the key of a session.
    pub(crate) fn derive(purpose: &str, input: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(purpose).chain_update([0]);
        Self(hash.chain_update(input).finalize().into())
    }

    /// Returns the key for an imported session that has `id` in another framework: the SHA-256 of that
    /// text. An id of another length than 16 bytes is no [`SessionId`], so the session can be loaded only by its
    /// key.
    pub fn from_foreign_id(id: &str) -> Self {
        Self(Sha256::digest(id).into())
    }

    /// Returns the key's bytes.
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
