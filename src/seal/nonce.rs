//! Random nonces.

use std::cell::RefCell;

use super::{SealError, aead::NONCE_LEN};

/// Number of nonces that a thread draws from the operating system at once. A system call per nonce would
/// cost as much as the encryption.
const BATCH: usize = 64;

/// Random nonces of one thread. A nonce is not secret.
struct NonceBatch {
    nonces: [[u8; NONCE_LEN]; BATCH],
    /// The number of nonces that are not used yet. They are the first ones.
    unused: usize,
}

thread_local! {
    static NONCES: RefCell<NonceBatch> = const {
        RefCell::new(NonceBatch { nonces: [[0; NONCE_LEN]; BATCH], unused: 0 })
    };
}

/// Returns an unpredictable nonce.
pub(super) fn random() -> Result<[u8; NONCE_LEN], SealError> {
    NONCES
        .try_with(|batch| draw(&mut *batch.try_borrow_mut().ok()?))
        .ok()
        .flatten()
        .ok_or(SealError::Entropy)
}

fn draw(batch: &mut NonceBatch) -> Option<[u8; NONCE_LEN]> {
    if batch.unused == 0 {
        getrandom::fill(batch.nonces.as_flattened_mut()).ok()?;
        batch.unused = BATCH;
    }
    batch.unused -= 1;
    batch.nonces.get(batch.unused).copied()
}
