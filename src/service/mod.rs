//! The session around a hyper service.
