use super::*;
use crate::store::Tag;

fn block(names: &[&str]) -> TagBlock {
    let mut block = TagBlock {
        indexed_until: 7,
        ..TagBlock::default()
    };
    for (number, name) in (1..).zip(names) {
        block.add(name, || number).unwrap();
    }
    block
}

#[test]
fn a_block_comes_back_as_it_was() {
    let longest = "x".repeat(Tag::MAX_LEN);
    for names in [&[][..], &["a"], &["a", &longest, "é\0"]] {
        let block = block(names);
        let expected = if names.is_empty() {
            TagBlock::default()
        } else {
            block.clone()
        };
        assert_eq!(TagBlock::parse(&block.encode()), expected);
    }
}

#[test]
fn a_block_that_is_cut_short_loses_its_last_tag_and_nothing_else() {
    let whole = block(&["first", "second"]);
    let bytes = whole.encode();
    for len in 0..bytes.len() {
        let parsed = TagBlock::parse(&bytes[..len]);
        assert!(whole.tags.starts_with(&parsed.tags), "{len} bytes");
    }
}

#[test]
fn a_tag_is_stored_once_and_tags_have_a_limit() {
    let mut block = block(&["a", "a"]);
    assert_eq!(block.tags.len(), 1);
    for number in 1..MAX_TAGS as u64 {
        block.add(&number.to_string(), || number + 9).unwrap();
    }
    assert!(matches!(
        block.add("more", || 99),
        Err(RedisError::TooManyTags)
    ));
    assert!(block.add("a", || 99).is_ok(), "the block has it already");
    assert!(block.encode().len() <= usize::from(u16::MAX));
}
