//! A real nginx as a process.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::scratch::Scratch;

/// A running nginx with one worker. Killed when dropped.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: Scratch,
}

impl Nginx {
    /// Starts nginx on a free port, with these lines in its `http` block and in its `server` block.
    pub(crate) async fn start(http: &str, server: &str) -> Self {
        // Another test may take the port before nginx does.
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start(http, server).await {
                return nginx;
            }
        }
        panic!("nginx ended; is its configuration valid?");
    }

    /// Returns `None` if nginx ends at once.
    async fn try_start(http: &str, server: &str) -> Option<Self> {
        let folder = Scratch::new();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let root = folder.path().display();
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log stderr;
             events {{ worker_connections 256; }}
             http {{
                 access_log off; keepalive_requests 1000000000;
                 client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
                 fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
                 {http}
                 server {{ listen {address}; {server} }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (Debian's package `nginx-light`)");
        let mut nginx = Self {
            child,
            address,
            folder,
        };
        // It writes the file once it listens.
        while !nginx.folder.path().join("pid").exists() {
            if nginx.child.try_wait().unwrap().is_some() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(nginx)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
