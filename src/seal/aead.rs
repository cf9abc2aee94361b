//! The cipher: AES-256-GCM-SIV (RFC 8452). No other file names it.

use aes_gcm_siv::{
    Aes256GcmSiv, Nonce,
    aead::{AeadInOut, KeyInit},
};

pub(super) const KEY_LEN: usize = 32;
pub(super) const NONCE_LEN: usize = 12;
pub(super) const TAG_LEN: usize = 16;

/// An expanded key. It is zeroized on drop.
pub(super) struct Aead(Aes256GcmSiv);

/// The error of opening bytes that were not sealed with this key, nonce and context.
#[derive(Debug)]
pub(super) struct AuthenticationError;

impl Aead {
    pub(super) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(Aes256GcmSiv::new(key.into()))
    }

    /// Encrypts `bytes` in place and returns the tag. Returns `None` for more than 64 GiB, the limit of
    /// the cipher.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        context: &[u8],
        bytes: &mut [u8],
    ) -> Option<[u8; TAG_LEN]> {
        self.0
            .encrypt_inout_detached(&Nonce::from(*nonce), context, bytes.into())
            .ok()
            .map(Into::into)
    }

    /// Decrypts `bytes` in place. After an error, the content of `bytes` is undefined and must not be
    /// used.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        context: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AuthenticationError> {
        self.0
            .decrypt_inout_detached(&Nonce::from(*nonce), context, bytes.into(), tag.into())
            .map_err(|_| AuthenticationError)
    }
}

#[cfg(test)]
mod tests;
