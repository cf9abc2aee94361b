//! Equality of values, whatever the order of their members.

use super::{
    Number, RawValue,
    merge::{MemberLookup, read_elements, read_members},
};

/// Returns `true` if two canonical values are equal. An integer and a float differ, so `1` and
/// `1.0` do. Integers of up to 128 bits are exact.
///
/// Recurses once per level.
pub(crate) fn is_equal(a: RawValue<'_>, b: RawValue<'_>) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    match (a.first(), b.first()) {
        _ if a == b => true,
        (Some(b'{'), Some(b'{')) => equal_members(a, b).unwrap_or(false),
        (Some(b'['), Some(b'[')) => equal_elements(a, b).unwrap_or(false),
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => {
            Number::parse(a).is_some_and(|number| Number::parse(b) == Some(number))
        }
        _ => false,
    }
}

fn equal_members(a: &[u8], b: &[u8]) -> Option<bool> {
    let members = read_members(a, 0).ok()?;
    let others = MemberLookup::new(b, read_members(b, 0).ok()?);
    if members.len() != others.members.len() {
        return Some(false);
    }
    for member in members {
        let Some(at) = others.find(a.get(member.key)?) else {
            return Some(false);
        };
        let other = b.get(others.members.get(at)?.value.clone())?;
        if !is_equal(RawValue::new(a.get(member.value)?), RawValue::new(other)) {
            return Some(false);
        }
    }
    Some(true)
}

fn equal_elements(a: &[u8], b: &[u8]) -> Option<bool> {
    let (elements, others) = (read_elements(a, 0).ok()?, read_elements(b, 0).ok()?);
    if elements.len() != others.len() {
        return Some(false);
    }
    for (element, other) in elements.into_iter().zip(others) {
        if !is_equal(RawValue::new(a.get(element)?), RawValue::new(b.get(other)?)) {
            return Some(false);
        }
    }
    Some(true)
}
