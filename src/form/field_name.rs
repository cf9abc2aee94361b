//! Field names with brackets: `items[0][name]`, `tags[]`.

use smallvec::SmallVec;

/// One step into the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// The member of this name.
    Named(&'a str),
    /// `[]`: a member of its own, behind the others.
    Next,
}

/// The steps that a field's name tells. What is no well-formed sequence of brackets behind a name is
/// one name as it stands.
pub(super) fn steps(name: &str) -> SmallVec<[Step<'_>; 4]> {
    let mut steps = SmallVec::new();
    let bracket = name.find('[').filter(|at| *at > 0);
    let (first, rest) = bracket.map_or((name, ""), |at| name.split_at(at));
    steps.push(Step::Named(first));
    if follow(rest, &mut steps).is_none() {
        steps.clear();
        steps.push(Step::Named(name));
    }
    steps
}

fn follow<'a>(mut rest: &'a str, steps: &mut SmallVec<[Step<'a>; 4]>) -> Option<()> {
    while !rest.is_empty() {
        let (key, behind) = rest.strip_prefix('[')?.split_once(']')?;
        steps.push(match key {
            "" => Step::Next,
            key if key.contains('[') => return None,
            key => Step::Named(key),
        });
        rest = behind;
    }
    Some(())
}

/// The number that a key is, where it is one: digits without a leading zero, nine at most.
pub(super) fn index_of(key: &str) -> Option<u64> {
    let digits = key.len() <= 9 && key.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (key == "0" || !key.starts_with('0'));
    canonical.then(|| key.parse().ok()).flatten()
}
