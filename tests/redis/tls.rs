//! The Redis store over TLS, with an authority of the test's own.

use std::{path::Path, process::Command, time::Duration};

use hyper_session::store::redis::RedisStore;

use crate::support::{
    redis_servers::{
        Server, free_port, fresh_dir,
        sessions::{HOUR, create_session, record},
    },
    test_name,
};

const TRUSTS: &str = "SSL_CERT_FILE";
const URL: &str = "REDIS_TEST_TLS_URL";

fn openssl(dir: &Path, line: &str) {
    let made = Command::new("openssl")
        .args(line.split(' '))
        .current_dir(dir)
        .output()
        .expect("this test needs openssl: apt-get install openssl");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

/// An authority, and a certificate of it for `localhost`.
fn certificates(dir: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        dir,
        &format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=test-authority"),
    );
    openssl(
        dir,
        &format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"),
    );
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let signed = "-CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names";
    openssl(dir, &format!("x509 -req -in server.csr {signed}"));
}

/// Which authorities are trusted is told by the environment, so by one of a new process.
fn connects(url: &str, trusted: &Path) -> bool {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &test_name(module_path!(), "certificates_are_checked"),
        ])
        .env(URL, url)
        .env(TRUSTS, trusted)
        .output()
        .unwrap()
        .status
        .success()
}

#[tokio::test]
async fn certificates_are_checked() {
    if let Ok(url) = std::env::var(URL) {
        let builder = RedisStore::builder(&url).startup_timeout(Duration::from_secs(2));
        let store = builder.connect().await.unwrap();
        let key = create_session(&store, HOUR).await;
        assert_eq!(&*record(&store, &key).await.data, b"data");
        return;
    }
    let (ours, theirs) = (fresh_dir(), fresh_dir());
    certificates(&ours);
    certificates(&theirs);
    let port = free_port();
    let file = |name: &str| ours.join(name).display().to_string();
    let (tls, cert, key, ca) = (
        port.to_string(),
        file("server.crt"),
        file("server.key"),
        file("ca.crt"),
    );
    let _server = Server::start_with(&[
        "--tls-port",
        &tls,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{port}");
    assert!(connects(&url, &ours.join("ca.crt")));
    assert!(!connects(&url, &theirs.join("ca.crt")), "another authority");
    let by_address = format!("rediss://127.0.0.1:{port}");
    assert!(!connects(&by_address, &ours.join("ca.crt")), "another name");
    let plain = format!("redis://localhost:{port}");
    assert!(!connects(&plain, &ours.join("ca.crt")), "without TLS");
    for dir in [ours, theirs] {
        std::fs::remove_dir_all(dir).unwrap();
    }
}
