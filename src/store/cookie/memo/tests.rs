use super::*;

fn keep(memo: &Memo, text: &[u8], plain: &'static [u8]) {
    let plain = Bytes::from_static(plain);
    memo.note(text, &plain, true);
    memo.note(text, &plain, true);
}

#[test]
fn a_text_is_remembered_from_the_second_time_it_comes() {
    let (memo, text) = (Memo::default(), [b'a'; 72]);
    let plain = Bytes::from_static(b"plain");
    memo.note(&text, &plain, false);
    assert_eq!(memo.get(&text), None);
    memo.note(&text, &plain, false);
    assert_eq!(memo.get(&text), Some((plain, false)));
}

#[test]
fn no_other_text_finds_it() {
    let (memo, text) = (Memo::default(), [b'a'; 72]);
    keep(&memo, &text, b"plain");
    // All of these share its slot: the end decides where a text may be.
    for at in 0..64 {
        let mut other = text;
        other[at] = b'b';
        assert_eq!(memo.get(&other), None, "{at}");
    }
    assert_eq!(memo.get(&text[1..]), None);
    assert_eq!(memo.get(&[&b"a"[..], &text].concat()), None);
    assert_eq!(memo.get(b""), None);
}

#[test]
fn one_takes_the_place_of_another_and_is_not_mixed_up_with_it() {
    let memo = Memo::default();
    let other = [&[b'b'; 64][..], &[b'a'; 8]].concat();
    keep(&memo, &[b'a'; 72], b"first");
    keep(&memo, &other, b"second");
    assert_eq!(memo.get(&[b'a'; 72]), None);
    assert_eq!(memo.get(&other).unwrap().0, "second");
}
