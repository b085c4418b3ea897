//! A real Redis server of a test's own.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const START_DEADLINE: Duration = Duration::from_secs(20);

/// A running `redis-server`; dropping it ends it.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    password: String,
    directory: tempfile::TempDir,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            // The port is free now but can be taken before the server binds it; then another one is tried.
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            if let Some(server) = Self::start_on(port, deadline) {
                return server;
            }
            assert!(Instant::now() < deadline, "redis-server did not start in {START_DEADLINE:?}");
        }
    }

    fn start_on(port: u16, deadline: Instant) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        // A password of its own tells this server from one of another test that got the port first.
        let password = format!("secret-{}-{port}", std::process::id());
        let child = spawn(port, &password, directory.path());
        let mut server = Self { child, port, password, directory };
        server.wait_until_ready(deadline).then_some(server)
    }

    /// Ends the server as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again, on the same port and empty.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, &self.password, self.directory.path());
        assert!(self.wait_until_ready(Instant::now() + START_DEADLINE), "redis-server did not start again");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/0", self.password, self.port)
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    fn wait_until_ready(&mut self, deadline: Instant) -> bool {
        let client = redis::Client::open(self.url()).unwrap();
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            let answer = client.get_connection_with_timeout(Duration::from_secs(1));
            if answer.is_ok_and(|mut connection| redis::cmd("PING").query::<String>(&mut connection).is_ok())
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, password: &str, directory: &std::path::Path) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
        .args(["--requirepass", password, "--dir"])
        .arg(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need the program redis-server; install it (Debian, Ubuntu: apt install redis-server)")
}
