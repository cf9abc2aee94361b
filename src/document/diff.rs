//! Taking out what nobody has changed.

use std::mem;

use super::{
    Document, MAX_DEPTH, MalformedDocument,
    insertion::NoPlace,
    merge::{Lookup, begin_item, members, whole},
};

impl Document {
    /// Takes out everything that stands in `base` with the same value: members of the root and of
    /// the objects below it. An array that differs stays whole, an object of which nothing is left
    /// goes.
    pub(crate) fn retain_changed(&mut self, base: &Self) -> Result<(), MalformedDocument> {
        let mut kept = mem::take(&mut self.scratch);
        kept.clear();
        let result = write_changed((base.text(), 0), (self.text(), 0), &mut kept, 1);
        self.scratch = kept;
        result.map_err(|_| MalformedDocument::DAMAGED)?;
        self.take_scratch()
    }
}

/// An object: the text it is in, and where it begins there.
type Place<'t> = (&'t [u8], usize);

/// Writes what of the object `new` differs from the object `old`. Recurses once for each level.
fn write_changed(
    old: Place<'_>,
    new: Place<'_>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), NoPlace> {
    let before = Lookup::new(old.0, members(old.0, old.1)?);
    out.push(b'{');
    for member in members(new.0, new.1)? {
        let key = new.0.get(member.key.clone()).ok_or(NoPlace::Damaged)?;
        let value = new.0.get(member.value.clone()).ok_or(NoPlace::Damaged)?;
        let was = before.find(key).and_then(|at| before.members.get(at));
        let was = was.and_then(|was| Some((was.value.start, old.0.get(was.value.clone())?)));
        let start = out.len();
        match was {
            Some((_, was)) if was == value => {}
            Some((at, [b'{', ..])) if value.starts_with(b"{") && depth < MAX_DEPTH => {
                begin_item(out, b'{');
                let name = new.0.get(member.key.start - 1..member.value.start);
                out.extend_from_slice(name.ok_or(NoPlace::Damaged)?);
                write_changed((old.0, at), (new.0, member.value.start), out, depth + 1)?;
                if out.ends_with(b"{}") {
                    out.truncate(start);
                }
            }
            _ => {
                begin_item(out, b'{');
                out.extend_from_slice(new.0.get(whole(&member)).ok_or(NoPlace::Damaged)?);
            }
        }
    }
    out.push(b'}');
    Ok(())
}
