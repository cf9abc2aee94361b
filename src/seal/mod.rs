//! Who may read it: keys, the key ring, and texts that only its holders can read or make.
//!
//! A [`Codec`] turns bytes into a sealed text and back. What is sealed is secret, cannot be
//! changed, and is bound to one purpose and one name: a text sealed for one cookie does not open
//! as another. What does not open is refused; there is no unsealed form to fall back to.
//!
//! # The sealed text
//!
//! Base64url without padding (RFC 4648 section 5) of these bytes:
//!
//! | offset | length | what |
//! |---|---|---|
//! | 0 | 1 | version: 1. Any other is refused |
//! | 1 | 4 | key id: which key of the ring sealed it |
//! | 5 | 12 | nonce: random for each seal |
//! | 17 | n | the n sealed bytes, AES-256-GCM-SIV (RFC 8452) |
//! | 17 + n | 16 | authentication tag |
//!
//! Authenticated with it, but not contained: version, key id, length of the purpose (8 bytes,
//! little endian), purpose, name. Each sequence of bytes has one text: a text with padding, or with
//! bits set that carry nothing, is refused.
//!
//! # Why this mode
//!
//! AES-GCM-SIV stays safe where a nonce comes twice, after a fork or the restore of a virtual
//! machine's snapshot: who watches learns that the same bytes were sealed twice, and nothing else.
//! With random nonces RFC 8452 section 9 bounds an attacker's advantage to 2^-32 for 2^64 messages
//! of up to 128 KiB under one key. Where policy asks for another mode, the primitive stands behind
//! one file.

mod aead;
mod codec;
mod error;
mod kdf;
mod key_ring;
mod nonce;
mod seal_key;

pub(crate) use codec::ct_eq;
pub use codec::{Buffer, Codec, MAX_TEXT_LEN, OpenInfo};
pub use error::{KeyRingError, OpenError, OpenReason, SealError, SealKeyError};
pub use key_ring::{KeyRing, MAX_KEYS};
pub use seal_key::{KeyId, SealKey};
