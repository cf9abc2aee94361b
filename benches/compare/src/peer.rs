//! What a contender must be able to do, and the calls that are measured of it.

use http::Request;

use crate::{
    case::{Case, Job},
    document::{START, Size},
    request::{self, Body},
};

/// A call that is measured: one request, answered, and the answer dropped.
pub struct Call {
    pub run: Box<dyn FnMut()>,
    /// Done now and then between calls, and not timed.
    pub tidy: Box<dyn FnMut()>,
}

impl Call {
    pub fn new(run: impl FnMut() + 'static) -> Self {
        let tidy = Box::new(|| ());
        Self {
            run: Box::new(run),
            tidy,
        }
    }
}

/// A session middleware around the common service.
pub trait Peer {
    fn name(&self) -> &str;

    /// The sizes that it can hold.
    fn sizes(&self) -> &[Size] {
        &Size::ALL
    }

    /// Opens a session that holds the document, and returns its cookie as `name=value`.
    fn seed(&self, size: Size) -> String;

    /// The service with a session around it, whose handler does `job`, on clones of `request`.
    fn call(&self, job: Job, request: Request<Body>) -> Call;

    /// The same service with nothing around it.
    fn raw(&self, request: Request<Body>) -> Call;
}

/// Every case of a contender.
pub fn calls(peer: &dyn Peer) -> Vec<(Case, Call)> {
    let cookie = request::with_cookie(&peer.seed(Size::Small));
    let mut calls = vec![
        (Case::Raw, peer.raw(cookie)),
        (Case::RawNoCookie, peer.raw(request::plain())),
        (Case::NoCookie, peer.call(Job::Ignore, request::plain())),
    ];
    for &size in peer.sizes() {
        let known = |job| peer.call(job, request::with_cookie(&peer.seed(size)));
        calls.push((Case::Untouched(size), known(Job::Ignore)));
        calls.push((Case::Read(size), known(Job::Read)));
        calls.push((Case::Increment(size), known(Job::Increment)));
    }
    calls
}

/// Runs a call a few times and sees that it does what its case says.
///
/// # Panics
/// When it does not: a figure for a session that was not found would be worse than none.
pub fn check(name: &str, case: Case, call: &mut Call) {
    // The last call of the case before may have left its number.
    request::seen();
    for _ in 0..3 {
        (call.run)();
        let seen = request::seen();
        let right = match case {
            Case::Read(_) => seen == START,
            Case::Increment(_) => seen > START,
            _ => seen == 0,
        };
        assert!(
            right,
            "{name}: {} found {seen} in the session",
            case.label()
        );
    }
}
