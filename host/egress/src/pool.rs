//! Idle connections, kept for the next call to the same target, bounded in number and age.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::body::RequestBody;
use crate::target::Target;

/// How many idle connections are kept for all targets together: each holds a file descriptor.
const IDLE_CONNECTIONS_MAX: usize = 4096;

/// How long a connection may take to become ready again after its response has ended. It takes that long only where the
/// upstream answered before it had read the request, whose rest is then still on its way.
const READY_AGAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the sweep looks for connections that are too old, as a part of the idle timeout, and at least this often.
const SWEEPS_PER_IDLE_TIMEOUT: u32 = 2;
const SWEEP_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// A connection to one target. Dropping an HTTP/1 connection closes it at once.
pub(crate) enum Connection {
    Http1(Http1Connection),
    Http2(http2::SendRequest<RequestBody>),
}

/// An HTTP/1 connection. It carries one call at a time.
pub(crate) struct Http1Connection {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    _driver: AbortOnDrop,
}

impl Http1Connection {
    pub(crate) fn new(sender: http1::SendRequest<RequestBody>, driver: AbortHandle) -> Self {
        Self { sender, _driver: AbortOnDrop(driver) }
    }
}

/// Ends the task that drives a connection, and with it the socket, together with the last handle to the connection. Left
/// to itself, hyper would first read what has arrived already, and say goodbye over TLS to a peer that may not be reading.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps idle connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    idle_per_target_max: usize,
    idle_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    targets: HashMap<Target, Idle>,
    /// How many HTTP/1 connections `targets` holds.
    idle_count: usize,
    sweeping: bool,
}

#[derive(Default)]
struct Idle {
    /// Oldest first. The youngest is lent first, so that surplus ones age and go.
    http1: Vec<(Http1Connection, Instant)>,
    /// HTTP/2 carries many calls at a time, so it stays here while it is in use.
    http2: Option<(http2::SendRequest<RequestBody>, Instant)>,
}

impl Pool {
    pub(crate) fn new(idle_per_target_max: usize, idle_timeout: Duration) -> Self {
        Self(Arc::new(Shared { idle_per_target_max, idle_timeout, state: Mutex::default() }))
    }

    /// A live connection to `target`, if there is one.
    pub(crate) fn take(&self, target: &Target) -> Option<Connection> {
        let now = Instant::now();
        let mut guard = self.0.lock();
        let state = &mut *guard;
        let idle = state.targets.get_mut(target)?;
        if let Some((sender, used)) = &mut idle.http2
            && !sender.is_closed()
        {
            *used = now;
            return Some(Connection::Http2(sender.clone()));
        }
        idle.http2 = None;
        while let Some((connection, since)) = idle.http1.pop() {
            state.idle_count -= 1;
            if connection.sender.is_ready() && now.duration_since(since) < self.0.idle_timeout {
                return Some(Connection::Http1(connection));
            }
        }
        state.targets.remove(target);
        None
    }

    /// Shares a new HTTP/2 connection with later calls.
    pub(crate) fn share(&self, target: &Target, sender: &http2::SendRequest<RequestBody>) {
        if self.0.idle_per_target_max == 0 {
            return;
        }
        let mut state = self.0.lock();
        state.targets.entry(target.clone()).or_default().http2 = Some((sender.clone(), Instant::now()));
        self.start_sweeping(&mut state);
    }

    /// Forgets the HTTP/2 connection to `target`, which has failed a call.
    pub(crate) fn forget_http2(&self, target: &Target) {
        if let Some(idle) = self.0.lock().targets.get_mut(target) {
            idle.http2 = None;
        }
    }

    fn put(&self, target: Target, connection: Http1Connection) {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        if state.idle_count >= IDLE_CONNECTIONS_MAX {
            return;
        }
        let idle = state.targets.entry(target).or_default();
        if idle.http1.len() >= self.0.idle_per_target_max {
            return;
        }
        idle.http1.push((connection, Instant::now()));
        state.idle_count += 1;
        self.start_sweeping(state);
    }

    /// Starts the task that removes old connections; it ends when none is left, or with the pool.
    fn start_sweeping(&self, state: &mut State) {
        if !state.sweeping {
            state.sweeping = true;
            let interval = (self.0.idle_timeout / SWEEPS_PER_IDLE_TIMEOUT).max(SWEEP_INTERVAL_MIN);
            tokio::spawn(sweep(Arc::downgrade(&self.0), interval));
        }
    }

    /// How many idle HTTP/1 connections there are.
    pub(crate) fn idle_count(&self) -> usize {
        self.0.lock().idle_count
    }
}

