//! How records and id cookies look in bytes.
