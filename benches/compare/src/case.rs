//! The cases that are measured.

use crate::document::Size;

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// The service alone, with the Cookie header that the session's cases send.
    RawValue,
    /// The service alone, without a Cookie header.
    RawNoCookie,
    /// The service alone, with the Cookie headers of many visitors in turn.
    RawColdVisitors,
    /// A session middleware, no Cookie header, and a handler that ignores the session.
    NoCookie,
    /// A known session that the handler ignores.
    Untouched(Size),
    /// A known session; the handler reads one of its numbers.
    Read(Size),
    /// A known session; the handler increments one of its numbers.
    Increment(Size),
    /// Many visitors in turn, each with a small known session.
    ColdVisitors(Job),
}

impl Case {
    /// Returns the raw case to subtract from this one; `None` for a raw case.
    pub fn base(self) -> Option<Self> {
        match self {
            Self::RawValue | Self::RawNoCookie | Self::RawColdVisitors => None,
            Self::ColdVisitors(_) => Some(Self::RawColdVisitors),
            Self::NoCookie => Some(Self::RawNoCookie),
            Self::Untouched(_) | Self::Read(_) | Self::Increment(_) => Some(Self::RawValue),
        }
    }

    pub fn label(self) -> String {
        match self {
            Self::RawValue => "raw".into(),
            Self::RawNoCookie => "raw, no cookie".into(),
            Self::RawColdVisitors => "raw, cold visitors".into(),
            Self::NoCookie => "no cookie, untouched".into(),
            Self::Untouched(size) => format!("untouched, {size}"),
            Self::Read(size) => format!("read one key, {size}"),
            Self::Increment(size) => format!("increment one key, {size}"),
            Self::ColdVisitors(Job::Ignore) => "untouched, cold visitors".into(),
            Self::ColdVisitors(Job::Read) => "read one key, cold visitors".into(),
            Self::ColdVisitors(Job::Increment) => "increment one key, cold visitors".into(),
        }
    }
}

/// The action of the handler on its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Ignore,
    Read,
    Increment,
}

impl Job {
    pub const ALL: [Self; 3] = [Self::Ignore, Self::Read, Self::Increment];
}
