//! The work of a request.

/// The action of the handler, which is the path of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Seed,
    Untouched,
    Read,
    Increment,
}

impl Job {
    pub const ALL: [Self; 4] = [Self::Seed, Self::Untouched, Self::Read, Self::Increment];

    pub fn path(self) -> &'static str {
        match self {
            Self::Seed => "/seed",
            Self::Untouched => "/untouched",
            Self::Read => "/read",
            Self::Increment => "/increment",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::Untouched => "untouched",
            Self::Read => "read one key",
            Self::Increment => "increment one key",
        }
    }

    /// Returns the action of a request with this path.
    pub fn of(path: &str) -> Self {
        let job = Self::ALL.into_iter().find(|job| job.path() == path);
        job.unwrap_or(Self::Untouched)
    }
}
