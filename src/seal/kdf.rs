//! HKDF-SHA256 (RFC 5869), in one step.

use hkdf::Hkdf;
use sha2::Sha256;

/// Derives `out` from `secret`. Returns `None` if `out` is longer than 8160 bytes.
pub(super) fn derive(salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> Option<()> {
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand(info, out)
        .ok()
}

#[cfg(test)]
mod tests;
