//! A user's devices: one tagged session for each.

use std::time::{Duration, UNIX_EPOCH};

use hyper_session::{Session, document::IsoDate, service::Redirect};
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    BoxError, Page, Site, account, pages,
    users::{self, User},
};

/// A signed-in browser, as stored in its session.
#[derive(Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) name: String,
    /// Time of the sign-in, in seconds since 1970.
    pub(crate) since: u64,
}

impl Device {
    /// Returns a readable name for a `User-Agent`.
    pub(crate) fn name_from_agent(agent: &str) -> String {
        let first = |names: &[(&'static str, &'static str)], other| {
            let entry = names.iter().find(|(part, _)| agent.contains(part));
            entry.map_or(other, |(_, name)| *name)
        };
        // The order matters: each browser's agent also contains the names after it.
        let browsers = [
            ("Edg/", "Edge"),
            ("Firefox/", "Firefox"),
            ("Chrome/", "Chrome"),
            ("Safari/", "Safari"),
            ("curl/", "curl"),
        ];
        let systems = [
            ("Android", "Android"),
            ("iPhone", "iPhone"),
            ("Windows", "Windows"),
            ("Mac OS X", "macOS"),
            ("Linux", "Linux"),
        ];
        let browser = first(&browsers, "A browser");
        format!("{browser} on {}", first(&systems, "a device"))
    }
}

impl Site {
    pub(crate) async fn devices(&self, session: &Session) -> Result<Page, BoxError> {
        let Some(user) = self.user(session)? else {
            return require_sign_in(session, Redirect::to("/sign-in"));
        };
        let values = context! { devices => self.devices_of(&user, session).await? };
        self.page("devices.html", "/devices", session, values)
    }

    async fn devices_of(&self, user: &User, session: &Session) -> Result<Vec<Value>, BoxError> {
        let current = session.store_key()?;
        let mut devices = Vec::new();
        for key in self.collection.tagged(&users::tag(&user.id)).await? {
            // Skip a session that ended after it was listed.
            if let Some(session) = self.collection.get(&key).await?
                && let Some(device) = session.get::<Device>("device")?
            {
                devices.push((key == current, device));
            }
        }
        devices.sort_by_key(|(is_current, device)| (!is_current, u64::MAX - device.since));
        let to_value = |(is_current, device): (bool, Device)| {
            let since = UNIX_EPOCH + Duration::from_secs(device.since);
            let (iso, since) = (
                IsoDate::from(since).to_string(),
                httpdate::fmt_http_date(since),
            );
            context! { is_current, name => device.name, iso, since }
        };
        Ok(devices.into_iter().map(to_value).collect())
    }

    pub(crate) async fn log_out_others(&self, session: &Session) -> Result<Page, BoxError> {
        let Some(user) = self.user(session)? else {
            return require_sign_in(session, Redirect::to("/sign-in"));
        };
        let current = session.store_key()?;
        let count = self
            .collection
            .destroy_tagged(&users::tag(&user.id), Some(&current))
            .await?;
        let message = match count {
            0 => "No other devices were signed in.".to_owned(),
            1 => "1 other device was signed out.".to_owned(),
            _ => format!("{count} other devices were signed out."),
        };
        session.flash(
            "notification",
            json!({ "type": "success", "message": message }),
        )?;
        Ok(pages::see_other("/devices"))
    }

    pub(crate) async fn log_out_everywhere(&self, session: &Session) -> Result<Page, BoxError> {
        let Some(user) = self.user(session)? else {
            return require_sign_in(session, Redirect::to("/sign-in"));
        };
        self.collection
            .destroy_tagged(&users::tag(&user.id), None)
            .await?;
        account::end_user_session(session, "You are signed out on all devices.")
    }
}

/// Redirects to the sign-in page.
pub(crate) fn require_sign_in(session: &Session, redirect: Redirect) -> Result<Page, BoxError> {
    let message = "Please sign in to see this page.";
    session.flash(
        "notification",
        json!({ "type": "info", "message": message }),
    )?;
    Ok(pages::redirect(redirect))
}
