//! A backup of the directory, and its restoration: what the guide's page on operations states.

use std::{fs, path::Path};

use hyper_session::{FileStore, SessionConfig, Sessions};

use crate::support::{Browser, config, scratch::Scratch};

fn sessions(directory: &Path, config: SessionConfig) -> Sessions {
    let store = FileStore::open(directory).unwrap();
    Sessions::new(config, store).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

async fn name(browser: &mut Browser) -> Option<String> {
    browser.visit(async |s| s.get("name").unwrap()).await
}

#[tokio::test]
async fn a_restored_backup_has_the_sessions_of_its_time() {
    let scratch = Scratch::new();
    let [live, backup, moved] = ["live", "backup", "moved"].map(|name| scratch.path().join(name));
    let service = sessions(&live, config());
    let mut ada = Browser::new(&service);
    let mut bob = Browser::new(&service);
    ada.visit(async |s| s.put("name", "Ada").unwrap()).await;
    bob.visit(async |s| s.put("name", "Bob").unwrap()).await;
    service.close().await.unwrap();
    copy(&live, &backup);

    let service = sessions(&live, config());
    let mut ada = ada.with_sessions(&service);
    let mut late = Browser::new(&service);
    late.visit(async |s| s.put("name", "Eve").unwrap()).await;
    let mut signed_out = ada.clone();
    ada.visit(async |s| s.destroy().unwrap()).await;
    service.close().await.unwrap();

    fs::rename(&live, &moved).unwrap();
    copy(&backup, &live);
    let service = sessions(&live, config());
    let mut bob = bob.with_sessions(&service);
    assert_eq!(name(&mut bob).await.as_deref(), Some("Bob"));
    // A session that was signed out after the backup is alive again for a copy of its cookie.
    signed_out = signed_out.with_sessions(&service);
    assert_eq!(name(&mut signed_out).await.as_deref(), Some("Ada"));
    let mut late = late.with_sessions(&service);
    assert_eq!(name(&mut late).await, None, "begun after the backup");
    late.visit(async |s| s.put("name", "new").unwrap()).await;
    service.close().await.unwrap();

    // With another key, the records stay, but no cookie opens them.
    let other = config().app_key("the second secret of thirty-two characters");
    let service = sessions(&live, other);
    let mut bob = bob.with_sessions(&service);
    assert_eq!(name(&mut bob).await, None);
    assert!(service.store::<FileStore>().unwrap().stats().records >= 3);
}
