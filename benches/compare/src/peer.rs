//! The interface of a contender, and its calls to measure.

use crate::{
    case::{Case, Job},
    document::{START, Size},
    request::{self, Visitors},
};

/// A call to measure: one request is answered and its response dropped.
pub struct Call {
    pub run: Box<dyn FnMut()>,
    /// Runs from time to time between calls, outside the measured time.
    pub cleanup: Box<dyn FnMut()>,
}

impl Call {
    pub fn new(run: impl FnMut() + 'static) -> Self {
        let cleanup = Box::new(|| ());
        Self {
            run: Box::new(run),
            cleanup,
        }
    }
}

/// A session middleware around the common service.
pub trait Peer {
    fn name(&self) -> &str;

    /// Returns the document sizes that it supports.
    fn sizes(&self) -> &[Size] {
        &Size::ALL
    }

    /// Creates a session with the document, and returns its cookie as `name=value`.
    fn seed(&self, size: Size) -> String;

    /// Returns a call of the service inside the middleware, with a handler that does `job`.
    fn call(&self, job: Job, visitors: Visitors) -> Call;

    /// Returns a call of the service without the middleware.
    fn raw(&self, visitors: Visitors) -> Call;
}

/// The number of cold visitors: more than the processor's caches and this crate's cache of opened cookies hold.
const COLD_VISITORS: usize = 32_768;

/// Returns every case of a contender.
pub fn calls(peer: &dyn Peer) -> Vec<(Case, Call)> {
    let known = |size| request::with_cookie(&peer.seed(size));
    let mut calls = vec![
        (Case::RawValue, peer.raw(known(Size::Small).into())),
        (Case::RawNoCookie, peer.raw(request::plain().into())),
        (
            Case::NoCookie,
            peer.call(Job::Ignore, request::plain().into()),
        ),
    ];
    for &size in peer.sizes() {
        let call = |job| peer.call(job, known(size).into());
        calls.push((Case::Untouched(size), call(Job::Ignore)));
        calls.push((Case::Read(size), call(Job::Read)));
        calls.push((Case::Increment(size), call(Job::Increment)));
    }
    let cold_visitors: Vec<_> = (0..COLD_VISITORS).map(|_| known(Size::Small)).collect();
    calls.push((
        Case::RawColdVisitors,
        peer.raw(cold_visitors.clone().into()),
    ));
    for job in Job::ALL {
        let call = peer.call(job, cold_visitors.clone().into());
        calls.push((Case::ColdVisitors(job), call));
    }
    calls
}

/// Runs a call a few times and checks that the handler finds the number that the case requires.
///
/// # Panics
/// If the handler does not find it, because the call would measure a session that was not found.
pub fn check(name: &str, case: Case, call: &mut Call) {
    // The last call of the previous case may have left its number.
    request::take_seen();
    for _ in 0..3 {
        (call.run)();
        let seen = request::take_seen();
        let is_expected = match case {
            Case::Read(_) | Case::ColdVisitors(Job::Read) => seen == START,
            Case::Increment(_) | Case::ColdVisitors(Job::Increment) => seen > START,
            _ => seen == 0,
        };
        assert!(
            is_expected,
            "{name}: {} found {seen} in the session",
            case.label()
        );
    }
}
