//! The name that an unknown name was probably meant to be.

/// Maximum number of typing errors in a name that has a suggestion.
const MAX_DISTANCE: usize = 2;

/// Returns the known name with the fewest typing errors from `name`, ignoring case. Returns `None` if
/// all differ too much.
pub(super) fn nearest_name<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let name = name.to_lowercase();
    let distances = known
        .iter()
        .map(|known| (edit_distance(&name, &known.to_lowercase()), *known));
    let (distance, nearest) = distances.min()?;
    // A short name is near every other short name.
    let is_near = distance <= MAX_DISTANCE && distance * 2 < nearest.chars().count();
    is_near.then_some(nearest)
}

/// Returns the number of insertions, deletions, replacements and swaps of neighbors that make `from`
/// equal to `to` (the optimal string alignment distance).
fn edit_distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, b) in to.iter().enumerate() {
            let replaced = last[column] + usize::from(a != b);
            let mut distance = replaced.min(last[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && from[row - 1] == *b && to[column - 1] == *a {
                distance = distance.min(before_last[column - 1] + 1);
            }
            next.push(distance);
        }
        before_last = std::mem::replace(&mut last, next);
    }
    last[to.len()]
}
