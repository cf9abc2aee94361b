//! File names in a store's directory.

/// The file that a process locks while it has the directory open.
pub(crate) const LOCK_FILE: &str = "lock";

/// Returns the name of log segment `id`.
pub(crate) fn segment(id: u32) -> String {
    format!("{id:010}.log")
}

/// Returns the name of the hint file of segment `id`.
pub(crate) fn hint(id: u32) -> String {
    format!("{id:010}.hint")
}

/// Returns the number of the segment that `name` belongs to.
pub(crate) fn parse_segment(name: &str) -> Option<u32> {
    parse_id(name.strip_suffix(".log")?)
}

/// Returns the number of the segment that the hint file `name` belongs to.
pub(crate) fn parse_hint(name: &str) -> Option<u32> {
    parse_id(name.strip_suffix(".hint")?)
}

fn parse_id(digits: &str) -> Option<u32> {
    let valid = digits.len() == 10 && digits.bytes().all(|digit| digit.is_ascii_digit());
    valid.then(|| digits.parse().ok()).flatten()
}