impl Shared {
    /// The state is consistent after each statement, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what is too old or closed. Returns whether anything is left.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let young = |since: &Instant| now.duration_since(*since) < self.idle_timeout;
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut idle_count = 0;
        state.targets.retain(|_, idle| {
            idle.http1.retain(|(connection, since)| young(since) && !connection.sender.is_closed());
            idle.http2.take_if(|(sender, used)| !young(used) || sender.is_closed());
            idle_count += idle.http1.len();
            !idle.http1.is_empty() || idle.http2.is_some()
        });
        state.idle_count = idle_count;
        state.sweeping = !state.targets.is_empty();
        state.sweeping
    }
}

async fn sweep(pool: Weak<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        match pool.upgrade() {
            Some(pool) if pool.sweep() => {}
            _ => return,
        }
    }
}

/// An HTTP/1 connection that a response is being read from.
pub(crate) struct Lease {
    connection: Http1Connection,
    target: Target,
    pool: Pool,
}

impl Lease {
    pub(crate) fn new(connection: Http1Connection, target: Target, pool: Pool) -> Self {
        Self { connection, target, pool }
    }

    /// Puts the connection into the pool, now that its response has ended.
    pub(crate) fn give_back(self) {
        let Self { mut connection, target, pool } = self;
        if pool.0.idle_per_target_max == 0 || connection.sender.is_closed() {
            return;
        }
        if connection.sender.is_ready() {
            return pool.put(target, connection);
        }
        tokio::spawn(async move {
            let ready = poll_fn(|context| connection.sender.poll_ready(context));
            if matches!(tokio::time::timeout(READY_AGAIN_TIMEOUT, ready).await, Ok(Ok(()))) {
                pool.put(target, connection);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::io::DuplexStream;

    use super::*;

    const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

    fn target(uri: &str) -> Target {
        Target::of(&uri.parse().unwrap(), false).unwrap()
    }

    /// A ready connection and the upstream's end of it.
    async fn connection() -> (Http1Connection, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let (mut sender, driver) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        let task = tokio::spawn(async move { drop(driver.await) });
        sender.ready().await.unwrap();
        (Http1Connection::new(sender, task.abort_handle()), theirs)
    }

    async fn is_closed(upstream: &mut DuplexStream) -> bool {
        use tokio::io::AsyncReadExt;
        matches!(tokio::time::timeout(Duration::from_secs(60), upstream.read(&mut [0])).await, Ok(Ok(0)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_lent_for_its_target_only_and_once() {
        let pool = Pool::new(8, IDLE_TIMEOUT);
        let (connection, _upstream) = connection().await;
        pool.put(target("http://a/"), connection);
        assert!(pool.take(&target("http://b/")).is_none());
        assert!(pool.take(&target("https://a/")).is_none());
        assert!(pool.take(&target("http://a:81/")).is_none());
        let with_leave = Target { allow_private: true, ..target("http://a/") };
        assert!(pool.take(&with_leave).is_none());
        let lent = pool.take(&target("http://A/other"));
        assert!(lent.is_some());
        assert!(pool.take(&target("http://a/")).is_none());
        assert_eq!(pool.idle_count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_connections_are_kept_than_the_bound_and_the_rest_is_closed() {
        let pool = Pool::new(2, IDLE_TIMEOUT);
        let mut upstreams = Vec::new();
        for _ in 0..3 {
            let (connection, upstream) = connection().await;
            pool.put(target("http://a/"), connection);
            upstreams.push(upstream);
        }
        assert_eq!(pool.idle_count(), 2);
        assert!(is_closed(upstreams.last_mut().unwrap()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_after_the_timeout_without_any_call() {
        let pool = Pool::new(2, IDLE_TIMEOUT);
        let (connection, mut upstream) = connection().await;
        pool.put(target("http://a/"), connection);
        assert!(is_closed(&mut upstream).await);
        assert_eq!(pool.idle_count(), 0);
        assert!(pool.0.lock().targets.is_empty(), "an empty entry is left behind");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_the_upstream_closed_is_not_lent() {
        let pool = Pool::new(2, IDLE_TIMEOUT);
        let (connection, upstream) = connection().await;
        pool.put(target("http://a/"), connection);
        drop(upstream);
        // The clock stands still here, so the turns given to the connection's task are counted instead.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
            match pool.take(&target("http://a/")) {
                None => return,
                Some(Connection::Http1(connection)) => pool.put(target("http://a/"), connection),
                Some(Connection::Http2(_)) => unreachable!("it is HTTP/1"),
            }
        }
        panic!("the dead connection is still lent");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pool_closes_its_connections_when_it_goes() {
        let pool = Pool::new(2, IDLE_TIMEOUT);
        let (connection, mut upstream) = connection().await;
        pool.put(target("http://a/"), connection);
        drop(pool);
        assert!(is_closed(&mut upstream).await);
    }
}
