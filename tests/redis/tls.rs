//! The Redis store over TLS, with a certificate authority of the test.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use hyper_session::store::redis::RedisStore;

use crate::support::{
    redis_servers::{
        Server, free_port, fresh_dir,
        sessions::{HOUR, create_session, record},
    },
    test_name,
};

const TRUSTED_ROOTS: &str = "SSL_CERT_FILE";
const STARTUP_TIMEOUT: Duration = Duration::from_secs(20);
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

/// Creates a certificate authority and its certificate for `localhost`.
fn create_certificates(dir: &Path) {
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

/// Connects in a new process, since an environment variable names the trusted authorities. Returns
/// the error, which must come long before the startup timeout.
fn connect(url: &str, trusted: &Path) -> Result<(), String> {
    let start = Instant::now();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &test_name(module_path!(), "certificates_are_checked"),
        ])
        .env(URL, url)
        .env(TRUSTED_ROOTS, trusted)
        .output()
        .unwrap();
    assert!(
        start.elapsed() < STARTUP_TIMEOUT,
        "{url}: {:?}",
        start.elapsed()
    );
    let text = [output.stdout, output.stderr].concat();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&text).into_owned()),
    }
}

#[tokio::test]
async fn certificates_are_checked() {
    if let Ok(url) = std::env::var(URL) {
        let builder = RedisStore::builder(&url).startup_timeout(STARTUP_TIMEOUT);
        let store = builder.connect().await.unwrap();
        let key = create_session(&store, HOUR).await;
        assert_eq!(&*record(&store, &key).await.data, b"data");
        return;
    }
    let (own, other) = (fresh_dir(), fresh_dir());
    create_certificates(&own);
    create_certificates(&other);
    let port = free_port();
    let file = |name: &str| own.join(name).display().to_string();
    let (tls, cert, key, ca) = (
        port.to_string(),
        file("server.crt"),
        file("server.key"),
        file("ca.crt"),
    );
    let server = Server::start_with(&[
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
    let trusted = own.join("ca.crt");
    let url = format!("rediss://localhost:{port}");
    assert_eq!(connect(&url, &trusted), Ok(()));
    let by_address = format!("rediss://127.0.0.1:{port}");
    for (url, trusted, problem) in [
        (&url, &other.join("ca.crt"), "TLS failed"),
        (&by_address, &trusted, "TLS failed"),
        (
            &format!("redis://localhost:{port}"),
            &trusted,
            "server requires TLS",
        ),
        (
            &format!("rediss://localhost:{}", server.port),
            &trusted,
            "server does not use TLS",
        ),
    ] {
        let (_, address) = url.split_once("://").unwrap();
        let error = connect(url, trusted).unwrap_err();
        let text = format!("cannot connect to Redis at {address}: {problem}");
        assert!(error.contains(&text), "{url}: {error}");
    }
    for dir in [own, other] {
        std::fs::remove_dir_all(dir).unwrap();
    }
}
