//! The settings of a Redis store.

use std::{fmt, sync::Arc, time::Duration};

use super::{application::Application, log, outage::Outage};

/// The longest time of a setting, about 34 years. Every clock can represent twice this time from now.
pub(super) const MAX_TIME: Duration = Duration::from_secs(1 << 30);

/// The limits of a store; [`RedisStoreBuilder`](super::RedisStoreBuilder) documents each.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) prefix: String,
    pub(super) pool_size: usize,
    pub(super) connect_timeout: Duration,
    pub(super) command_timeout: Duration,
    pub(super) operation_timeout: Duration,
    pub(super) outage_timeout: Duration,
    pub(super) startup_timeout: Duration,
    pub(super) tombstone_ttl: Duration,
    pub(super) max_in_flight: usize,
    pub(super) replicas: u32,
    pub(super) application: Option<Application>,
    pub(super) on_outage: Arc<dyn Fn(&Outage) + Send + Sync>,
    /// Set if the user has installed `on_outage`, or if outages are logged.
    pub(super) reports_outages: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "session:".into(),
            pool_size: 2,
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(1),
            operation_timeout: Duration::from_secs(3),
            outage_timeout: Duration::from_millis(250),
            startup_timeout: Duration::from_secs(10),
            tombstone_ttl: Duration::from_secs(60),
            max_in_flight: 10_000,
            replicas: 0,
            application: None,
            on_outage: Arc::new(|_| ()),
            reports_outages: log::IS_ENABLED,
        }
    }
}

impl Settings {
    /// Returns the settings with no time longer than [`MAX_TIME`].
    pub(super) fn with_max_times(mut self) -> Self {
        for time in [
            &mut self.connect_timeout,
            &mut self.command_timeout,
            &mut self.operation_timeout,
            &mut self.outage_timeout,
            &mut self.startup_timeout,
        ] {
            *time = MAX_TIME.min(*time);
        }
        self
    }

    /// Returns the timeout of one attempt.
    ///
    /// It is a little shorter than the operation timeout, so that an attempt that times out is
    /// distinguishable from an operation that has no time left.
    pub(super) fn attempt_timeout(&self) -> Duration {
        let max = self
            .operation_timeout
            .saturating_sub(self.operation_timeout / 16);
        self.command_timeout.min(max)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("prefix", &self.prefix)
            .field("pool_size", &self.pool_size)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("operation_timeout", &self.operation_timeout)
            .field("outage_timeout", &self.outage_timeout)
            .field("startup_timeout", &self.startup_timeout)
            .field("tombstone_ttl", &self.tombstone_ttl)
            .field("max_in_flight", &self.max_in_flight)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}
