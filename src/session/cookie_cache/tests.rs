use super::*;
use crate::{clock::Timestamp, id::SessionId, wire::IdCookie};

fn open_cookie(id: [u8; 16]) -> (OpenedIdCookie, StoreKey) {
    let id = SessionId::from_bytes(id);
    let key = id.store_key();
    let cookie = IdCookie {
        id,
        renewed: Timestamp::default(),
        lifetime: None,
    };
    let outdated = false;
    (OpenedIdCookie { cookie, outdated }, key)
}

fn key_of(cache: &CookieCache, text: &[u8]) -> Option<StoreKey> {
    cache.get(text).map(|(_, key)| key)
}

#[test]
fn a_text_is_found_again_as_what_it_was() {
    let (cache, text) = (CookieCache::new(), [b'a'; 72]);
    assert!(key_of(&cache, &text).is_none());
    let (first, key) = open_cookie([1; 16]);
    cache.insert(&text, &first, key);
    let (found, found_key) = cache.get(&text).unwrap();
    assert_eq!((found.cookie.id, found_key), (first.cookie.id.clone(), key));
}

#[test]
fn a_text_that_differs_anywhere_or_in_length_is_not_found() {
    let (cache, text) = (CookieCache::new(), [b'a'; 72]);
    let (first, key) = open_cookie([1; 16]);
    cache.insert(&text, &first, key);
    for at in 0..text.len() {
        let mut other = text;
        other[at] = b'b';
        assert!(key_of(&cache, &other).is_none(), "byte {at}");
    }
    assert!(key_of(&cache, &text[1..]).is_none());
    assert!(key_of(&cache, &[b'a'; 73]).is_none());
    assert!(key_of(&cache, b"").is_none());
}

#[test]
fn a_text_takes_the_place_of_one_with_the_same_end() {
    let (cache, mut text) = (CookieCache::new(), [b'a'; 72]);
    let ((first, key), (second, other_key)) = (open_cookie([1; 16]), open_cookie([2; 16]));
    cache.insert(&text, &first, key);
    let before = text;
    text[0] = b'b';
    cache.insert(&text, &second, other_key);
    assert_eq!(key_of(&cache, &text), Some(other_key));
    assert_eq!(key_of(&cache, &before), None);
}

#[test]
fn a_text_takes_the_place_of_the_oldest_one_in_its_bucket() {
    let cache = CookieCache::new();
    let (cookie, key) = open_cookie([1; 16]);
    let bucket_of = |text: &[u8]| {
        let (bucket, _) = cache.bucket(text).unwrap();
        let address: *const CookieBucket = &raw const *bucket;
        address
    };
    let first = [b'a'; 72];
    let is_in_its_bucket = |text: &[u8; 72]| bucket_of(text) == bucket_of(&first);
    let texts = (0..u64::MAX).map(|number| {
        let mut text = first;
        text[64..].copy_from_slice(&number.to_le_bytes());
        text
    });
    let texts: Vec<_> = texts
        .filter(is_in_its_bucket)
        .take(BUCKET_LEN + 1)
        .collect();
    let found = || texts.iter().map(|text| key_of(&cache, text).is_some());
    for text in &texts[..BUCKET_LEN] {
        cache.insert(text, &cookie, key);
    }
    assert!(found().eq([true, true, true, true, false]));
    cache.insert(&texts[BUCKET_LEN], &cookie, key);
    assert!(found().eq([false, true, true, true, true]));
    cache.insert(&texts[0], &cookie, key);
    assert!(found().eq([true, false, true, true, true]));
}

#[test]
fn a_text_too_long_for_its_slot_is_not_remembered() {
    let (cache, text) = (CookieCache::new(), [b'a'; 129]);
    let (first, key) = open_cookie([1; 16]);
    cache.insert(&text, &first, key);
    assert!(key_of(&cache, &text).is_none());
}

#[test]
fn texts_that_differ_in_one_byte_are_different() {
    for len in 0..70 {
        let text = vec![b'a'; len];
        assert!(ct_eq(&text, &text.clone()));
        assert!(!ct_eq(&text, &vec![b'a'; len + 1]));
        for at in 0..len {
            let mut other = text.clone();
            other[at] = b'b';
            assert!(!ct_eq(&text, &other), "byte {at} of {len}");
        }
    }
}
