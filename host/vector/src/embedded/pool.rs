//! Places for work that takes a thread, and a bound on how many wait for one.

use super::catalog::blocking;
use crate::VectorError;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Semaphore;

/// Calls that wait for a place; more are told to come again.
const WAITING_MAX: usize = 1_024;

pub(crate) struct Pool {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// One that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(crate) fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places.max(1))), waiting: AtomicUsize::new(0) }
    }

    /// Runs `work` on a thread of its own once there is a place. It keeps its place though nobody waits for it any more.
    ///
    /// # Errors
    /// [`VectorError::Unavailable`] if too many wait already; those of `work`.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, VectorError> + Send + 'static,
    ) -> Result<T, VectorError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.waiting);
        if before >= WAITING_MAX {
            return Err(VectorError::Unavailable(format!("{before} calls to indexes wait already")));
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        drop(waiting);
        let place = place.map_err(|_closed| VectorError::Unavailable("the host stops".into()))?;
        blocking(move || {
            let _place = place;
            work()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_waits_for_a_place_and_too_much_of_it_is_refused() {
        let pool = Arc::new(Pool::new(1));
        let (start, started) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(move || Ok(started.recv().is_ok())).await }
        });
        while pool.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..WAITING_MAX)
            .map(|number| {
                let pool = Arc::clone(&pool);
                tokio::spawn(async move { pool.run(move || Ok(number)).await })
            })
            .collect();
        while pool.waiting.load(Ordering::Relaxed) < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        assert!(matches!(pool.run(|| Ok(())).await, Err(VectorError::Unavailable(_))));
        start.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(true));
        for (number, other) in others.into_iter().enumerate() {
            assert_eq!(other.await.unwrap(), Ok(number));
        }
        assert_eq!(pool.waiting.load(Ordering::Relaxed), 0);
    }
}
