//! A search for words in bytes, also in their base64url texts.

use base64_simd::URL_SAFE_NO_PAD;

/// Returns `true` if `bytes` or a base64url text in them contains `word`.
pub fn contains(bytes: &[u8], word: &[u8]) -> bool {
    let has_word = |part: &[u8]| part.windows(word.len()).any(|it| it == word);
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    // Bytes in front of a text may look like a part of it, so it is decoded from each of four places.
    let mut texts = bytes
        .split(|byte| !is_base64(byte))
        .flat_map(|run| (0..run.len().min(4)).map(|start| &run[start..]));
    has_word(bytes) || texts.any(|text| has_word(&decode(text)))
}

/// Decodes a text of any length, with up to two zeros after its end.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut text = [text, b"AAA"].concat();
    text.truncate(text.len() / 4 * 4);
    URL_SAFE_NO_PAD.decode_to_vec(text).unwrap()
}

/// Returns the base64url text of `bytes` as it may be in a file, at each of four places.
pub fn encodings(bytes: &[u8]) -> [Vec<u8>; 4] {
    let text = URL_SAFE_NO_PAD.encode_to_string(bytes);
    ["", "a", "ab", "abc"].map(|before| format!("\0{before}{text}\0").into_bytes())
}
