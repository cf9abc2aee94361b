//! Field names with brackets: `items[0][name]`, `tags[]`.

use smallvec::SmallVec;

/// One segment of a field name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameSegment<'a> {
    /// A key, such as `name` in `[name]`.
    Key(&'a str),
    /// `[]`: the next free index.
    Append,
}

/// Splits a field name into its segments. A name with malformed brackets is one key.
pub(super) fn segments(name: &str) -> SmallVec<[NameSegment<'_>; 4]> {
    let mut segments = SmallVec::new();
    let bracket = name.find('[').filter(|at| *at > 0);
    let (first, brackets) = bracket.map_or((name, ""), |at| name.split_at(at));
    segments.push(NameSegment::Key(first));
    if push_brackets(brackets, &mut segments).is_none() {
        segments.clear();
        segments.push(NameSegment::Key(name));
    }
    segments
}

/// Returns `None` if the brackets are malformed.
fn push_brackets<'a>(
    mut brackets: &'a str,
    segments: &mut SmallVec<[NameSegment<'a>; 4]>,
) -> Option<()> {
    while !brackets.is_empty() {
        let (key, rest) = brackets.strip_prefix('[')?.split_once(']')?;
        segments.push(match key {
            "" => NameSegment::Append,
            key if key.contains('[') => return None,
            key => NameSegment::Key(key),
        });
        brackets = rest;
    }
    Some(())
}

/// Parses a list index: at most nine digits, without a leading zero.
pub(super) fn parse_index(key: &str) -> Option<u64> {
    let digits = key.len() <= 9 && key.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (key == "0" || !key.starts_with('0'));
    canonical.then(|| key.parse().ok()).flatten()
}
