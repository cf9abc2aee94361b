//! The secret of CSRF tokens, which prove that a form came from a page of this site.

use ctutils::CtEq;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::id::{EntropyError, SessionId};

const LEN: usize = 16;

/// Domain separation from the hash that is the store key.
const PURPOSE: &[u8] = b"hyper-session csrf token\0";

/// The CSRF secret of a session: half of a SHA-256 of its id. It reveals neither the id nor the store
/// key.
pub(crate) struct CsrfSecret([u8; LEN]);

impl CsrfSecret {
    pub(crate) fn from_id(id: &SessionId) -> Self {
        let mut digest = Sha256::new();
        digest.update(PURPOSE);
        digest.update(id.as_bytes());
        let hash: Zeroizing<[u8; 32]> = Zeroizing::new(digest.finalize().into());
        let mut secret = Self([0; LEN]);
        let bytes = secret.0.iter_mut().zip(&*hash);
        bytes.for_each(|(to, from)| *to = *from);
        secret
    }

    /// Returns a token: a random mask and the masked secret, as text. No two responses contain the
    /// same bytes, so compressed lengths reveal nothing about the secret (the BREACH attack).
    pub(crate) fn to_masked_token(&self) -> Result<String, EntropyError> {
        let mut bytes = Zeroizing::new([0; 2 * LEN]);
        let (mask, masked) = bytes.split_at_mut(LEN);
        getrandom::fill(mask).map_err(|_| EntropyError)?;
        for ((to, mask), secret) in masked.iter_mut().zip(mask).zip(self.0) {
            *to = *mask ^ secret;
        }
        Ok(base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes))
    }

    /// Returns `true` if `token` is this secret under any mask. Compares in constant time.
    pub(crate) fn matches(&self, token: &str) -> bool {
        let mut bytes = Zeroizing::new([0; 2 * LEN]);
        if token.len() != base64_simd::URL_SAFE_NO_PAD.encoded_length(bytes.len()) {
            return false;
        }
        let out = base64_simd::Out::from_slice(&mut *bytes);
        let decoded = base64_simd::URL_SAFE_NO_PAD.decode(token.as_bytes(), out);
        if !decoded.is_ok_and(|decoded| decoded.len() == 2 * LEN) {
            return false;
        }
        let (mask, secret) = bytes.split_at_mut(LEN);
        secret
            .iter_mut()
            .zip(mask)
            .for_each(|(to, mask)| *to ^= *mask);
        secret[..].ct_eq(&self.0[..]).to_bool()
    }
}

impl Drop for CsrfSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
