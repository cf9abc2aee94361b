//! The id of the key of a sealed text, without opening the text.

use super::{Codec, VERSION, decode};
use crate::seal::{Buffer, KeyId, OpenError};

/// Length of the begin of a sealed text that contains the version and the key id.
pub(crate) const KEY_ID_TEXT_LEN: usize = 8;

impl Codec {
    /// Returns the id of the key that seals.
    pub(crate) fn first_key(&self) -> KeyId {
        self.keys.first.id
    }

    /// Fails if the ring has no key with this id.
    pub(crate) fn check_key(&self, id: KeyId) -> Result<(), OpenError> {
        let found = self.keys.find(*id.as_bytes());
        found.map(drop).map_err(OpenError::new)
    }
}

/// Returns the id of the key that sealed a text, of which the first [`KEY_ID_TEXT_LEN`] bytes suffice.
/// The text is not authenticated. Returns `None` if it is not a sealed text.
pub(crate) fn key_id(text: &[u8]) -> Option<KeyId> {
    let mut begin = Buffer::new();
    decode(text.get(..KEY_ID_TEXT_LEN)?, &mut begin).ok()?;
    match *begin {
        [VERSION, a, b, c, d, ..] => Some(KeyId([a, b, c, d])),
        _ => None,
    }
}
