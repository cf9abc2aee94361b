use super::super::encryption::RecordCipher;
use crate::{
    id::StoreKey,
    seal::{KeyRing, SealKey},
};

#[test]
fn an_encrypted_record_opens_under_its_own_key_and_unchanged_only() {
    let ring = |text: &str| KeyRing::new(SealKey::from_text(text).unwrap());
    let cipher = RecordCipher::new(&ring("a secret of thirty-two characters or more"));
    let [own, other] = [1, 2].map(|byte| StoreKey::from_bytes([byte; StoreKey::LEN]));
    let text = cipher.seal(&own, b"{}").unwrap();
    assert_eq!(cipher.open(&own, &text).unwrap(), "{}");
    assert!(
        cipher.open(&other, &text).is_err(),
        "moved to another session"
    );
    for at in 0..text.len() {
        let mut changed = text.to_vec();
        changed[at] ^= 1;
        assert!(cipher.open(&own, &changed).is_err(), "byte {at}");
    }
    let foreign = RecordCipher::new(&ring("another secret of thirty-two characters"));
    let forged = foreign.seal(&own, b"{}").unwrap();
    assert!(
        cipher.open(&own, &forged).is_err(),
        "sealed with another key"
    );
}
