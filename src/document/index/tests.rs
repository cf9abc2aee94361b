use super::*;

#[test]
fn an_entry_keeps_offset_and_tag_apart_when_it_is_moved() {
    let mut index = entry(MAX_TEXT - 10, b"last").to_vec();
    shift(&mut index, 0, 10);
    assert_eq!(offset(&index, 0), Some(MAX_TEXT));
    assert_eq!(index[3], tag(b"last"));
    shift(&mut index, 0, -(MAX_TEXT as isize));
    assert_eq!(offset(&index, 0), Some(0));
    assert_eq!(index[3], tag(b"last"));
}

#[test]
fn tags_are_part_of_the_stored_format() {
    let tags = [
        "",
        "a",
        "user",
        "visits",
        "__flash__",
        "a long key, above eight bytes",
    ];
    assert_eq!(
        tags.map(|key| tag(key.as_bytes())),
        [0, 124, 36, 198, 9, 32]
    );
}
