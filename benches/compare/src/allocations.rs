//! mimalloc with an allocation counter, which is off while time is measured.

use std::{
    alloc::{GlobalAlloc, Layout},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use mimalloc::MiMalloc;

static ON: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// An allocator that counts every allocation on every thread; growing a block counts as one.
pub struct Counting;

fn count() {
    if ON.load(Relaxed) {
        COUNT.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call is forwarded to mimalloc unchanged; counting does not touch the caller's memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of this function.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of this function.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of this function.
        unsafe { MiMalloc.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of this function.
        unsafe { MiMalloc.dealloc(block, layout) }
    }
}

/// Returns the number of allocations of one warm call: the median of many calls, since maps grow at
/// times.
pub fn count_in(call: &mut dyn FnMut()) -> u64 {
    let mut counts: Vec<u64> = (0..101).map(|_| count_once(call)).collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

fn count_once(call: &mut dyn FnMut()) -> u64 {
    let before = COUNT.load(Relaxed);
    ON.store(true, Relaxed);
    call();
    ON.store(false, Relaxed);
    COUNT.load(Relaxed) - before
}
