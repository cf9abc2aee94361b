//! A search for CSRF tokens. Each token of a session has another random mask, so a search for one token finds no
//! other.

use base64_simd::URL_SAFE_NO_PAD;

/// The length of a secret, and of a mask.
const LEN: usize = 16;

/// The length of a token's text.
const TEXT_LEN: usize = 43;

/// The CSRF secret of a session.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct CsrfSecret([u8; LEN]);

impl CsrfSecret {
    /// Returns the secret in a token: a mask, and the masked secret.
    pub(crate) fn from_token(token: &[u8]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode_to_vec(token).ok()?;
        let (mask, masked) = bytes.split_first_chunk::<LEN>()?;
        let masked: &[u8; LEN] = masked.try_into().ok()?;
        Some(Self(std::array::from_fn(|at| mask[at] ^ masked[at])))
    }

    /// Returns the texts of the secret without a mask.
    pub(crate) fn texts(self) -> [String; 3] {
        let hex = self.0.iter().map(|byte| format!("{byte:02x}"));
        [
            hex.collect(),
            URL_SAFE_NO_PAD.encode_to_string(self.0),
            format!("{:?}", self.0),
        ]
    }
}

/// Returns a token of one of the secrets in this text.
pub(crate) fn find<'t>(text: &'t str, secrets: &[CsrfSecret]) -> Option<&'t str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = text.split(|c| !is_part(c));
    let mut windows = words.flat_map(|word| {
        let starts = 0..(word.len() + 1).saturating_sub(TEXT_LEN);
        starts.map(move |start| &word[start..start + TEXT_LEN])
    });
    windows.find(|token| {
        let secret = CsrfSecret::from_token(token.as_bytes());
        secret.is_some_and(|secret| secrets.contains(&secret))
    })
}
