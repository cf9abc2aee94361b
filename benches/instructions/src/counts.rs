//! The costs of a row, and their comparison with the accepted ones.

use std::fmt;

/// Number of calls in a batch.
pub(crate) const CALLS: i64 = 32;

/// Instructions by which a short row may differ: a hundredth of it is too little.
const SLACK: i64 = 5;

/// The costs of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Instructions of one call.
    pub(crate) instructions: i64,
    /// Allocations of a batch. Those of one call would be rounded: 31 in a batch would count as none.
    pub(crate) allocations: i64,
}

impl Counts {
    /// Returns the typical costs of batches, from the totals of each batch.
    pub(crate) fn typical(average: Average, instructions: Vec<i64>, allocations: Vec<i64>) -> Self {
        Self {
            instructions: average.of(instructions) / CALLS,
            allocations: average.of(allocations),
        }
    }

    pub(crate) fn without(self, base: Self) -> Self {
        Self {
            instructions: self.instructions - base.instructions,
            allocations: self.allocations - base.allocations,
        }
    }
}

/// The batch that counts.
#[derive(Clone, Copy)]
pub(crate) enum Average {
    /// For operations: a map grows in some batches.
    Mean,
    /// For requests: a timer may expire in a batch.
    Median,
}

impl Average {
    fn of(self, mut batches: Vec<i64>) -> i64 {
        match self {
            Self::Mean => batches.iter().sum::<i64>() / batches.len().max(1) as i64,
            Self::Median => {
                batches.sort_unstable();
                batches.get(batches.len() / 2).copied().unwrap_or_default()
            }
        }
    }
}

/// The greatest differences from the accepted counts, as divisors of these.
#[derive(Clone, Copy)]
pub(crate) struct Tolerance {
    pub(crate) instructions: i64,
    /// `None` for a row whose allocations must not differ.
    pub(crate) allocations: Option<i64>,
}

impl Tolerance {
    /// 1 % of the instructions, and no difference of the allocations.
    pub(crate) const USUAL: Self = Self {
        instructions: 100,
        allocations: None,
    };
}

/// The comparison of a row with its accepted counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    Same,
    Better(Counts),
    Worse(Counts),
}

impl Verdict {
    pub(crate) fn new(counts: Counts, accepted: Option<Counts>, tolerance: Tolerance) -> Self {
        let Some(accepted) = accepted else {
            return Self::New;
        };
        let instructions = (accepted.instructions.abs() / tolerance.instructions).max(SLACK);
        let share = |divisor| accepted.allocations.abs() / divisor;
        let allocations = tolerance.allocations.map_or(0, share);
        match counts.without(accepted) {
            it if it.allocations > allocations || it.instructions > instructions => {
                Self::Worse(accepted)
            }
            it if it.allocations < -allocations || it.instructions < -instructions => {
                Self::Better(accepted)
            }
            _ => Self::Same,
        }
    }

    /// A better row fails, too. Otherwise a later change could add all that this one saves.
    pub(crate) fn is_failure(&self) -> bool {
        !matches!(self, Self::Same)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, accepted) = match self {
            Self::Same => return Ok(()),
            Self::New => return f.write_str("NEW: accept it"),
            Self::Better(accepted) => ("BETTER", accepted),
            Self::Worse(accepted) => ("WORSE", accepted),
        };
        let Counts {
            instructions,
            allocations,
        } = accepted;
        write!(f, "{word}: accepted {instructions} and {allocations}")
    }
}
