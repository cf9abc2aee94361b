//! The memory store.

/// Sessions in this process's memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore;
