//! What the host does for an MCP server that a function is: which pages may call it, and where its callers learn who gives
//! tokens for it (Model Context Protocol, "Authorization" and "Streamable HTTP"; RFC 9728). What is said over it is the
//! function's business.

use crate::body;
use crate::error::Refusal;
use crate::websocket::{RefusedByHost, is_from_this_machine};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use serde::Deserialize;
use waggle_engine::WasiBody;

/// Where the metadata of a protected resource is (RFC 9728, section 3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// Entries of each list.
const ENTRIES_MAX: usize = 64;
/// Bytes of each entry.
const ENTRY_BYTES_MAX: usize = 512;

/// The `[mcp]` slice of the runtime configuration. Every field has a default, so an empty `[mcp]` is valid.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct McpConfig {
    /// Where MCP servers are among the routes of the application; up to 64.
    pub paths: Vec<String>,
    /// The URL of the MCP server as its clients know it, such as `https://api.example.com/mcp`. Absent: there is no metadata.
    pub resource: Option<String>,
    /// The issuers, `https://` URLs, whose tokens count there; up to 64. Each must be an issuer of the tenants.
    pub authorization_servers: Vec<String>,
    /// The scopes that tokens may have; up to 64.
    pub scopes: Vec<String>,
    /// Origins, such as `https://app.example.com`, whose pages may call it beside its own; up to 64.
    pub allowed_origins: Vec<String>,
}

impl Default for McpConfig {
    fn default() -> Self {
        Self {
            paths: vec!["/mcp".to_owned()],
            resource: None,
            authorization_servers: Vec::new(),
            scopes: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

impl McpConfig {
    /// Says which field is wrong, if one is.
    ///
    /// # Errors
    /// A sentence that names the field and what it must be, without what stands there.
    pub fn validate(&self) -> Result<(), String> {
        let lists = [
            ("paths", &self.paths),
            ("authorization_servers", &self.authorization_servers),
            ("scopes", &self.scopes),
            ("allowed_origins", &self.allowed_origins),
        ];
        for (field, list) in lists {
            if list.len() > ENTRIES_MAX || list.iter().any(|entry| entry.len() > ENTRY_BYTES_MAX) {
                return Err(format!(
                    "`{field}` has {} entries; it may have {ENTRIES_MAX} of {ENTRY_BYTES_MAX} bytes",
                    list.len()
                ));
            }
        }
        check("paths", &self.paths, "a path, such as /mcp", |path| path.starts_with('/'))?;
        let is_server = |url: &str| parse(url).is_some_and(|uri| uri.query().is_none());
        let url = "a URL with https (or http, on this machine) and without a query";
        check("resource", self.resource.as_slice(), url, is_server)?;
        check("authorization_servers", &self.authorization_servers, url, is_server)?;
        check("scopes", &self.scopes, "a scope: visible ASCII without quotes and backslashes", is_scope)?;
        let is_origin =
            |origin: &str| parse(origin).is_some_and(|uri| uri.path() == "/") && !origin.ends_with('/');
        check(
            "allowed_origins",
            &self.allowed_origins,
            "an origin, such as https://app.example.com",
            is_origin,
        )?;
        if self.resource.is_none() && !self.authorization_servers.is_empty() {
            return Err("`authorization_servers` needs `resource`, for which they are".into());
        }
        Ok(())
    }

    /// Whether an MCP server is at `path`.
    fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|one| one == path)
    }
}

fn check(field: &str, values: &[String], what: &str, is_right: impl Fn(&str) -> bool) -> Result<(), String> {
    match values.iter().position(|value| !is_right(value)) {
        None => Ok(()),
        // By its number: what stands there may be what does not belong there.
        Some(wrong) => Err(format!("value {} of `{field}` is not {what}", wrong + 1)),
    }
}

/// An `https` URL, or an `http` one of this machine.
fn parse(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?;
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let is_right = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_local,
        _ => false,
    };
    (is_right && !uri.authority()?.as_str().contains('@')).then_some(uri)
}

/// RFC 6749, section 3.3.
fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

/// `[mcp]`, worked out once.
pub(crate) struct McpServers {
    config: McpConfig,
    /// The metadata, and the challenge that leads to it.
    metadata: Option<Metadata>,
}

struct Metadata {
    /// Its path for the configured resource; it is also at [`WELL_KNOWN`] itself.
    path: String,
    text: String,
    challenge: HeaderValue,
}

