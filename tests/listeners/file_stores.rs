//! The part of the full run with file stores, and with the tool for them.

use std::{fs, path::Path, process::Command, time::Duration};

use hyper_session::{
    FileStore, Session, Sessions,
    seal::{KeyRing, SealKey},
    store::file::FileEvent,
};

use crate::{
    full_run::{APP_KEY, Capture, VALUE, build, build_with, config, use_sessions},
    support::{Browser, scratch::Scratch},
};

/// Uses a plain store and an encrypted one, and shows what the tool prints of them. Then shows a store that loses
/// records and stops.
pub(crate) async fn show_file_stores(capture: &Capture) {
    let folder = Scratch::new();
    let (plain, encrypted) = (folder.path().join("plain"), folder.path().join("encrypted"));
    let sessions = open(&plain, capture);
    use_sessions(&sessions, capture).await;
    sessions.close().await.unwrap();
    let ring = KeyRing::new(SealKey::from_text(APP_KEY).unwrap());
    let events = capture.clone();
    let builder = FileStore::builder(&encrypted).encrypt_with(&ring);
    let builder = builder.listener(move |event: &FileEvent<'_>| events.show(event));
    capture.show(&builder);
    let file = builder.open().unwrap();
    capture.show(&file);
    let sessions = build(config(), file, capture);
    use_sessions(&sessions, capture).await;
    sessions.close().await.unwrap();
    show_tool(capture, &plain);
    show_tool(capture, &encrypted);
    show_problems(capture, &folder.path().join("damaged")).await;
}

/// Opens sessions with the file store that their configuration names.
fn open(directory: &Path, capture: &Capture) -> Sessions {
    let mut config = config().store("file");
    config.stores.file.location = directory.into();
    config.stores.file.on_damage = Some("drop_uncertain".into());
    build_with(Sessions::builder(config), capture)
}

/// Damages a record of a store, which is reported when it opens. Then moves the directory of the open store, which the
/// store's own thread finds and reports.
async fn show_problems(capture: &Capture, directory: &Path) {
    let sessions = open(directory, capture);
    let mut browser = Browser::new(&sessions);
    browser
        .visit(async |s| {
            s.put("data", VALUE).unwrap();
            capture.hide_session(s);
        })
        .await;
    capture.hide_cookies(&browser);
    sessions.close().await.unwrap();
    damage(directory);
    fs::remove_file(directory.join("0000000001.hint")).unwrap();
    let sessions = open(directory, capture);
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("data", VALUE).unwrap()).await;
    capture.hide_cookies(&browser);
    fs::rename(directory, directory.with_extension("moved")).unwrap();
    while !capture.has("StoreStopped") {
        let put = async |s: Session| match s.load().await {
            Ok(session) => session.put("data", [VALUE]).unwrap(),
            Err(error) => capture.show_error(&error),
        };
        browser.request(put).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if let Err(error) = sessions.close().await {
        capture.show_error(&error);
    }
}

/// Changes a byte in the middle of a store's first segment.
fn damage(directory: &Path) {
    let log = directory.join("0000000001.log");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
}

/// Runs the `session-file` tool on a store, then damages the store and runs it again: with a wrong key, and with
/// [`APP_KEY`], which has encrypted one of the stores.
fn show_tool(capture: &Capture, directory: &Path) {
    let show = |arguments: &[&str], key: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_session-file"));
        command.args(arguments).arg(directory).env("CANARY", key);
        let output = command.output().unwrap();
        for bytes in [output.stdout, output.stderr] {
            let text = String::from_utf8(bytes).unwrap();
            capture.add(&format!("session-file: {text}"));
        }
    };
    let with_key = |command| [command, "--key-env", "CANARY"];
    for arguments in [&["stats"][..], &["verify"], &["dump"], &["dump", "--keys"]] {
        show(arguments, "");
    }
    damage(directory);
    show(&["verify"], "");
    for key in [
        "canary-short",
        "canary-key-of-thirty-two-characters-5",
        APP_KEY,
    ] {
        show(&with_key("repair"), key);
        show(&with_key("compact"), key);
    }
}
