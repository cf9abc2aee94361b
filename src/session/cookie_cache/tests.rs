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
fn a_text_takes_the_place_of_the_one_before_it() {
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
fn a_text_too_long_for_its_slot_is_not_remembered() {
    let (cache, text) = (CookieCache::new(), [b'a'; 129]);
    let (first, key) = open_cookie([1; 16]);
    cache.insert(&text, &first, key);
    assert!(key_of(&cache, &text).is_none());
}
