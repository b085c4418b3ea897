//! Taking files into the index of a vector store: in the background, in steps.
//!
//! The files of a vector store belong to a few lanes, and whoever has a lane works on its files one after another: `lane.rs`
//! says who has it, `work.rs` what they do, `file.rs` how one file is taken in, `align.rs` how a vector store gets another
//! embedding model. How far a file is stands in its entry, its record and the index, so that whoever comes next goes on
//! where the last has died; what is done twice is done once.

mod align;
mod file;
mod forget;
mod lane;
mod take;
mod work;

use crate::problem::Problem;
use crate::route::WorkRoute;
use crate::service::{Beside, Service, report};
pub(crate) use align::is_of;
pub(crate) use forget::or_gone;
use lane::{Outcome, Taken};
use take::is_passing;
use waggle_conversation::{Store, Viewer};
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::{Nonce, VectorStoreId};
use waggle_platform::{Delivery, Platform};
pub(crate) use work::index_name;

/// How many pieces of work are done beside one request at most.
const BESIDE_MAX: usize = 100_000;
/// How often in a row it may fail. A file is given up before.
const FAILURES_MAX: u32 = 16;

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// Works on a lane for a while, and has it gone on with where that was not enough.
    ///
    /// # Errors
    /// The host is to deliver the work again.
    pub(crate) async fn deliver_ingest(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        (lane, ticket): (u8, Nonce),
        delivery: Delivery,
    ) -> Result<(), Problem> {
        let mut beside = Beside::new();
        self.ingest(viewer, store, (lane, ticket), Some(delivery), &mut beside).await?;
        // A host that delivers work takes some as well; if it has just ceased to, the next who looks calls again.
        Ok(())
    }

    async fn ingest(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        (lane, ticket): (u8, Nonce),
        delivery: Option<Delivery>,
        beside: &mut Beside,
    ) -> Result<(), Problem> {
        if self.store_record(viewer, store).await?.is_none() {
            return Ok(());
        }
        let Taken::Held(mut held) = self.take_lane(store, lane, ticket).await? else { return Ok(()) };
        if delivery.is_some_and(|delivery| delivery.last) {
            // Nobody comes again should this one die or fail, so somebody waits who will.
            self.name_heir(&mut held, beside).await?;
        }
        // Who works beside a request cannot wait for hours.
        let worked = self.work_lane(&mut held, delivery.is_some(), beside).await;
        let outcome = match &worked {
            Ok(()) => Outcome::GotOn,
            Err(problem) if is_passing(problem) => Outcome::Waits,
            Err(_) => Outcome::Failed,
        };
        self.let_go(held, outcome).await?;
        worked?;
        // Who came while the lane was held has gone away again; what they came for is there by now.
        self.call_on(store, lane, beside).await
    }

    /// Does the work that nobody else takes, and what comes of it, to its end.
    pub(crate) async fn run_alone(&self, viewer: &Viewer, mut todo: Beside) {
        let mut failures = 0;
        for _ in 0..BESIDE_MAX {
            let Some(work) = todo.pop().filter(|_| failures < FAILURES_MAX) else { return };
            let mut beside = Beside::new();
            let done = match work {
                WorkRoute::Ingest(store, lane, ticket) => {
                    self.ingest(viewer, store, (lane, ticket), None, &mut beside).await
                }
                WorkRoute::Sweep(store) => self.sweep(viewer, store, &mut beside).await,
            };
            match done {
                Ok(()) => failures = 0,
                Err(problem) => {
                    let _logged = report(&self.platform, &problem);
                    failures += 1;
                    self.platform.sleep(lane::RETRY_MS).await;
                    beside.push(work);
                }
            }
            todo.extend(beside);
        }
    }
}
