//! Where the system cannot say whether a read would wait, small reads are simply done.

use std::{fs::File, io, os::unix::fs::FileExt};

pub(super) fn read(file: &File, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<bool> {
    let whole = file.read_at(head, offset)? == head.len()
        && file.read_at(body, offset + head.len() as u64)? == body.len();
    Ok(whole)
}
