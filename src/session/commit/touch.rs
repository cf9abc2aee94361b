//! Keeping an unopened session alive.

use crate::session::{
    CookiePolicy,
    engine::Engine,
    state::{IdStatus, State},
};
use crate::store::StoreFuture;

impl State {
    /// The touch that keeps an unopened session alive, where it is due.
    pub(in crate::session) fn renewal(&mut self, engine: &Engine) -> Option<StoreFuture<bool>> {
        if !self.identity.has_cookie() {
            return None;
        }
        let now = engine.clock.now();
        let worth_a_look = match engine.policy.cookie {
            CookiePolicy::Rolling => true,
            CookiePolicy::WhenUsed => self.identity.claims_due(engine, now),
        };
        if !worth_a_look {
            return None;
        }
        self.identity.look_up(engine);
        let due = self.identity.carried && engine.is_renewal_due(self.identity.renewed, now);
        if !due {
            return None;
        }
        let key = self.identity.key()?;
        let life = engine.policy.time_to_live();
        Some(self.store(engine).touch(&key, life))
    }

    /// There is no record to keep alive. The cookie is, where every response says so.
    pub(in crate::session) fn renewal_found_nothing(&mut self, engine: &Engine) {
        if self.identity.stored {
            // Something was, so the session is over, and so is its id.
            self.identity.abandon();
            self.fate = IdStatus::Stale;
        } else if engine.policy.cookie == CookiePolicy::Rolling {
            self.identity.renew(engine.clock.now());
        }
    }
}
