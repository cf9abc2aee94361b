//! Reading what the page cache holds, without waiting for the device: `preadv2` with `RWF_NOWAIT`.

use std::{
    fs::File,
    io::{self, IoSliceMut},
};

use rustix::io::{Errno, ReadWriteFlags, preadv2};

pub(super) fn read(file: &File, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<bool> {
    let wanted = head.len() + body.len();
    let buffers = &mut [IoSliceMut::new(head), IoSliceMut::new(body)];
    match preadv2(file, buffers, offset, ReadWriteFlags::NOWAIT) {
        // Less than asked for: the rest is not in the cache, or the file ends here.
        Ok(read) => Ok(read == wanted),
        // A filesystem that does not know the flag is asked as one that would wait.
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
