//! The client of a tower service.

use hyper_util::service::TowerToHyperService;

use super::TestClient;
use crate::service::Sessions;

impl<S> TestClient<TowerToHyperService<S>> {
    /// Creates a client of a tower service that `sessions` wrap, such as an `axum::Router` with
    /// [`Sessions::layer`].
    pub fn tower(sessions: &Sessions, service: S) -> Self {
        Self::new(sessions, TowerToHyperService::new(service))
    }
}
