//! What a handler holds.
