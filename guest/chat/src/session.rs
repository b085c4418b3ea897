//! `POST /v1/chat`: a turn of a session, answered whole or begun as a stream.
//!
//! A thin face: a session is a conversation of its user, whose id is the session's, and its turn is prepared, asked and
//! committed as that of `POST /v1/responses` is.

use crate::agent::Keeping;
use crate::ask::Course;
use crate::language::Language;
use crate::locked::give_up;
use crate::platform::Platform;
use crate::prepare::{Committed, KnownTurn, PreparedTurn};
use crate::problem::{Problem, internal};
use crate::reply::{Reply, marked};
use crate::service::{Answer, Service, Streaming, report};
use crate::session_stream::{ResponseText, SessionStream, Translator, read_response};
use crate::settings::number;
use crate::stream::StreamedTurn;
use crate::turn::{Answered, open_stream};
use waggle_conversation::session::{self, Lifetime, Opened};
use waggle_conversation::{Store, Viewer, conversation, response, trim};
use waggle_model::transport::Upstream;
use waggle_openai::metadata::Metadata;
use waggle_openai::request::CreateResponse;
use waggle_openai::session::{SessionAnswer, SessionTurnBody};
use waggle_openai::{ApiError, ConversationId, Nonce, ResponseId, json};

/// After how many seconds without use a session ends: 7 days.
const TTL_S_DEFAULT: u64 = 604_800;
/// How many turns of a session are kept.
const TURNS_MAX_DEFAULT: u64 = 100;

/// The settings of sessions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionSettings {
    /// `session_ttl_s`; 0: they never end.
    pub(crate) ttl_s: u64,
    /// `session_turns_max`
    pub(crate) turns_max: u64,
}

impl SessionSettings {
    pub(crate) async fn read<P: Platform>(platform: &P) -> Result<Self, Problem> {
        let turns_max = number(platform, "session_turns_max", TURNS_MAX_DEFAULT).await?;
        Ok(Self {
            ttl_s: number(platform, "session_ttl_s", TTL_S_DEFAULT).await?,
            turns_max: turns_max.max(1),
        })
    }

    pub(crate) fn lifetime<P: Platform>(self, platform: &P) -> Lifetime {
        Lifetime { ttl_s: self.ttl_s, now_s: platform.now_ms() / 1000 }
    }
}

/// Whose turn it is to be, and in which session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionPlace {
    pub(crate) id: ConversationId,
    pub(crate) turns_max: u64,
    /// Whether it begins with this turn.
    begins: bool,
}

/// 404: there is no such session that the caller sees.
pub(crate) fn session_not_found(id: &str) -> ApiError {
    ApiError::not_found("Session", id)
}

/// 404: there was one.
pub(crate) fn session_ended(id: ConversationId, ttl_s: u64) -> ApiError {
    let message = format!(
        "Session with id '{id}' has ended: it was not used for {ttl_s} seconds (session_ttl_s). Leave 'session' out to \
         begin a new one."
    );
    ApiError { message, code: Some("session_ended"), ..ApiError::not_found("Session", "") }
}

