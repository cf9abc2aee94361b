//! The timers of a schedule: the pause of a commit after a conflict, and the pause of a job that waits for a new id.

use std::{
    thread,
    time::{Duration, Instant},
};

use http::StatusCode;

use crate::{
    driver::{Ending, PAUSE, RunningActor, Schedule, alive_tasks},
    script::{Entry, Role},
    store::{HeldCall, Origin},
};

/// The time in which a request that waits for a timer must continue.
const MAX_WAIT: Duration = Duration::from_secs(20);

impl Schedule<'_> {
    /// Begins the wait of a job that was polled and is not ready, if it waits for a new id. After a conflict, the
    /// last call of a job is a write.
    pub(crate) fn begin_wait(&mut self, number: usize) {
        let control = &self.machine.control;
        let is_job = matches!(self.scenario.actors[number].role, Role::ListedJob(_));
        if !is_job || control.has_call(number) || control.last_call(number) != Some("read") {
            return;
        }
        self.actors[number].is_waiting = true;
        self.machine.history.push(number, Entry::Waited);
    }

    /// Returns `true` if something continues by itself.
    fn is_moving(&self) -> bool {
        let is_moving = |it: &RunningActor| it.request.is_some() && !it.is_waiting;
        self.actors.iter().any(is_moving) || alive_tasks() > 0
    }

    /// Returns the jobs whose wait the schedule may end.
    pub(crate) fn waits(&self) -> impl Iterator<Item = usize> {
        let changes = self.machine.control.lock().changes;
        let is_ready = move |it: &RunningActor| it.is_waiting && it.seen_changes < changes;
        let actors = self.actors.iter().enumerate();
        actors.filter_map(move |(number, it)| is_ready(it).then_some(number))
    }

    /// Lets a job continue when its timer has fired.
    pub(crate) async fn end_wait(&mut self, number: usize) {
        let begun = Instant::now();
        self.actors[number].seen_changes = self.machine.control.lock().changes;
        loop {
            self.actors[number].is_waiting = false;
            self.settle().await;
            let is_waiting =
                self.actors[number].request.is_some() && !self.machine.control.has_call(number);
            if !is_waiting || begun.elapsed() > MAX_WAIT {
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Ends the jobs that wait, if nothing else continues: a regeneration was interrupted. A job would wait until
    /// the commit timeout.
    pub(crate) fn end_hopeless_waits(&mut self) -> bool {
        if self.is_moving() {
            return false;
        }
        let step = self.machine.history.step();
        for actor in self.actors.iter_mut().filter(|it| it.is_waiting) {
            (actor.request, actor.is_waiting) = (None, false);
            actor.ending = Some(Ending {
                status: Some(StatusCode::TOO_EARLY),
                step,
                ..Ending::default()
            });
        }
        true
    }

    /// Waits for the timer of a commit that backs off, if the released call may have started one. It
    /// is the only timer of a schedule.
    pub(crate) async fn wait_for_back_off(&mut self, call: HeldCall) {
        if !self.machine.control.lock().answered_conflict {
            return;
        }
        let conflicts = self.conflicts.entry(call.origin).or_default();
        *conflicts += 1;
        // The longest delay after so many conflicts, and some time to wake up.
        let max = Duration::from_millis((1 << (*conflicts).min(6)) + 1);
        let begun = Instant::now();
        while self.may_back_off(call) && begun.elapsed() < max {
            thread::sleep(PAUSE);
            self.settle().await;
        }
    }

    /// Returns `true` if the origin of an answered call may wait for a timer.
    fn may_back_off(&self, call: HeldCall) -> bool {
        let held = self.machine.control.held();
        if held.iter().any(|it| it.origin == call.origin) {
            return false;
        }
        match call.origin {
            Origin::Worker(_) => alive_tasks() > 0,
            // A request that holds a turn keeps the worker of its process from calling the store.
            Origin::Request(number) => {
                let worker = Origin::Worker(self.scenario.actors[number].engine);
                let is_running = self.actors[number].request.is_some();
                is_running && !held.iter().any(|it| it.origin == worker)
            }
        }
    }

    /// Waits until an actor continues by itself.
    pub(crate) async fn wait(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while self.machine.control.held().is_empty() && self.is_moving() {
            if begun.elapsed() > MAX_WAIT {
                return Err("a request waits for ever".to_owned());
            }
            thread::sleep(PAUSE);
            self.settle().await;
        }
        Ok(())
    }
}
