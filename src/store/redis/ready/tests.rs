use std::cell::Cell;

use super::*;

#[test]
fn a_prefix_with_a_hash_tag_ends_the_search_for_a_key() {
    let tried = Cell::new(0);
    let is_in_node = |_: &[u8]| {
        tried.set(tried.get() + 1);
        false
    };
    assert!(find_key(&KeyNames::new("{shop}:"), is_in_node).is_none());
    assert_eq!(tried.get(), 1);
    let is_in_node = |name: &[u8]| name.ends_with(b"7");
    assert!(find_key(&KeyNames::new("shop:"), is_in_node).is_some());
}
