//! `POST /waggle/chatwoot/{account}/{conversation}`, by which the host delivers the work of doing what is to be done in one
//! of Chatwoot's conversations: in order, by one at a time. No client reaches it: without the host's field it is no endpoint.

use super::calls::{Calls, Turn};
use super::record::{Deed, MESSAGES_WAITING_MAX, Place, Record, Waiting, change};
use crate::problem::Problem;
use crate::service::Service;
use waggle_conversation::Store;
use waggle_openai::ApiError;
use waggle_platform::{Delivery, Platform, Reply};

/// For how long whoever does something is taken to be alive, in milliseconds: longer than chat and tools may be silent.
const LEASE_MS: u64 = 240_000;
/// For so long a delivery waits for another's end, and so often it looks, in milliseconds.
const BUSY_MS_MAX: u64 = 10_000;
const BUSY_LOOK_MS: u64 = 250;

/// 2xx: the work is done, whatever came of it.
fn done() -> Reply {
    Reply::json(b"{\"object\":\"channel.run\",\"done\":true}".to_vec())
}

/// 409: the host is to come again when the other run is over.
fn busy() -> Problem {
    let error = ApiError::invalid("Another run of this conversation is under way.");
    ApiError { status: 409, code: Some("channel_running"), ..error }.into()
}

/// What there is to be done.
enum Taken {
    Nothing,
    /// Something, but somebody else is at it.
    Busy,
    First(Waiting),
}

fn take_first(record: &mut Record, now_ms: u64) -> (bool, Taken) {
    let Some(next) = record.waiting.first().cloned() else { return (false, Taken::Nothing) };
    if record.until_ms > now_ms {
        return (false, Taken::Busy);
    }
    record.until_ms = now_ms + LEASE_MS;
    (true, Taken::First(next))
}

/// What a conversation has become by something that was done.
#[derive(Debug, Clone, Default)]
struct Standing {
    session: Option<String>,
    handed_over: bool,
}

impl<S: Store + 'static, P: Platform> Service<S, P> {
    /// Serves a delivery. The head of the answer ends the work, so it comes when nothing is left to be done.
    pub(crate) async fn deliver(&self, place: &Place, delivery: Delivery) -> Reply {
        match self.run(*place, delivery).await {
            Ok(()) => done(),
            Err(problem) => problem.report(&self.platform),
        }
    }

    /// Does it once, without a queue.
    pub(crate) async fn run_alone(&self, place: Place) {
        if let Err(problem) = self.run(place, Delivery { last: true }).await {
            let _logged = problem.report(&self.platform);
        }
    }

    async fn run(&self, place: Place, delivery: Delivery) -> Result<(), Problem> {
        // More than may wait: what comes meanwhile brings work of its own.
        for _ in 0..=MESSAGES_WAITING_MAX {
            let Some((record, next)) = self.take(place, delivery).await? else { return Ok(()) };
            let attempt = self.attempt(place, &record, &next, delivery).await;
            let standing = match attempt {
                Ok(standing) => standing,
                Err(problem) => {
                    self.let_go(place).await?;
                    return Err(problem);
                }
            };
            change(&self.store, place, |record| {
                record.settle(&next.id);
                record.session.clone_from(&standing.session);
                record.handed_over = standing.handed_over;
                record.until_ms = 0;
                (true, ())
            })
            .await?;
        }
        // A flood: the host comes again.
        Err(busy())
    }

    /// The next thing to be done, which nobody else does meanwhile; `None`: there is nothing to be done by this delivery.
    ///
    /// # Errors
    /// Somebody else is at it who may have died, so the host is to come again.
    async fn take(&self, place: Place, delivery: Delivery) -> Result<Option<(Record, Waiting)>, Problem> {
        let mut waited_ms = 0;
        loop {
            let now_ms = self.platform.now_ms();
            let (record, taken) = change(&self.store, place, |record| take_first(record, now_ms)).await?;
            match taken {
                Taken::Nothing => return Ok(None),
                Taken::First(next) => return Ok(Some((record, next))),
                // Whoever is at it does all that is to be done, and has a delivery of their own.
                Taken::Busy if waited_ms >= BUSY_MS_MAX && delivery.last => return Ok(None),
                Taken::Busy if waited_ms >= BUSY_MS_MAX => return Err(busy()),
                Taken::Busy => {}
            }
            self.platform.sleep(BUSY_LOOK_MS).await;
            waited_ms += BUSY_LOOK_MS;
        }
    }

    async fn let_go(&self, place: Place) -> Result<(), Problem> {
        change(&self.store, place, |record| {
            record.until_ms = 0;
            (true, ())
        })
        .await?;
        Ok(())
    }

    /// Does it; for the last time, it is over whatever came of it, and the user is left to Chatwoot's people.
    async fn attempt(
        &self,
        place: Place,
        record: &Record,
        next: &Waiting,
        delivery: Delivery,
    ) -> Result<Standing, Problem> {
        let calls = Calls { platform: &self.platform, place };
        let problem = match self.act(&calls, record, next).await {
            Err(problem) if delivery.last => problem,
            other => return other,
        };
        let _logged = problem.report(&self.platform);
        let standing = Standing { session: record.session.clone(), handed_over: record.handed_over };
        match next.deed {
            Deed::Said { pending: true } => Ok(give_up(&calls, standing, &key(place, next)).await),
            _ => Ok(standing),
        }
    }

    async fn act(&self, calls: &Calls<'_, P>, record: &Record, next: &Waiting) -> Result<Standing, Problem> {
        let standing = Standing { session: record.session.clone(), handed_over: record.handed_over };
        match (next.deed, &record.session) {
            (Deed::Said { pending: true }, _) => answer(calls, record, next, standing).await,
            // The bot has never been asked anything: it has nothing to remember either.
            (_, None) => Ok(standing),
            (Deed::Resolved, Some(session)) => hand(calls, session, standing.clone(), false).await,
            (Deed::Opened, Some(session)) => hand(calls, session, standing.clone(), true).await,
            (Deed::Wrote, Some(session)) => {
                let standing = hand(calls, session, standing.clone(), true).await?;
                calls.add(session, &next.text).await?;
                Ok(standing)
            }
            (Deed::Said { pending: false }, Some(session)) => {
                let standing = hand(calls, session, standing.clone(), true).await?;
                // It is kept, and answered by nobody.
                let user = user(calls.place, record.contact);
                calls.turn(&user, Some(session), &next.text, &key(calls.place, next)).await?;
                Ok(standing)
            }
        }
    }
}

