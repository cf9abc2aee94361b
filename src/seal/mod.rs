//! Who may read it: the key ring and the sealed codec.
