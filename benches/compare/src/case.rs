//! What is measured.

use crate::document::Size;

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// The service alone, with the Cookie header that the session's cases send.
    RawValue,
    /// The service alone, without a Cookie header.
    RawNoCookie,
    /// The service alone, with the Cookie headers of many visitors in turn.
    RawStrangers,
    /// A session around it, no Cookie header, and a handler that ignores the session.
    NoCookie,
    /// A known session that the handler ignores.
    Untouched(Size),
    /// A known session of which the handler reads one number.
    Read(Size),
    /// A known session of which the handler adds one to a number.
    Increment(Size),
    /// Many visitors in turn, each with a small known session.
    Strangers(Job),
}

impl Case {
    /// The case without a session that this one is net of; `None` for those themselves.
    pub fn base(self) -> Option<Self> {
        match self {
            Self::RawValue | Self::RawNoCookie | Self::RawStrangers => None,
            Self::Strangers(_) => Some(Self::RawStrangers),
            Self::NoCookie => Some(Self::RawNoCookie),
            Self::Untouched(_) | Self::Read(_) | Self::Increment(_) => Some(Self::RawValue),
        }
    }

    pub fn label(self) -> String {
        match self {
            Self::RawValue => "raw".into(),
            Self::RawNoCookie => "raw, no cookie".into(),
            Self::RawStrangers => "raw, strangers".into(),
            Self::NoCookie => "no cookie, untouched".into(),
            Self::Untouched(size) => format!("untouched, {size}"),
            Self::Read(size) => format!("read one key, {size}"),
            Self::Increment(size) => format!("increment one key, {size}"),
            Self::Strangers(Job::Ignore) => "untouched, strangers".into(),
            Self::Strangers(Job::Read) => "read one key, strangers".into(),
            Self::Strangers(Job::Increment) => "increment one key, strangers".into(),
        }
    }
}

/// What the handler does with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Ignore,
    Read,
    Increment,
}

impl Job {
    pub const ALL: [Self; 3] = [Self::Ignore, Self::Read, Self::Increment];
}
