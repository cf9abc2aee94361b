//! mimalloc, with a counter that is off while time is measured.

use std::{
    alloc::{GlobalAlloc, Layout},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use mimalloc::MiMalloc;

static ON: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Counts every block that is asked for, a growing one's new block too, on every thread.
pub struct Counting;

fn count() {
    if ON.load(Relaxed) {
        COUNT.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call goes to mimalloc as it came; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { MiMalloc.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { MiMalloc.dealloc(block, layout) }
    }
}

/// How many blocks one warm call asks for: the median of many, since maps grow now and then.
pub fn of(call: &mut dyn FnMut()) -> u64 {
    let mut counts: Vec<u64> = (0..101).map(|_| once(call)).collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

fn once(call: &mut dyn FnMut()) -> u64 {
    let before = COUNT.load(Relaxed);
    ON.store(true, Relaxed);
    call();
    ON.store(false, Relaxed);
    COUNT.load(Relaxed) - before
}
