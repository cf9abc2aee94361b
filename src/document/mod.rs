//! Session data as JSON text: paths, reads and edits.
