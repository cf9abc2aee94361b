//! How many allocations a session adds to a request.
//!
//! Counted by the allocator itself, on the thread of each test alone, as the difference to the same
//! service without a session. Every call of a warm thread must ask for the same number of blocks.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use hyper_session::{Sessions, session::CookiePolicy, store::MemoryStore};
use support::{Call, Job, Size, Way};

#[expect(dead_code, reason = "made for several targets")]
#[path = "../benches/support/mod.rs"]
mod support;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator. A growing block counts as one more.
struct Counting;

fn count() {
    COUNT.set(COUNT.get() + 1);
}

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of the
// caller's, and neither allocates nor needs a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[test]
fn show() {
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        for way in [Way::Extension, Way::Typed] {
            for bare in [true, false] {
                let sessions =
                    Sessions::new(support::config(policy), MemoryStore::new()).expect("right");
                let prep = |mut request: http::Request<_>| {
                    if !bare {
                        request.extensions_mut().insert(7u8);
                    }
                    request
                };
                let r = most(&mut support::raw(prep(support::plain())));
                let n = most(&mut support::call(
                    &sessions,
                    way,
                    Job::Ignore,
                    prep(support::plain()),
                ));
                println!("{policy:?} {way:?} bare={bare} no cookie {}", n - r);
                for size in Size::ALL {
                    for job in Job::ALL {
                        let cookie = support::seed(&sessions, size);
                        let request = prep(support::with_cookie(&cookie));
                        let r = most(&mut support::raw(request.clone()));
                        let n = most(&mut support::call(&sessions, way, job, request));
                        println!("{policy:?} {way:?} bare={bare} {job:?} {size:?} {}", n - r);
                    }
                }
            }
        }
    }
}

fn most(call: &mut Call) -> u64 {
    for _ in 0..10 {
        call();
    }
    (0..100)
        .map(|_| {
            let b = COUNT.get();
            call();
            COUNT.get() - b
        })
        .max()
        .unwrap()
}
