//! What a contender must be able to do, and the calls that are measured of it.

use crate::{
    case::{Case, Job},
    document::{START, Size},
    request::{self, Visitors},
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

    /// The service with a session around it, whose handler does `job`, on each one's requests.
    fn call(&self, job: Job, visitors: Visitors) -> Call;

    /// The same service with nothing around it.
    fn raw(&self, visitors: Visitors) -> Call;
}

/// How many visitors come in turn where they are strangers: more than anybody keeps in a cache.
const STRANGERS: usize = 8192;

/// Every case of a contender.
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
    let strangers: Vec<_> = (0..STRANGERS).map(|_| known(Size::Small)).collect();
    calls.push((Case::RawStrangers, peer.raw(strangers.clone().into())));
    for job in Job::ALL {
        let call = peer.call(job, strangers.clone().into());
        calls.push((Case::Strangers(job), call));
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
            Case::Read(_) | Case::Strangers(Job::Read) => seen == START,
            Case::Increment(_) | Case::Strangers(Job::Increment) => seen > START,
            _ => seen == 0,
        };
        assert!(
            right,
            "{name}: {} found {seen} in the session",
            case.label()
        );
    }
}
