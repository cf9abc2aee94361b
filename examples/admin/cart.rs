//! A cart, whose total a job computes.

use std::time::Duration;

use hyper_session::{SessionCollection, SessionError, TypedKey, session::SessionInfo};
use serde::{Deserialize, Serialize};

pub(crate) const CART: TypedKey<Cart> = TypedKey::new("cart");

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Cart {
    prices: Vec<u32>,
    total: u64,
}

impl Cart {
    /// Removes the price that was added last.
    pub(crate) fn remove_last(&mut self) {
        self.prices.pop();
    }

    fn sum(&self) -> u64 {
        self.prices.iter().copied().map(u64::from).sum()
    }
}

/// Updates the totals of all carts at each interval. A failure is printed, and the next round tries again.
pub(crate) async fn run_job(collection: SessionCollection, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        if let Err(error) = update_totals(&collection).await {
            eprintln!("cart job: {error}; trying again in {interval:?}");
        }
    }
}

async fn update_totals(collection: &SessionCollection) -> Result<(), SessionError> {
    let mut scan = collection.scan(&["cart"])?;
    while let Some(session) = scan.next().await? {
        if let Err(error) = update_total(collection, &session).await {
            eprintln!("cart job: session {}: {error}", session.key());
        }
    }
    Ok(())
}

/// Writes only if the total is wrong. The closure gets the newest cart, which may be newer than the scan's.
async fn update_total(
    collection: &SessionCollection,
    session: &SessionInfo,
) -> Result<(), SessionError> {
    let cart = session.values().get(CART)?;
    if cart.is_some_and(|cart| cart.total != cart.sum()) {
        let update = |cart: &mut Cart| cart.total = cart.sum();
        // `None` means that the session has ended since the scan read it.
        let _ = collection.update(session.key(), CART, update).await?;
    }
    Ok(())
}
