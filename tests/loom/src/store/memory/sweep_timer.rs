//! The timer of the background task, for which no model waits.

use std::future::pending;

use crate::{clock::Clock, runtime::Handle};

#[derive(Clone, Copy)]
pub(super) struct SweepTimer;

impl SweepTimer {
    pub(super) const fn new(_: &Handle, _: &Clock) -> Self {
        Self
    }

    pub(super) async fn wait(self) {
        pending().await
    }
}
