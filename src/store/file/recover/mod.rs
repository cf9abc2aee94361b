//! Reading a store's directory: to open the store, or only to inspect it.

mod confirmations;
mod damage;
pub(super) mod index_batch;
pub(crate) mod inspect;
mod key_slots;
pub(crate) mod open;
mod replay;
pub(crate) mod report;
mod scan;
mod segment_files;