/// On whose behalf the caller asks. A user asks for themself; a service says for whom.
///
/// # Errors
/// 400 naming `user`.
pub(crate) fn on_behalf_of(caller: &Viewer, user: Option<&str>) -> Result<Viewer, ApiError> {
    match (caller.owner().user(), user) {
        (Some(_), None) => Ok(caller.clone()),
        (Some(caller_name), Some(user)) if caller_name == user => Ok(caller.clone()),
        (Some(_), Some(_)) => {
            let message = "Invalid value for 'user': a user can only ask for themself. Leave it out.";
            Err(ApiError::invalid_param("user", "invalid_value", message))
        }
        (None, None) => Err(ApiError::missing("user")),
        (None, Some(user)) => Viewer::user(user).ok_or_else(|| {
            let message = "Invalid value for 'user': it must be 1 to 256 bytes of visible ASCII.";
            ApiError::invalid_param("user", "invalid_value", message)
        }),
    }
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    pub(crate) async fn create_session_turn(
        self,
        caller: &Viewer,
        body: &[u8],
        language: Language,
        attempt: (Nonce, Keeping),
    ) -> Answer<S, P, U::Body> {
        match self.begin_session_turn(caller, body, language, attempt).await {
            Ok((place, turn, course)) if turn.stream => self.stream_session_turn(place, turn, course).await,
            Ok((place, turn, course)) => {
                let (mut turn, answered) = self.answer_session_turn(place, turn, course).await;
                let aside = turn.aside.take().filter(|_| answered.is_ok());
                if let Some(aside) = aside {
                    aside.run(&self.store, &self.platform).await;
                }
                let reply = answered.unwrap_or_else(|problem| report(&self.platform, &problem));
                Answer::with_kept(reply, turn.take_kept(), &self.platform)
            }
            Err(problem) => Answer::Reply(report(&self.platform, &problem)),
        }
    }

    async fn begin_session_turn(
        &self,
        caller: &Viewer,
        body: &[u8],
        language: Language,
        (nonce, keeping): (Nonce, Keeping),
    ) -> Result<(SessionPlace, PreparedTurn, Course), Problem> {
        let body = SessionTurnBody::read(body)?;
        let user = on_behalf_of(caller, body.user.as_deref())?;
        let settings = SessionSettings::read(&self.platform).await?;
        let place = self.session_place(&user, body.session.as_deref(), settings).await?;
        let body = body.as_response_body(place.id);
        let known = KnownTurn { nonce, accepted_at: None, stop: None, keeping };
        let prepared = match CreateResponse::read(&body) {
            Ok(request) => self.prepare(&user, request, language, known).await,
            Err(error) => Err(error.into()),
        };
        match prepared {
            Ok((mut turn, course)) => {
                // A session that is in use must not look as if it were not.
                if settings.ttl_s > 0 {
                    turn.renewal_s = turn.renewal_s.min(settings.ttl_s / 2);
                }
                Ok((place, turn, course))
            }
            Err(problem) => {
                self.forget_session(place).await;
                Err(problem)
            }
        }
    }

    /// Opens the session, or begins one.
    async fn session_place(
        &self,
        user: &Viewer,
        session: Option<&str>,
        settings: SessionSettings,
    ) -> Result<SessionPlace, Problem> {
        let SessionSettings { turns_max, ttl_s } = settings;
        let Some(session) = session else {
            let id = ConversationId(self.nonce());
            let now_s = self.platform.now_ms() / 1000;
            let record = conversation::record(now_s, now_s, &Metadata::default())?;
            session::create(&self.store, user, id.0, &record).await?;
            return Ok(SessionPlace { id, turns_max, begins: true });
        };
        let id = ConversationId::parse(session).ok_or_else(|| session_not_found(session))?;
        match session::open(&self.store, user, id.0, settings.lifetime(&self.platform)).await? {
            Opened::Open(_) => Ok(SessionPlace { id, turns_max, begins: false }),
            Opened::Ended => Err(session_ended(id, ttl_s).into()),
            Opened::Unknown => Err(session_not_found(session).into()),
        }
    }

    /// A session whose first turn fails is never told to anybody, so it is taken back.
    async fn forget_session(&self, place: SessionPlace) {
        if !place.begins {
            return;
        }
        if let Err(error) = session::forget(&self.store, place.id.0).await {
            self.platform.log(&format!("session={} not taken back: {error}", place.id));
        }
    }

    async fn answer_session_turn(
        &self,
        place: SessionPlace,
        turn: PreparedTurn,
        course: Course,
    ) -> (PreparedTurn, Result<Reply, Problem>) {
        let (turn, answered) = self.answer(turn, course).await;
        let reply = match answered {
            Ok(answered) => self.told_in_session(place, answered).await,
            Err(problem) => {
                give_up(&self.store, &self.platform, turn.ticket()).await;
                self.forget_session(place).await;
                Err(problem)
            }
        };
        (turn, reply)
    }

    async fn told_in_session(
        &self,
        place: SessionPlace,
        Answered { committed, mark, .. }: Answered,
    ) -> Result<Reply, Problem> {
        let Committed { response, turn } = committed;
        let read = read_response(&response).ok_or_else(|| internal("an unreadable response".to_owned()))?;
        if let Some(message) = read.failure() {
            return Err(ApiError::server(502, "turn_failed", message).into());
        }
        let out = answered_json(&read, place.id, turn)?;
        trim(&self.store, &self.platform, place, turn).await;
        Ok(marked(out, false, mark))
    }

    /// The answer of a turn whose response is stored, once more; `None` for one that was not answered.
    pub(crate) async fn session_turn_again(
        &self,
        viewer: &Viewer,
        id: ResponseId,
    ) -> Result<Option<Reply>, Problem> {
        let Some(object) = response::object(&self.store, viewer, id.0).await? else { return Ok(None) };
        let read = read_response(object.get().as_bytes())
            .ok_or_else(|| internal(format!("response={id} cannot be read")))?;
        let Some(session) = read.session() else { return Ok(None) };
        let turn = session::number_of(&self.store, session.0, id.0).await?;
        Ok(Some(Reply::json(answered_json(&read, session, turn)?)))
    }

    async fn stream_session_turn(
        self,
        place: SessionPlace,
        mut turn: PreparedTurn,
        course: Course,
    ) -> Answer<S, P, U::Body> {
        let (mut turn, answered) = match course {
            Course::Say(_) => self.answer(turn, course).await,
            Course::Act(run) => match Box::pin(self.begin_run(turn, *run)).await {
                Ok(streamed) => return self.session_stream(place, streamed),
                Err(over) => over,
            },
            Course::Ask(plan) => {
                let attempt = async |request, judged| open_stream(&self.upstream, request, judged).await;
                let asked = self.ask(&turn, plan.ask(&self.platform, attempt)).await;
                match turn.take_note(asked) {
                    Ok(body) => {
                        let (store, platform) = (self.store.clone(), self.platform.clone());
                        let streamed = StreamedTurn::new(store, platform, turn, body);
                        return self.session_stream(place, streamed);
                    }
                    Err(failure) => {
                        let answered = self.fall_back(&mut turn, &failure).await;
                        (turn, answered)
                    }
                }
            }
        };
        let reply = match answered {
            Ok(Answered { committed, mark, events }) => {
                let mut translator = Translator::new(place.id);
                translator.seq = committed.turn;
                let mut out = translator.begin();
                out.extend(translator.translate(&events.unwrap_or_default()));
                marked(out, true, mark)
            }
            Err(problem) => {
                give_up(&self.store, &self.platform, turn.ticket()).await;
                self.forget_session(place).await;
                report(&self.platform, &problem)
            }
        };
        Answer::with_kept(reply, turn.take_kept(), &self.platform)
    }
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    fn session_stream(
        self,
        place: SessionPlace,
        streamed: StreamedTurn<S, P, U::Body>,
    ) -> Answer<S, P, U::Body> {
        let Self { store, platform, .. } = self;
        Answer::Stream(Streaming::Session(Box::new(SessionStream { store, platform, streamed, place })))
    }
}

/// The answer of a turn, as it is told.
fn answered_json(
    read: &ResponseText,
    session: ConversationId,
    turn: Option<u64>,
) -> Result<Vec<u8>, Problem> {
    let answer = SessionAnswer {
        answer: &read.text(),
        seq: turn,
        session,
        fallback: read.is_fallback(),
        citations: read.citations(),
        handover: read.is_handed_over(),
        response_id: read.id().ok_or_else(|| internal("a response without an id".to_owned()))?,
    };
    let mut out = Vec::with_capacity(answer.answer.len() + 256);
    json::push(&mut out, &answer);
    Ok(out)
}

/// Erases what is too old in a session. A failure is told to the operator: the next turns try again.
pub(crate) async fn trim<S: Store, P: Platform>(
    store: &S,
    platform: &P,
    place: SessionPlace,
    turn: Option<u64>,
) {
    let Some(turn) = turn else { return };
    let stamp = Nonce::mint(platform.now_ms(), platform.random());
    if let Err(error) = trim::trim(store, place.id.0, turn, place.turns_max, stamp).await {
        platform.log(&format!("session={} not trimmed: {error}", place.id));
    }
}
