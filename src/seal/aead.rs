//! The one place that names the cipher: AES-256-GCM-SIV (RFC 8452).

use aes_gcm_siv::{
    Aes256GcmSiv, Nonce,
    aead::{AeadInOut, KeyInit},
};

pub(super) const KEY_LEN: usize = 32;
pub(super) const NONCE_LEN: usize = 12;
pub(super) const TAG_LEN: usize = 16;

/// A key, expanded and ready to use. It is overwritten when dropped.
pub(super) struct Aead(Aes256GcmSiv);

/// The bytes were not sealed with this key, nonce and context.
#[derive(Debug)]
pub(super) struct Forged;

impl Aead {
    pub(super) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(Aes256GcmSiv::new(key.into()))
    }

    /// Encrypts `bytes` in place. `None` when there are more than the cipher takes (64 GiB).
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

    /// Decrypts `bytes` in place. What is left in `bytes` after a failure means nothing and must
    /// not be used.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        context: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Forged> {
        self.0
            .decrypt_inout_detached(&Nonce::from(*nonce), context, bytes.into(), tag.into())
            .map_err(|_| Forged)
    }
}

#[cfg(test)]
mod tests;
