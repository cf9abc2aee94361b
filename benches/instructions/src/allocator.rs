//! The system's allocator with a counter.

#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]
#![allow(dead_code, reason = "each target uses a part")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicIsize, Ordering::Relaxed},
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// A block may be freed by another thread than the one that allocated it, so all threads have one count.
static BYTES: AtomicIsize = AtomicIsize::new(0);

fn count(bytes: isize) {
    COUNT.set(COUNT.get() + 1);
    BYTES.fetch_add(bytes, Relaxed);
}

/// Returns the number of allocations of this thread. Growing a block counts as one.
pub(crate) fn allocations() -> u64 {
    COUNT.get()
}

/// Returns the number of bytes that all threads have allocated and not freed.
pub(crate) fn bytes() -> isize {
    BYTES.load(Relaxed)
}

struct CountingAllocator;

// SAFETY: every call is passed unchanged to the system's allocator. Counting does not touch memory
// of the caller, does not allocate, and needs no destructor.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller upholds the contract of this function, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller upholds the contract of this function, which is the same.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: the caller upholds the contract of this function, which is the same.
        unsafe { System.dealloc(block, layout) }
    }
}
