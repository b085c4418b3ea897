//! Finding out what a server speaks: `server/discover` of 2026-07-28, else a handshake as before it.

use super::{Client, ClientFailure};
use crate::fetch::{Fetch, FetchRequest, FetchResponse};
use crate::message::{self, RpcError, code};
use crate::progress::{Progress, Unheard};
use crate::version::{
    CAPABILITIES_KEY, CLIENT_KEY, METHOD_FIELD, NAME_FIELD, SESSION_FIELD, VERSION_FIELD, VERSION_KEY,
    Version,
};
use crate::{header, json};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json as object};
use std::cell::Cell;
use std::rc::Rc;

/// The longest name of a session, in bytes.
const SESSION_BYTES_MAX: usize = 1024;

/// What is known of a server. Clones of it are of the same session.
#[derive(Debug, Clone)]
pub struct Remembered {
    pub(super) version: Version,
    pub(super) session: Option<String>,
    pub(super) numbers: Rc<Cell<u64>>,
}

impl Remembered {
    /// What it speaks.
    pub fn version(&self) -> Version {
        self.version
    }
}

/// A request, and what its head says of it.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) params: Map<String, Value>,
    /// What it is about, where `Mcp-Name` says so.
    pub(super) name: Option<&'a str>,
    /// Parameters that the head repeats.
    pub(super) repeated: Vec<(String, String)>,
    /// Whether somebody wants to hear how far it is.
    pub(super) is_followed: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn new(method: &'a str, params: Map<String, Value>) -> Self {
        Self { method, params, name: None, repeated: Vec::new(), is_followed: false }
    }
}

/// Whether a failure says that what was known of the server holds no longer.
fn is_outdated(failure: &ClientFailure) -> bool {
    match failure {
        ClientFailure::SessionOver | ClientFailure::Status(400 | 404 | 405) => true,
        ClientFailure::Rpc { code, .. } => *code == code::UNSUPPORTED_VERSION,
        _ => false,
    }
}

fn client_info() -> Value {
    object!({"name": "waggle", "version": env!("CARGO_PKG_VERSION")})
}

impl<F: Fetch> Client<F> {
    /// Asks, once it is known how, and reads the answer. When what was known before is no longer so, it is found out anew,
    /// once: what a server refuses for that, it has not done.
    ///
    /// # Errors
    /// There is no result.
    pub(super) async fn ask<P: Progress>(
        &mut self,
        asked: &Asked<'_>,
        progress: &mut P,
    ) -> Result<Box<RawValue>, ClientFailure> {
        let was_known = self.session.is_some();
        let known = self.open().await?;
        match self.ask_as(&known, asked, progress).await {
            Err(failure) if was_known && is_outdated(&failure) => {
                self.session = None;
                let known = self.open().await?;
                self.ask_as(&known, asked, progress).await
            }
            answered => answered,
        }
    }

    async fn ask_as<P: Progress>(
        &mut self,
        known: &Remembered,
        asked: &Asked<'_>,
        progress: &mut P,
    ) -> Result<Box<RawValue>, ClientFailure> {
        let id = self.next_id();
        let mut params = asked.params.clone();
        if asked.is_followed {
            params.insert("_meta".to_owned(), object!({"progressToken": id}));
        }
        let mut headers = self.head(Some(known));
        if known.version.is_stateless() {
            declare(&mut params);
            headers.push((METHOD_FIELD.to_owned(), asked.method.to_owned()));
            headers.extend(asked.name.map(|name| (NAME_FIELD.to_owned(), header::encode(name))));
            headers.extend(asked.repeated.iter().cloned());
        }
        let response = self.post(headers, message::request(id, asked.method, params)).await?;
        let is_session = known.session.is_some();
        match response.status {
            200..=299 => {}
            404 if is_session => return Err(ClientFailure::SessionOver),
            status => return Err(self.failed(status, response, known, id).await),
        }
        let answer = self.read(response, Some(known), id, progress).await?;
        Ok(answer?)
    }

