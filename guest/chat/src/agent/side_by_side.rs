//! Several things that are done side by side.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What is being done. Dropping it gives up what is not done.
pub(crate) struct SideBySide<'a, T>(Vec<Pin<Box<dyn Future<Output = T> + 'a>>>);

impl<'a, T> SideBySide<'a, T> {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Begins something more.
    pub(crate) fn push(&mut self, work: impl Future<Output = T> + 'a) {
        self.0.push(Box::pin(work));
    }

    /// How much is being done.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is done next; `None` when nothing is being done. It may be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<T> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        for place in 0..self.0.len() {
            let Some(work) = self.0.get_mut(place) else { continue };
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                drop(self.0.remove(place));
                return Poll::Ready(Some(done));
            }
        }
        if self.0.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Work that is done when it was looked at so often.
    async fn work(name: u32, looks: u32) -> u32 {
        let mut left = looks;
        poll_fn(|_| {
            left = left.saturating_sub(1);
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        name
    }

    #[test]
    fn whatever_is_done_first_comes_first_and_nothing_waits_for_another() {
        for (looks, expected) in
            [(vec![], vec![]), (vec![5, 1, 3], vec![1, 2, 0]), (vec![2, 2, 2], vec![0, 1, 2])]
        {
            let mut side = SideBySide::new();
            for (name, looks) in (0..).zip(&looks) {
                side.push(work(name, *looks));
            }
            assert_eq!(side.len(), looks.len());
            let (mut done, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
            for _ in 0..100 {
                match side.poll(&mut context) {
                    Poll::Ready(Some(name)) => done.push(name),
                    Poll::Ready(None) => break,
                    Poll::Pending => {}
                }
            }
            assert_eq!((done, side.len()), (expected, 0), "{looks:?}");
        }
    }
}