impl McpServers {
    pub(crate) fn new(config: &McpConfig) -> Self {
        let metadata = config.resource.as_deref().and_then(|resource| Metadata::new(resource, config));
        Self { config: config.clone(), metadata }
    }

    /// The metadata, for whoever asks, with a credential or without. None where something else is asked for, or there is
    /// none and `is_routed`: then a function may have it.
    pub(crate) fn metadata(
        &self,
        method: &Method,
        path: &str,
        is_routed: bool,
    ) -> Option<Result<Response<WasiBody>, Refusal>> {
        let rest = path.strip_prefix(WELL_KNOWN)?;
        if !(rest.is_empty() || rest.starts_with('/')) || !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        match &self.metadata {
            Some(metadata) if rest.is_empty() || metadata.path == path => Some(Ok(metadata.response())),
            _ if is_routed => None,
            _ => Some(Err(Refusal::not_found(method, path))),
        }
    }

    /// Pages call an MCP server only from where they are meant to. A page can be made to speak to this machine by a name that
    /// its server chooses, so where no credential is asked for (`is_open`), only pages of this machine may.
    ///
    /// # Errors
    /// 403, when the page may not.
    pub(crate) fn check_origin<B>(
        &self,
        path: &str,
        request: &Request<B>,
        is_open: bool,
    ) -> Result<(), Refusal> {
        if !self.config.has(path) {
            return Ok(());
        }
        let headers = request.headers();
        // HTTP/2 has the host in its target.
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str().as_bytes()),
            None => headers.get(header::HOST).map(HeaderValue::as_bytes),
        };
        let is_meant = |origin: &HeaderValue| {
            let Ok(origin) = origin.to_str() else { return false };
            let is_listed = self.config.allowed_origins.iter().any(|one| one.eq_ignore_ascii_case(origin));
            let authority = origin.split_once("://").map(|(_scheme, authority)| authority.as_bytes());
            is_listed || (!is_open && authority.is_some() && authority == host)
        };
        let mut origins = headers.get_all(header::ORIGIN).iter();
        if (is_open && is_from_this_machine(headers)) || origins.all(is_meant) {
            return Ok(());
        }
        Err(Refusal::foreign_origin_of_mcp())
    }

    /// Tells a client that may not call how to come to a token.
    pub(crate) fn challenge<B>(&self, path: &str, response: &mut Response<B>) {
        let Some(metadata) = &self.metadata else { return };
        let is_refused = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !is_refused || !self.config.has(path) {
            return;
        }
        let is_host = response.extensions().get::<RefusedByHost>().is_some();
        let is_told = response.headers().contains_key(header::WWW_AUTHENTICATE);
        // What a function says of it is more exact: which scope is missing, say.
        if is_host || !is_told {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, metadata.challenge.clone());
        }
    }
}

impl Metadata {
    /// None for a URL that [`McpConfig::validate`] does not let through.
    fn new(resource: &str, config: &McpConfig) -> Option<Self> {
        let uri = parse(resource)?;
        let below = uri.path().trim_end_matches('/');
        let path = format!("{WELL_KNOWN}{below}");
        let mut value = serde_json::json!({
            "resource": resource,
            "bearer_methods_supported": ["header"],
        });
        let lists =
            [("authorization_servers", &config.authorization_servers), ("scopes_supported", &config.scopes)];
        for (name, list) in lists.into_iter().filter(|(_name, list)| !list.is_empty()) {
            value[name] = serde_json::json!(list);
        }
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let scope = config.scopes.join(" ");
        let scope = if scope.is_empty() { scope } else { format!(", scope=\"{scope}\"") };
        let challenge =
            format!("Bearer realm=\"waggle\", resource_metadata=\"{scheme}://{authority}{path}\"{scope}");
        Some(Self { path, text: value.to_string(), challenge: HeaderValue::try_from(challenge).ok()? })
    }