/// The name of the session's user.
fn user(place: Place, contact: u64) -> String {
    match contact {
        // Nobody knows who it is, so it is nobody who says something elsewhere.
        0 => format!("chatwoot-{}-in-{}", place.account, place.conversation),
        contact => format!("chatwoot-{}-{contact}", place.account),
    }
}

/// The key of all that is done about something.
fn key(place: Place, waiting: &Waiting) -> String {
    format!("chatwoot-{}-{}", place.name('-'), waiting.id)
}

/// Hands the session over, or back, unless it is.
async fn hand<P: Platform>(
    calls: &Calls<'_, P>,
    session: &str,
    standing: Standing,
    handed_over: bool,
) -> Result<Standing, Problem> {
    if standing.handed_over != handed_over {
        calls.hand_over(session, handed_over).await?;
    }
    Ok(Standing { handed_over, ..standing })
}

/// Answers what the user said.
async fn answer<P: Platform>(
    calls: &Calls<'_, P>,
    record: &Record,
    next: &Waiting,
    standing: Standing,
) -> Result<Standing, Problem> {
    let (user, key) = (user(calls.place, record.contact), key(calls.place, next));
    let mut standing = standing;
    // It is pending again: Chatwoot's people have handed it back.
    if let (Some(session), true) = (&record.session, standing.handed_over) {
        standing = hand(calls, session, standing.clone(), false).await?;
    }
    let turn = match calls.turn(&user, record.session.as_deref(), &next.text, &key).await? {
        // Another body needs another key.
        Turn::SessionGone => calls.turn(&user, None, &next.text, &format!("{key}-anew")).await?,
        turn => turn,
    };
    let Turn::Answered(answered) = turn else { return Ok(give_up(calls, standing, &key).await) };
    if !answered.answer.is_empty() {
        calls.send(&answered.answer, &key).await?;
    }
    if answered.handover {
        calls.open(&key).await?;
    }
    Ok(Standing { session: Some(answered.session), handed_over: answered.handover })
}

/// Leaves the user to Chatwoot's people, as far as that can be done.
async fn give_up<P: Platform>(calls: &Calls<'_, P>, standing: Standing, key: &str) -> Standing {
    let opened = calls.open(key).await;
    let handed = match (&opened, &standing.session) {
        (Ok(()), Some(session)) => calls.hand_over(session, true).await,
        _ => Ok(()),
    };
    for problem in [opened.as_ref().err(), handed.as_ref().err()].into_iter().flatten() {
        let _logged = problem.report(calls.platform);
    }
    let handed_over =
        standing.handed_over || (opened.is_ok() && handed.is_ok() && standing.session.is_some());
    Standing { handed_over, ..standing }
}
