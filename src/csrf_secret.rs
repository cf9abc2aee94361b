//! The secret that a form carries, to show that its page came from here.

use ctutils::CtEq;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::id::{EntropyError, SessionId};

const LEN: usize = 16;

/// Keeps this hash of an id apart from the one that stores know it by.
const PURPOSE: &[u8] = b"hyper-session csrf token\0";

/// Half of a SHA-256 over a session's id: whoever knows it knows nothing of the id or its key, and
/// another id has another one.
pub(crate) struct CsrfSecret([u8; LEN]);

impl CsrfSecret {
    pub(crate) fn from_id(id: &SessionId) -> Self {
        let mut digest = Sha256::new();
        digest.update(PURPOSE);
        digest.update(id.as_bytes());
        let whole: [u8; 32] = digest.finalize().into();
        let mut half = [0; LEN];
        half.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        Self(half)
    }

    /// A random mask and the secret under it, as text: no two answers carry the same bytes, so
    /// their compressed lengths tell nothing of the secret (the BREACH attack).
    pub(crate) fn to_masked_token(&self) -> Result<String, EntropyError> {
        let mut bytes = [0; 2 * LEN];
        let (mask, hidden) = bytes.split_at_mut(LEN);
        getrandom::fill(mask).map_err(|_| EntropyError)?;
        for ((to, mask), secret) in hidden.iter_mut().zip(mask).zip(self.0) {
            *to = *mask ^ secret;
        }
        Ok(base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes))
    }

    /// Whether `token` is this secret under any mask. The time it takes tells nothing of the secret.
    pub(crate) fn matches(&self, token: &str) -> bool {
        let mut bytes = [0; 2 * LEN];
        if token.len() != base64_simd::URL_SAFE_NO_PAD.encoded_length(bytes.len()) {
            return false;
        }
        let out = base64_simd::Out::from_slice(&mut bytes);
        let read = base64_simd::URL_SAFE_NO_PAD.decode(token.as_bytes(), out);
        if !read.is_ok_and(|read| read.len() == 2 * LEN) {
            return false;
        }
        let (mask, hidden) = bytes.split_at_mut(LEN);
        hidden
            .iter_mut()
            .zip(mask)
            .for_each(|(to, mask)| *to ^= *mask);
        hidden[..].ct_eq(&self.0[..]).to_bool()
    }
}

impl Drop for CsrfSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
