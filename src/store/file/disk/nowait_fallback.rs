//! Plain reads, for systems without a flag that prevents waiting for the device.

use std::{fs::File, io, os::unix::fs::FileExt};

pub(super) fn read(file: &File, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<bool> {
    let complete = file.read_at(head, offset)? == head.len()
        && file.read_at(body, offset + head.len() as u64)? == body.len();
    Ok(complete)
}
