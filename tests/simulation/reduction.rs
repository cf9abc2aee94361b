//! Partial-order reduction by sleep sets: of two orders of independent moves, an enumeration runs one.
//!
//! A move that was tried in a state sleeps in the other branches of that state until a move is made that
//! depends on it. A run in which all moves sleep repeats another run. Answers are tried first: a request
//! that ends early limits more what others may observe.

use crate::{
    driver::Move,
    script::Actor,
    store::{Access, Fault, HeldCall, Origin},
};

/// The moves that sleep.
#[derive(Debug, Default)]
pub(crate) struct SleepSet(Vec<Move>);

impl SleepSet {
    /// Removes the moves that sleep from `moves`.
    pub(crate) fn filter(&self, moves: &mut Vec<Move>) {
        moves.retain(|one| !self.0.contains(one));
    }

    /// Adds the moves that were tried before `chosen`, and wakes those that depend on it.
    pub(crate) fn advance(&mut self, tried: &[Move], chosen: Move, context: &Context<'_>) {
        self.0.extend(tried);
        self.0.retain(|one| context.is_independent(*one, chosen));
    }
}

/// The part of a scenario that decides which moves are independent.
pub(crate) struct Context<'a> {
    pub(crate) actors: &'a [Actor],
    pub(crate) answers_at_once: bool,
}

impl Context<'_> {
    /// Returns `true` if both orders of two moves lead to the same state, and neither prevents the other.
    fn is_independent(&self, one: Move, other: Move) -> bool {
        let (Move::Release(one, fault), Move::Release(other, other_fault)) = (one, other) else {
            return false;
        };
        // A schedule has a limited number of faults.
        let share_limit = fault.is_some() && other_fault.is_some();
        if one.origin == other.origin || share_limit {
            return false;
        }
        let answers = |call: HeldCall| call.is_executed || self.answers_at_once;
        let share_process = self.process(one.origin) == self.process(other.origin);
        if answers(one) && answers(other) && share_process {
            return false;
        }
        let in_store = |call: HeldCall, fault: Option<Fault>| {
            (!call.is_executed && fault != Some(Fault::NotExecuted)).then_some(call.access)
        };
        match (in_store(one, fault), in_store(other, other_fault)) {
            (Some(one), Some(other)) => commute(one, other),
            _ => true,
        }
    }

    /// Returns the process that gets the answers of an origin.
    fn process(&self, origin: Origin) -> usize {
        match origin {
            Origin::Request(number) => self.actors[number].engine,
            Origin::Worker(engine) => engine,
        }
    }
}

/// Returns `true` if two calls of the store have the same results in both orders.
fn commute(one: Access, other: Access) -> bool {
    match (one, other) {
        (Access::Write(one), Access::Write(other) | Access::Read(other))
        | (Access::Read(one), Access::Write(other)) => one != other,
        (Access::List, Access::Write(_)) | (Access::Write(_), Access::List) => false,
        _ => true,
    }
}
