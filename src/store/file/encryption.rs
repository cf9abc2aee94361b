//! Encryption of session data at rest.

use bytes::Bytes;

use crate::{
    id::StoreKey,
    seal::{Buffer, Codec, KeyId, KeyRing},
    store::file::error::FileError,
};

/// A cipher that seals records together with their keys, so that one session's data cannot be copied
/// to another session.
#[derive(Clone)]
pub(crate) struct RecordCipher(Codec);

impl RecordCipher {
    pub(crate) fn new(ring: &KeyRing) -> Self {
        let codec = ring.codec("file store record", "data");
        Self(codec.with_max_text_len(1 << 30))
    }

    /// Returns the id of the key that seals.
    pub(crate) fn first_key(&self) -> KeyId {
        self.0.first_key()
    }

    /// Fails if the ring has no key with this id.
    pub(crate) fn check_key(&self, id: KeyId) -> Result<(), FileError> {
        Ok(self.0.check_key(id)?)
    }

    /// Returns the sealed text that is stored instead of `data`.
    pub(crate) fn seal(&self, key: &StoreKey, data: &[u8]) -> Result<Bytes, FileError> {
        let mut plain = Vec::with_capacity(StoreKey::LEN + data.len());
        plain.extend_from_slice(key.as_bytes());
        plain.extend_from_slice(data);
        let mut text = Buffer::new();
        self.0.seal(&plain, &mut text)?;
        Ok(Bytes::from(text.into_vec()))
    }

    /// Returns the data that was sealed for `key`.
    pub(crate) fn open(&self, key: &StoreKey, text: &[u8]) -> Result<Bytes, FileError> {
        let mut plain = Buffer::new();
        self.0.open(text, &mut plain)?;
        match plain.strip_prefix(key.as_bytes()) {
            Some(data) => Ok(Bytes::copy_from_slice(data)),
            None => Err(FileError::WrongKey),
        }
    }

    /// Seals with the first key what another key of the ring sealed for `key`. The length stays the same.
    pub(crate) fn seal_again(&self, key: &StoreKey, text: &[u8]) -> Result<Bytes, FileError> {
        self.seal(key, &self.open(key, text)?)
    }
}
