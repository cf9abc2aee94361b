use std::hash::BuildHasher;

use super::RandomState;

#[test]
fn each_table_has_its_own_hash_function_and_keeps_it() {
    let (one, other) = (RandomState::new(), RandomState::default());
    let hashes = |state: &RandomState| [1, 2, 3, 4].map(|key: u64| state.hash_one(key));
    assert_ne!(hashes(&one), hashes(&other));
    assert_eq!(hashes(&one), hashes(&one.clone()));
}
