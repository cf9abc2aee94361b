//! Reads from the page cache without waiting for the device: `preadv2` with `RWF_NOWAIT`.

use std::{
    fs::File,
    io::{self, IoSliceMut},
};

use rustix::io::{Errno, ReadWriteFlags, preadv2};

pub(super) fn read(file: &File, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<bool> {
    let expected = head.len() + body.len();
    let buffers = &mut [IoSliceMut::new(head), IoSliceMut::new(body)];
    match preadv2(file, buffers, offset, ReadWriteFlags::NOWAIT) {
        // A short read. The rest is not in the page cache, or the file ends.
        Ok(read) => Ok(read == expected),
        // A file system without the flag is treated like one that would block. So is a system without the
        // call: before Linux 4.6, or forbidden in a sandbox.
        Err(
            Errno::AGAIN
            | Errno::OPNOTSUPP
            | Errno::INTR
            | Errno::NOSYS
            | Errno::PERM
            | Errno::INVAL,
        ) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
