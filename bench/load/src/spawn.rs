//! Processes that a comparison starts itself, and stops by their process group.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long a started process may take until it accepts connections.
const READY_MS_MAX: u64 = 60_000;
/// How long a process may take to end after SIGTERM, before SIGKILL.
const STOP_MS_MAX: u64 = 10_000;
const POLL_MS: u64 = 5;

/// What to start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch<'a> {
    pub(crate) name: &'a str,
    pub(crate) command: &'a [String],
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// `HOST:PORT` that accepts connections when it is ready.
    pub(crate) ready: &'a str,
}

/// A process of ours, in a process group of its own.
pub(crate) struct Process {
    name: String,
    pub(crate) pid: u32,
    child: Child,
}

impl Process {
    /// Starts a process and waits until it accepts connections. Its output goes to `NAME.log`.
    pub(crate) async fn start(launch: Launch<'_>, logs: &Path) -> anyhow::Result<Self> {
        let name = launch.name;
        if TcpStream::connect(launch.ready).await.is_ok() {
            bail!("something else listens on {} already, where {name} was to be started", launch.ready);
        }
        let (program, arguments) =
            launch.command.split_first().with_context(|| format!("the command of {name} is empty"))?;
        let log_path = logs.join(format!("{name}.log"));
        let log =
            File::create(&log_path).with_context(|| format!("could not write {}", log_path.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .envs(launch.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {name} ({program})"))?;
        let pid = child.id().with_context(|| format!("{name} ended at once"))?;
        let mut process = Self { name: name.to_owned(), pid, child };
        if let Err(error) = process.wait_ready(launch.ready, &log_path).await {
            process.stop().await;
            return Err(error);
        }
        Ok(process)
    }

    async fn wait_ready(&mut self, address: &str, log: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_millis(READY_MS_MAX);
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before it listened; see {}", self.name, log.display());
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} does not listen on {address} after {READY_MS_MAX} ms; see {}",
                    self.name,
                    log.display()
                );
            }
            sleep(Duration::from_millis(POLL_MS)).await;
        }
        Ok(())
    }

    /// Ends the process and what it started: politely, then by force.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let ended = timeout(Duration::from_millis(STOP_MS_MAX), self.child.wait()).await;
        // The children of its group may outlive it, or it did not listen.
        self.signal(Signal::KILL);
        if ended.is_err() {
            let _ = self.child.wait().await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // A group that has ended already is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Reached with a living process only when a comparison is given up; `stop` is the usual end.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a process that cannot be started with these words.
    async fn check(name: &str, command: &[&str], parts: &[&str]) {
        let logs = tempfile::tempdir().unwrap();
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let launch = Launch { name, command: &command, environment: &BTreeMap::new(), ready: "127.0.0.1:1" };
        let error = Process::start(launch, logs.path()).await.err().unwrap().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }

    #[tokio::test]
    async fn a_process_that_ends_before_it_listens_is_reported_with_its_log() {
        check("broken", &["false"], &["broken ended with", "broken.log"]).await;
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        check("missing", &["/no/such/program"], &["could not start missing (/no/such/program)"]).await;
    }
}