    /// What a status other than success means. Servers since 2026-07-28 say more in its body.
    async fn failed(
        &self,
        status: u16,
        response: FetchResponse<F::Body>,
        known: &Remembered,
        id: u64,
    ) -> ClientFailure {
        if let Some(failure) = by_status(status, &response) {
            return failure;
        }
        match self.read(response, Some(known), id, &mut Unheard).await {
            Ok(Err(error)) => error.into(),
            _ => ClientFailure::Status(status),
        }
    }

    /// What the server speaks, which is asked if it is not known.
    async fn open(&mut self) -> Result<Remembered, ClientFailure> {
        if let Some(known) = &self.session {
            return Ok(known.clone());
        }
        let known = if self.is_stateless().await? {
            self.known(Version::LATEST, None)
        } else {
            self.initialize().await?
        };
        self.session = Some(known.clone());
        Ok(known)
    }

    /// Whether the server speaks 2026-07-28. What does not say so is taken for one that does not know it.
    async fn is_stateless(&mut self) -> Result<bool, ClientFailure> {
        const METHOD: &str = "server/discover";
        let id = self.next_id();
        let mut params = Map::new();
        declare(&mut params);
        let assumed = self.known(Version::LATEST, None);
        let mut headers = self.head(Some(&assumed));
        headers.push((METHOD_FIELD.to_owned(), METHOD.to_owned()));
        let response = self.post(headers, message::request(id, METHOD, params)).await?;
        if let Some(failure) = by_status(response.status, &response) {
            return Err(failure);
        }
        match self.read(response, Some(&assumed), id, &mut Unheard).await {
            Ok(Ok(result)) => Ok(discovered(&result)),
            Ok(Err(error)) => judged(error),
            Err(ClientFailure::Protocol(_)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn initialize(&mut self) -> Result<Remembered, ClientFailure> {
        let id = self.next_id();
        let mut params = Map::new();
        params.insert("protocolVersion".to_owned(), Version::LATEST_WITH_HANDSHAKE.name().into());
        params.insert("capabilities".to_owned(), object!({}));
        params.insert("clientInfo".to_owned(), client_info());
        let response = self.post(self.head(None), message::request(id, "initialize", params)).await?;
        if !(200..=299).contains(&response.status) {
            let status = response.status;
            let known = self.known(Version::LATEST_WITH_HANDSHAKE, None);
            return Err(self.failed(status, response, &known, id).await);
        }
        let session = response.header(SESSION_FIELD).map(ToOwned::to_owned);
        if session.as_deref().is_some_and(|session| !is_session(session)) {
            return Err(ClientFailure::Protocol("a session whose name is no visible ASCII".to_owned()));
        }
        let result = self.read(response, None, id, &mut Unheard).await??;
        let known = self.known(agreed(&result)?, session);
        let initialized = message::notification("notifications/initialized", Map::new());
        let response = self.post(self.head(Some(&known)), initialized).await?;
        match by_status(response.status, &response) {
            Some(failure) => Err(failure),
            None => Ok(known),
        }
    }

    /// Ends the session, where the server has opened one. Whether it has heard of it does not matter: sessions end by
    /// themselves.
    pub async fn close(mut self) {
        let Some(known) = self.session.take().filter(|known| known.session.is_some()) else { return };
        let (url, timeout_ms) = (self.url.clone(), self.bounds.timeout_ms);
        let request =
            FetchRequest { method: "DELETE", url, headers: self.head(Some(&known)), body: None, timeout_ms };
        let _ended = self.fetch.send(request).await;
    }

    fn known(&self, version: Version, session: Option<String>) -> Remembered {
        Remembered { version, session, numbers: Rc::clone(&self.numbers) }
    }

    /// The number of the next request.
    fn next_id(&mut self) -> u64 {
        self.asked = self.numbers.get() + 1;
        self.numbers.set(self.asked);
        self.asked
    }

    /// What the head of every message says.
    pub(super) fn head(&self, known: Option<&Remembered>) -> Vec<(String, String)> {
        let mut headers = self.headers.clone();
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        add("accept", "application/json, text/event-stream");
        add("content-type", "application/json");
        if let Some(Remembered { version, session, .. }) = known {
            add(VERSION_FIELD, version.name());
            if let Some(session) = session {
                add(SESSION_FIELD, session);
            }
        }
        headers
    }

    pub(super) async fn post(
        &self,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    ) -> Result<FetchResponse<F::Body>, ClientFailure> {
        let (url, timeout_ms) = (self.url.clone(), self.bounds.timeout_ms);
        let request = FetchRequest { method: "POST", url, headers, body: Some(body), timeout_ms };
        Ok(self.fetch.send(request).await?)
    }
}

/// What every request says of itself since 2026-07-28. Nothing is declared that a server could ask for.
fn declare(params: &mut Map<String, Value>) {
    let meta = params.entry("_meta").or_insert_with(|| object!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert(VERSION_KEY.to_owned(), Version::LATEST.name().into());
        meta.insert(CLIENT_KEY.to_owned(), client_info());
        meta.insert(CAPABILITIES_KEY.to_owned(), object!({}));
    }
}

/// Statuses that say all there is to say, whatever is in the body.
fn by_status<B>(status: u16, response: &FetchResponse<B>) -> Option<ClientFailure> {
    match status {
        300..=399 => Some(ClientFailure::Redirected(status)),
        401 | 403 => Some(ClientFailure::Unauthorized(status)),
        429 | 503 => {
            Some(ClientFailure::Busy { retry_after: response.header("retry-after").map(ToOwned::to_owned) })
        }
        502 | 504.. => Some(ClientFailure::Status(status)),
        _ => None,
    }
}

/// Whether a server that knows `server/discover` speaks 2026-07-28.
fn discovered(result: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Discovered {
        #[serde(rename = "supportedVersions")]
        supported: Vec<String>,
    }
    let discovered: Result<Discovered, _> = serde_json::from_str(result.get());
    discovered.is_ok_and(|discovered| discovered.supported.iter().any(|name| name == Version::LATEST.name()))
}

/// What an error to `server/discover` says of the server.
fn judged(error: RpcError) -> Result<bool, ClientFailure> {
    match error.code {
        code::UNSUPPORTED_VERSION => {
            let supported =
                error.data.as_ref().and_then(|data| data.get("supported")).and_then(Value::as_array);
            let names: Vec<_> = supported.into_iter().flatten().filter_map(Value::as_str).take(16).collect();
            if names.iter().any(|name| Version::of(name).is_some_and(|version| !version.is_stateless())) {
                return Ok(false);
            }
            let names =
                json::canonical(&names.into_iter().map(|name| name.get(..32).unwrap_or(name)).collect());
            Err(ClientFailure::Version(names))
        }
        code::HEADER_MISMATCH | code::MISSING_CAPABILITY => Err(error.into()),
        _ => Ok(false),
    }
}

/// The revision that a handshake has come to.
fn agreed(result: &RawValue) -> Result<Version, ClientFailure> {
    #[derive(Deserialize)]
    struct Initialized {
        #[serde(rename = "protocolVersion")]
        version: String,
    }
    let initialized: Result<Initialized, _> = serde_json::from_str(result.get());
    let Ok(Initialized { version }) = initialized else {
        return Err(ClientFailure::Protocol("a handshake without 'protocolVersion'".to_owned()));
    };
    let known = Version::of(&version).filter(|version| !version.is_stateless());
    known.ok_or_else(|| ClientFailure::Version(version.chars().take(32).collect()))
}

fn is_session(session: &str) -> bool {
    !session.is_empty()
        && session.len() <= SESSION_BYTES_MAX
        && session.bytes().all(|byte| matches!(byte, 0x21..=0x7e))
}
