//! Session data sealed where it lies.

use bytes::Bytes;

use super::FileError;
use crate::{
    id::StoreKey,
    seal::{Buffer, Codec, KeyRing},
};

/// Seals records, each together with its key, so that one session's data cannot be put in the
/// place of another's.
#[derive(Clone)]
pub(super) struct Vault(Codec);

impl Vault {
    pub(super) fn new(ring: &KeyRing) -> Self {
        let codec = ring.codec("file store record", "data");
        Self(codec.with_max_text_len(1 << 30))
    }

    /// What is stored instead of `data`.
    pub(super) fn seal(&self, key: &StoreKey, data: &[u8]) -> Result<Bytes, FileError> {
        let mut plain = Vec::with_capacity(StoreKey::LEN + data.len());
        plain.extend_from_slice(key.as_bytes());
        plain.extend_from_slice(data);
        let mut text = Buffer::new();
        self.0.seal(&plain, &mut text)?;
        Ok(Bytes::from(text.into_vec()))
    }

    /// The data that was sealed for `key`.
    pub(super) fn open(&self, key: &StoreKey, text: &[u8]) -> Result<Bytes, FileError> {
        let mut plain = Buffer::new();
        self.0.open(text, &mut plain)?;
        match plain.strip_prefix(key.as_bytes()) {
            Some(data) => Ok(Bytes::copy_from_slice(data)),
            None => Err(FileError::Misplaced),
        }
    }
}
