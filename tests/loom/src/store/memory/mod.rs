//! The memory store without its interface of futures.

#[path = "../../../../../src/store/memory/key_queue.rs"]
mod key_queue;
#[path = "../../../../../src/store/memory/key_set.rs"]
mod key_set;
#[path = "../../../../../src/store/memory/settings.rs"]
mod settings;
#[path = "../../../../../src/store/memory/slot.rs"]
mod slot;
#[path = "../../../../../src/store/memory/stats.rs"]
mod stats;
#[path = "../../../../../src/store/memory/sweep.rs"]
mod sweep;
mod sweep_timer;
#[path = "../../../../../src/store/memory/table.rs"]
mod table;
#[path = "../../../../../src/store/memory/tag_index.rs"]
mod tag_index;
mod tests;
