//! What a request did to its session: operations over a snapshot.