    fn response(&self) -> Response<WasiBody> {
        let mut response = Response::new(body::full(self.text.clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // It says nothing that not everybody may know, and clients in pages have to read it.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn configured() -> McpServers {
        McpServers::new(&McpConfig {
            resource: Some("https://api.example.com/mcp".into()),
            authorization_servers: vec!["https://login.example.com".into()],
            scopes: vec!["tools".into(), "documents".into()],
            allowed_origins: vec!["https://app.example.com".into()],
            ..McpConfig::default()
        })
    }

    #[tokio::test]
    async fn clients_learn_without_a_credential_who_gives_tokens() {
        let servers = configured();
        for path in [WELL_KNOWN, "/.well-known/oauth-protected-resource/mcp"] {
            let answer = servers.metadata(&Method::GET, path, true).unwrap().unwrap();
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(value["resource"], "https://api.example.com/mcp");
            assert_eq!(value["authorization_servers"][0], "https://login.example.com");
            assert_eq!(value["scopes_supported"], serde_json::json!(["tools", "documents"]));
        }
        let others = ["/mcp", "/.well-known/oauth-protected-resources", "/.well-known/spin/health"];
        assert!(others.iter().all(|path| servers.metadata(&Method::GET, path, false).is_none()));
        assert!(servers.metadata(&Method::POST, WELL_KNOWN, false).is_none());
        let elsewhere = format!("{WELL_KNOWN}/other");
        assert!(servers.metadata(&Method::GET, &elsewhere, false).unwrap().is_err());
        assert!(servers.metadata(&Method::GET, &elsewhere, true).is_none(), "a function's own");
        let none = McpServers::new(&McpConfig::default());
        assert!(none.metadata(&Method::GET, WELL_KNOWN, false).unwrap().is_err());
    }

    #[test]
    fn a_refusal_leads_to_the_metadata() {
        let check = |path: &str, status: u16, is_host: bool, own: Option<&'static str>, leads: bool| {
            let mut response = Response::builder().status(status).body(()).unwrap();
            if let Some(own) = own {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(own));
            }
            if is_host {
                response.extensions_mut().insert(RefusedByHost);
            }
            configured().challenge(path, &mut response);
            let told = response.headers().get(header::WWW_AUTHENTICATE).map(|value| value.to_str().unwrap());
            let expected = "Bearer realm=\"waggle\", resource_metadata=\"https://api.example.com/.well-known/\
                            oauth-protected-resource/mcp\", scope=\"tools documents\"";
            assert_eq!(told == Some(expected), leads, "{path} {status}: {told:?}");
        };
        check("/mcp", 401, true, Some("Bearer realm=\"waggle\""), true);
        check("/mcp", 403, false, None, true);
        check("/mcp", 403, false, Some("Bearer error=\"insufficient_scope\""), false);
        check("/mcp", 200, false, None, false);
        check("/v1/responses", 401, true, None, false);
    }

    #[test]
    fn pages_call_from_where_they_are_meant_to() {
        let check = |path: &str, origins: &[&'static str], is_open: bool, expected: bool| {
            let mut request = Request::post(path).header(header::HOST, "api.example.com:3000");
            for origin in origins {
                request = request.header(header::ORIGIN, *origin);
            }
            let allowed = configured().check_origin(path, &request.body(()).unwrap(), is_open).is_ok();
            assert_eq!(allowed, expected, "{path} {origins:?} {is_open}");
        };
        check("/mcp", &[], false, true);
        check("/mcp", &["https://app.example.com"], false, true);
        check("/mcp", &["https://api.example.com:3000"], false, true);
        check("/mcp", &["https://api.example.com"], false, false);
        check("/mcp", &["https://evil.example"], false, false);
        check("/mcp", &["null"], false, false);
        check("/mcp", &["https://app.example.com", "https://evil.example"], false, false);
        // A name that leads to this machine makes the page's own host of it.
        check("/mcp", &["https://api.example.com:3000"], true, false);
        check("/mcp", &["http://localhost:6274"], true, true);
        check("/mcp", &["https://app.example.com"], true, true);
        check("/v1/responses", &["https://evil.example"], true, true);
    }

    #[test]
    fn a_mistake_is_named_with_what_is_meant() {
        let check = |text: &str, part: &str| {
            let config: McpConfig = serde_json::from_str(text).unwrap();
            let told = config.validate().err().unwrap_or_default();
            assert!(told.contains(part) && told.is_empty() == part.is_empty(), "{text}: {told}");
        };
        check("{}", "");
        check(
            r#"{"resource": "https://a.example/mcp", "authorization_servers": ["https://b.example/x"]}"#,
            "",
        );
        check(r#"{"resource": "http://localhost:3000/mcp"}"#, "");
        check(r#"{"resource": "http://a.example/mcp"}"#, "value 1 of `resource` is not a URL with https");
        check(r#"{"resource": "https://a.example/mcp?x"}"#, "without a query");
        check(r#"{"authorization_servers": ["https://b.example"]}"#, "needs `resource`");
        check(r#"{"allowed_origins": ["https://a.example/"]}"#, "such as https://app.example.com");
        check(r#"{"scopes": ["a b"]}"#, "a scope");
        check(r#"{"paths": ["mcp"]}"#, "such as /mcp");
    }
}
