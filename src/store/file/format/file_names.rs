//! The files of a store's directory.

/// The file whose lock says that the directory is in use.
pub(super) const LOCK: &str = "lock";

/// The log segment of this number.
pub(super) fn segment(id: u32) -> String {
    format!("{id:010}.log")
}

/// The hint file of the segment of this number.
pub(super) fn hint(id: u32) -> String {
    format!("{id:010}.hint")
}

/// The number of the segment that a file name stands for.
pub(super) fn parse_segment(name: &str) -> Option<u32> {
    parse(name.strip_suffix(".log")?)
}

/// The number of the segment whose hint a file name stands for.
pub(super) fn parse_hint(name: &str) -> Option<u32> {
    parse(name.strip_suffix(".hint")?)
}

fn parse(digits: &str) -> Option<u32> {
    let plain = digits.len() == 10 && digits.bytes().all(|digit| digit.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}
