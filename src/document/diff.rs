//! The difference between two objects.

use super::{
    insertion::InsertError,
    merge::{MemberLookup, begin_item, member_range, read_members},
};

/// An object: the text that holds it, and its start in that text.
type ObjectAt<'t> = (&'t [u8], usize);

/// Writes the object `new` without the values that `old` has under the same keys.
///
/// An array that differs is written whole, and so is an object below `levels` levels. A nested object
/// without differences is left out. Recurses once per level.
pub(super) fn write_changed(
    old: ObjectAt<'_>,
    new: ObjectAt<'_>,
    out: &mut Vec<u8>,
    levels: usize,
) -> Result<(), InsertError> {
    let old_members = MemberLookup::new(old.0, read_members(old.0, old.1)?);
    out.push(b'{');
    for member in read_members(new.0, new.1)? {
        let key = new.0.get(member.key.clone()).ok_or(InsertError::Damaged)?;
        let value = new
            .0
            .get(member.value.clone())
            .ok_or(InsertError::Damaged)?;
        let old_value = old_members
            .find(key)
            .and_then(|at| old_members.members.get(at))
            .and_then(|old_member| {
                let text = old.0.get(old_member.value.clone())?;
                Some((old_member.value.start, text))
            });
        let start = out.len();
        match old_value {
            Some((_, old_value)) if old_value == value => {}
            Some((at, [b'{', ..])) if value.starts_with(b"{") && levels > 1 => {
                begin_item(out, b'{');
                let name = new.0.get(member.key.start - 1..member.value.start);
                out.extend_from_slice(name.ok_or(InsertError::Damaged)?);
                write_changed((old.0, at), (new.0, member.value.start), out, levels - 1)?;
                if out.ends_with(b"{}") {
                    out.truncate(start);
                }
            }
            _ => {
                begin_item(out, b'{');
                let member = new.0.get(member_range(&member));
                out.extend_from_slice(member.ok_or(InsertError::Damaged)?);
            }
        }
    }
    out.push(b'}');
    Ok(())
}
