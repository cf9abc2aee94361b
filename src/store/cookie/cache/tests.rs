use super::*;

fn insert(cache: &DataCookieCache, text: &[u8], plain: &'static [u8]) {
    let plain = Bytes::from_static(plain);
    cache.insert(text, &plain, true);
    cache.insert(text, &plain, true);
}

#[test]
fn a_text_is_remembered_from_the_second_time_it_comes() {
    let (cache, text) = (DataCookieCache::default(), [b'a'; 72]);
    let plain = Bytes::from_static(b"plain");
    cache.insert(&text, &plain, false);
    assert_eq!(cache.get(&text), None);
    cache.insert(&text, &plain, false);
    assert_eq!(cache.get(&text), Some((plain, false)));
}

#[test]
fn no_other_text_finds_it() {
    let (cache, text) = (DataCookieCache::default(), [b'a'; 72]);
    insert(&cache, &text, b"plain");
    // All of these share its slot, because the suffix selects the slot.
    for at in 0..64 {
        let mut other = text;
        other[at] = b'b';
        assert_eq!(cache.get(&other), None, "{at}");
    }
    assert_eq!(cache.get(&text[1..]), None);
    assert_eq!(cache.get(&[&b"a"[..], &text].concat()), None);
    assert_eq!(cache.get(b""), None);
}

#[test]
fn one_takes_the_place_of_another_and_is_not_mixed_up_with_it() {
    let cache = DataCookieCache::default();
    let other = [&[b'b'; 64][..], &[b'a'; 8]].concat();
    insert(&cache, &[b'a'; 72], b"first");
    insert(&cache, &other, b"second");
    assert_eq!(cache.get(&[b'a'; 72]), None);
    assert_eq!(cache.get(&other).unwrap().0, "second");
}
