//! Authenticated encryption of cookies and session data: keys and the key ring.
//!
//! A `Codec` seals bytes into text and opens sealed text. The content of a sealed text is secret and
//! cannot be changed. A sealed text is bound to one purpose and one name, so the text of one cookie
//! does not open as another. Text that does not open is rejected; there is no unsealed form.
//!
//! # Sealed text
//!
//! A sealed text is the base64url without padding (RFC 4648 section 5) of these bytes:
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 1 | version: 1. Other versions are rejected |
//! | 1 | 4 | key id: the key of the ring that sealed the text |
//! | 5 | 12 | nonce: random for each text |
//! | 17 | n | the n sealed bytes, AES-256-GCM-SIV (RFC 8452) |
//! | 17 + n | 16 | authentication tag |
//!
//! The associated data is not part of the text: version, key id, length of the purpose (8 bytes,
//! little endian), purpose, name. Each sequence of bytes has exactly one text: padding, and a last
//! character with unused bits set, are rejected.
//!
//! # Choice of the cipher
//!
//! AES-GCM-SIV stays safe if a nonce repeats, for example after a fork or after a virtual machine is
//! restored from a snapshot. An observer then only learns that the same bytes were sealed twice. With
//! random nonces, RFC 8452 section 9 bounds an attacker's advantage to 2^-32 for 2^64 messages of up
//! to 128 KiB under one key. If a policy requires another cipher, only one file has to change.

mod aead;
mod buffer;
mod codec;
mod error;
mod kdf;
mod key_ring;
mod nonce;
mod seal_key;
#[cfg(test)]
mod tests;

// Public for the tests, benches and fuzz targets only.
#[doc(hidden)]
pub use buffer::Buffer;
pub(crate) use codec::ct_eq;
#[doc(hidden)]
pub use codec::{Codec, MAX_TEXT_LEN, OpenInfo};
#[cfg(all(feature = "file", unix))]
pub(crate) use codec::{KEY_ID_TEXT_LEN, key_id};
pub use error::{KeyRingError, OpenError, OpenReason, SealError, SealKeyError};
pub use key_ring::{KeyRing, MAX_KEYS};
pub use seal_key::{KeyId, SealKey};
