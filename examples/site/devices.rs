//! Where a user is signed in: one tagged session for each device.

use std::time::{Duration, UNIX_EPOCH};

use hyper_session::{Session, document::IsoDate};
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    BoxError, Page, Parts, account, pages,
    users::{self, User},
};

/// What a session keeps of the browser that it belongs to.
#[derive(Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) name: String,
    /// When it was signed in, in seconds since 1970.
    pub(crate) since: u64,
}

impl Device {
    /// A name that a person understands, out of a User-Agent.
    pub(crate) fn name_of(agent: &str) -> String {
        let first = |names: &[(&'static str, &'static str)], other| {
            let found = names.iter().find(|(part, _)| agent.contains(part));
            found.map_or(other, |(_, name)| *name)
        };
        // The order matters: each of these claims to be those after it.
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

impl Parts {
    pub(crate) async fn devices(&self, session: &Session) -> Result<Page, BoxError> {
        let Some(user) = self.user(session)? else {
            return ask_to_sign_in(session);
        };
        let values = context! { devices => self.devices_of(&user, session).await? };
        self.page("devices.html", "/devices", session, values)
    }

    async fn devices_of(&self, user: &User, session: &Session) -> Result<Vec<Value>, BoxError> {
        let mine = session.store_key()?;
        let mut devices = Vec::new();
        for key in self.all_sessions.tagged(&users::tag(&user.id)).await? {
            // One that has ended since it was listed is none.
            if let Some(contents) = self.all_sessions.get(&key).await?
                && let Some(device) = contents.get::<Device>("device")?
            {
                devices.push((key == mine, device));
            }
        }
        devices.sort_by_key(|(here, device)| (!here, u64::MAX - device.since));
        let shown = |(here, device): (bool, Device)| {
            let since = UNIX_EPOCH + Duration::from_secs(device.since);
            let (iso, since) = (
                IsoDate::from(since).to_string(),
                httpdate::fmt_http_date(since),
            );
            context! { here, name => device.name, iso, since }
        };
        Ok(devices.into_iter().map(shown).collect())
    }

    pub(crate) async fn log_out_others(&self, session: &Session) -> Result<Page, BoxError> {
        let Some(user) = self.user(session)? else {
            return ask_to_sign_in(session);
        };
        let mine = session.store_key()?;
        let ended = self
            .all_sessions
            .destroy_tagged(&users::tag(&user.id), Some(&mine))
            .await?;
        let message = match ended {
            0 => "There was no other device.".to_owned(),
            1 => "One other device is signed out.".to_owned(),
            _ => format!("{ended} other devices are signed out."),
        };
        session.flash(
            "notification",
            &json!({ "type": "success", "message": message }),
        )?;
        Ok(pages::go_to("/devices"))
    }

    pub(crate) async fn log_out_everywhere(&self, session: &Session) -> Result<Page, BoxError> {
        let Some(user) = self.user(session)? else {
            return ask_to_sign_in(session);
        };
        self.all_sessions
            .destroy_tagged(&users::tag(&user.id), None)
            .await?;
        account::farewell(session, "You are signed out, on every device.")
    }
}

/// Remembers where the visitor wanted to go, and asks who it is.
fn ask_to_sign_in(session: &Session) -> Result<Page, BoxError> {
    session.set_intended_url("/devices")?;
    let message = "Please sign in first. You will come back to the page you asked for.";
    session.flash(
        "notification",
        &json!({ "type": "info", "message": message }),
    )?;
    Ok(pages::go_to("/sign-in"))
}
