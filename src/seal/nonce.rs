//! Random nonces.

use std::cell::RefCell;

use rand::{
    Rng, SeedableRng,
    rngs::{StdRng, SysRng},
};

use super::{SealError, aead::NONCE_LEN};

thread_local! {
    // Each thread seeds its generator once. A system call per nonce would cost as much as the
    // encryption. `rand::rng()` would panic if the operating system provides no seed.
    static RANDOM: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// Returns an unpredictable nonce.
pub(super) fn random() -> Result<[u8; NONCE_LEN], SealError> {
    RANDOM
        .try_with(|random| draw(&mut *random.try_borrow_mut().ok()?))
        .ok()
        .flatten()
        .ok_or(SealError::Entropy)
}

fn draw(random: &mut Option<StdRng>) -> Option<[u8; NONCE_LEN]> {
    let random = match random {
        Some(random) => random,
        None => random.insert(StdRng::try_from_rng(&mut SysRng).ok()?),
    };
    let mut nonce = [0; NONCE_LEN];
    random.fill_bytes(&mut nonce);
    Some(nonce)
}
