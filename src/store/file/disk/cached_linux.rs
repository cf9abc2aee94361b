//! Reading what the page cache holds, without waiting for the device: `preadv2` with `RWF_NOWAIT`.

use std::{
    fs::File,
    io::{self, IoSliceMut},
};

use rustix::io::{Errno, ReadWriteFlags, preadv2};

pub(super) fn read(file: &File, into: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
    let wanted = into.len();
    let buffers = &mut [IoSliceMut::new(into)];
    match preadv2(file, buffers, offset, ReadWriteFlags::NOWAIT) {
        Ok(read) if read == wanted => Ok(Some(read)),
        // Less than asked for: the rest is not in the cache, or the file ends here. A filesystem
        // that does not know the flag is asked again the same way as one that would wait.
        Ok(_) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
