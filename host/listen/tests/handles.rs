//! A want of file handles, alone in a process, because the limit is the process's.

#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, Read as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use waggle_listen::{Bounds, Connection, serve};

const DEADLINE: Duration = Duration::from_secs(10);

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn warnings() -> usize {
    String::from_utf8_lossy(&LOG.lock().unwrap()).matches("could not be accepted").count()
}

#[tokio::test]
async fn a_want_of_file_handles_is_told_and_outlived() {
    tracing_subscriber::fmt().with_writer(|| Log).init();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // In the backlog, before there is a handle for the server's side of it.
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limits }).unwrap();
    let connected = |Connection { mut stream, .. }: Connection| {
        tokio::spawn(async move { stream.write_all(b"welcome").await.unwrap() });
    };
    let bounds = Bounds { connections_max: 9, drain_max: DEADLINE };
    let server = tokio::spawn(serve(listener, bounds, std::future::pending(), connected));
    let deadline = Instant::now() + DEADLINE;
    while warnings() == 0 {
        assert!(Instant::now() < deadline, "nothing was told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    setrlimit(Resource::Nofile, limits).unwrap();
    let read = tokio::task::spawn_blocking(move || {
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).map(|_| text)
    });
    assert_eq!(read.await.unwrap().unwrap(), "welcome");
    assert_eq!(warnings(), 1, "one in a second, however often it fails");
    server.abort();
}
