//! How many allocations a session adds to a request.
//!
//! Counted by the allocator itself, on the thread of each test alone, as the difference to the same
//! service without a session. Every call of a warm thread must ask for the same number of blocks.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use http::Request;
use hyper_session::{
    Sessions,
    session::CookiePolicy::{self, Rolling, WhenUsed},
    store::{CookieStore, MemoryStore},
};
use support::{
    Body, Call,
    Job::{self, Ignore, Increment, Read},
    Size,
    Way::{self, Extension, Typed},
};

#[allow(dead_code, unused_imports, reason = "made for several targets")]
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

/// Whether the request came with extensions, as it does behind most frameworks.
#[derive(Clone, Copy)]
enum Extensions {
    None,
    Some,
}

/// What a call asks for: as many blocks each time, once the thread is warm.
///
/// # Panics
/// When two calls differ.
fn blocks(mut call: Call) -> u64 {
    // Buffers grow with the number that is counted up, and reach all of its lengths to come.
    (0..200).for_each(|_| call());
    let once = |call: &mut Call| {
        let before = COUNT.get();
        call();
        COUNT.get() - before
    };
    let first = once(&mut call);
    assert!((0..100).all(|_| once(&mut call) == first), "calls differ");
    first
}

fn sessions(policy: CookiePolicy) -> Sessions {
    Sessions::new(support::config(policy), MemoryStore::new()).unwrap()
}

fn with(extensions: Extensions, mut request: Request<Body>) -> Request<Body> {
    if let Extensions::Some = extensions {
        request.extensions_mut().insert(7_u8);
    }
    request
}

fn added_to(request: Request<Body>, sessions: &Sessions, way: Way, job: Job) -> u64 {
    let raw = blocks(support::raw(request.clone()));
    blocks(support::call(sessions, way, job, request)) - raw
}

/// What a request of a known session adds, the same for a small and for a large document.
fn known(policy: CookiePolicy, way: Way, extensions: Extensions, job: Job) -> u64 {
    let sessions = sessions(policy);
    let [small, large] = Size::ALL.map(|size| {
        let request = support::with_cookie(&support::seed(&sessions, size));
        added_to(with(extensions, request), &sessions, way, job)
    });
    assert_eq!(small, large, "the document's size counts");
    small
}

fn no_cookie(policy: CookiePolicy, way: Way, extensions: Extensions) -> u64 {
    let request = with(extensions, support::plain());
    added_to(request, &sessions(policy), way, Ignore)
}

#[test]
fn a_session_as_an_argument_costs_nothing_until_it_is_written() {
    for extensions in [Extensions::None, Extensions::Some] {
        assert_eq!(no_cookie(WhenUsed, Typed, extensions), 0);
        assert_eq!(known(WhenUsed, Typed, extensions, Ignore), 0);
        assert_eq!(known(WhenUsed, Typed, extensions, Read), 0);
    }
}

#[test]
fn a_write_costs_the_record_and_its_reference_count() {
    assert_eq!(known(WhenUsed, Typed, Extensions::None, Increment), 2);
}

#[test]
fn a_cookie_on_every_response_costs_its_text() {
    assert_eq!(no_cookie(Rolling, Typed, Extensions::None), 1);
    assert_eq!(known(Rolling, Typed, Extensions::None, Ignore), 1);
    assert_eq!(known(Rolling, Typed, Extensions::None, Read), 1);
    assert_eq!(known(Rolling, Typed, Extensions::None, Increment), 3);
}

#[test]
fn a_session_in_a_cookie_costs_what_it_is_opened_into() {
    let net = |policy, job| {
        let sessions = Sessions::new(support::config(policy), CookieStore::new()).unwrap();
        let request = support::with_cookie(&support::seed(&sessions, Size::Medium));
        added_to(request, &sessions, Typed, job)
    };
    assert_eq!(net(WhenUsed, Ignore), 0);
    // The store in this request; the cookie has come before and is known.
    assert_eq!(net(WhenUsed, Read), 1);
    // And the id cookie's text.
    assert_eq!(net(Rolling, Read), 2);
}

#[test]
fn a_session_in_a_strangers_cookie_costs_its_opening_as_well() {
    for (policy, expected) in [(WhenUsed, 3), (Rolling, 4)] {
        let sessions = Sessions::new(support::config(policy), CookieStore::new()).unwrap();
        let request = |_| support::with_cookie(&support::seed(&sessions, Size::Medium));
        // More than are called before the count ends.
        let requests: Vec<_> = (0..400).map(request).collect();
        let raw = blocks(support::raw_each(requests.clone()));
        let read = blocks(support::call_each(&sessions, Typed, Read, requests));
        // The opened text, and its reference count.
        assert_eq!(read - raw, expected);
    }
}

#[test]
fn a_session_in_the_extensions_costs_its_box_there() {
    assert_eq!(no_cookie(WhenUsed, Extension, Extensions::Some), 1);
    assert_eq!(known(WhenUsed, Extension, Extensions::Some, Ignore), 1);
    assert_eq!(known(WhenUsed, Extension, Extensions::Some, Read), 1);
    assert_eq!(known(WhenUsed, Extension, Extensions::Some, Increment), 3);
    assert_eq!(known(Rolling, Extension, Extensions::Some, Ignore), 2);
    assert_eq!(known(Rolling, Extension, Extensions::Some, Read), 2);
    assert_eq!(known(Rolling, Extension, Extensions::Some, Increment), 4);
}

#[test]
fn the_first_extension_of_a_request_costs_the_map_and_its_table_as_well() {
    assert_eq!(no_cookie(WhenUsed, Extension, Extensions::None), 3);
    assert_eq!(known(WhenUsed, Extension, Extensions::None, Ignore), 3);
    assert_eq!(known(WhenUsed, Extension, Extensions::None, Read), 3);
    assert_eq!(known(WhenUsed, Extension, Extensions::None, Increment), 5);
    assert_eq!(known(Rolling, Extension, Extensions::None, Ignore), 4);
    assert_eq!(known(Rolling, Extension, Extensions::None, Read), 4);
    assert_eq!(known(Rolling, Extension, Extensions::None, Increment), 6);
}

#[test]
fn any_other_first_extension_costs_the_same() {
    let request = support::plain();
    let bare = request.clone();
    let clone = blocks(Box::new(move || drop(bare.clone())));
    let insert = blocks(Box::new(move || {
        request.clone().extensions_mut().insert(7_u64);
    }));
    assert_eq!(insert - clone, 3);
}
