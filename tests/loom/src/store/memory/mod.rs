//! The memory store without its interface of futures.

#[path = "../../../../../src/store/memory/error.rs"]
mod error;
#[path = "../../../../../src/store/memory/evict.rs"]
mod evict;
#[path = "../../../../../src/store/memory/eviction_pool.rs"]
mod eviction_pool;
#[path = "../../../../../src/store/memory/key_set.rs"]
mod key_set;
#[path = "../../../../../src/store/memory/partitions.rs"]
mod partitions;
#[path = "../../../../../src/store/memory/settings.rs"]
mod settings;
#[path = "../../../../../src/store/memory/slot.rs"]
mod slot;
#[path = "../../../../../src/store/memory/stats.rs"]
mod stats;
#[path = "../../../../../src/store/memory/sweep.rs"]
mod sweep;
#[path = "../../../../../src/store/memory/sweep_schedule.rs"]
mod sweep_schedule;
#[path = "../../../../../src/store/memory/table.rs"]
mod table;
#[path = "../../../../../src/store/memory/tag_index.rs"]
mod tag_index;
mod tests;
#[path = "../../../../../src/store/memory/tombstone_queue.rs"]
mod tombstone_queue;
