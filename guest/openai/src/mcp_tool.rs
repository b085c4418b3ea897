//! The tool `mcp`: which of the tenant's own tools a turn may use, and which of their calls a person approves first.
//!
//! In OpenAI's API a client says where an MCP server is and with which credentials it is to be called. Here both are the
//! tenant's to configure, and a request names a tool by its label, or by the address that was configured for it.

use crate::error::{ApiError, echo};
use crate::object::Object;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest label, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;
/// The most names in a list of tools.
pub const NAMES_MAX: usize = 128;
/// The longest name of a tool, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The longest address of a server, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// The longest description of a server, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4_096;

/// Tools of one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct McpTool {
    /// Its place among the request's tools.
    #[serde(skip)]
    pub place: usize,
    r#type: &'static str,
    /// What its calls are told by: a tool of the tenant's registry, or any name where `server_url` says which.
    pub server_label: String,
    /// The address of an MCP server of the tenant's registry.
    pub server_url: Option<String>,
    /// What it is for. It is repeated in the response, and changes nothing: what models are told is the tenant's.
    pub server_description: Option<String>,
    /// Which of its tools may be used; absent: all.
    pub allowed_tools: Option<AllowedTools>,
    /// Which of its calls a person approves first; absent: those that the tenant wants to be. A caller can ask for more of
    /// it, and for no less.
    pub require_approval: Option<RequireApproval>,
}

/// Which tools may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AllowedTools {
    /// Those of these names.
    Names(Vec<String>),
    /// Those that a filter lets pass.
    Filter(ToolFilter),
}

/// Tells tools apart. What is absent lets all of them pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolFilter {
    /// Whether a call changes nothing outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Those of these names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_names: Option<Vec<String>>,
}

/// Which calls a person approves first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequireApproval {
    /// Every call.
    Always,
    /// None.
    Never,
    /// As filters say; what passes both is approved first.
    Filters {
        /// What passes it is approved first.
        always: Option<ToolFilter>,
        /// What passes it is not. Where this is there, all others are approved first, as OpenAI has it.
        never: Option<ToolFilter>,
    },
}

impl ToolFilter {
    /// Whether a tool of that name passes.
    pub fn passes(&self, name: &str, read_only: bool) -> bool {
        self.read_only.is_none_or(|wanted| wanted == read_only)
            && self.tool_names.as_ref().is_none_or(|names| names.iter().any(|known| known == name))
    }
}

impl AllowedTools {
    /// Whether a tool of that name may be used.
    pub fn allows(&self, name: &str, read_only: bool) -> bool {
        match self {
            Self::Names(names) => names.iter().any(|known| known == name),
            Self::Filter(filter) => filter.passes(name, read_only),
        }
    }

    /// The names there are.
    pub fn names(&self) -> Option<&[String]> {
        match self {
            Self::Names(names) => Some(names),
            Self::Filter(filter) => filter.tool_names.as_deref(),
        }
    }
}

impl RequireApproval {
    /// Whether a call of the tool of that name is to be approved first.
    pub fn asks(&self, name: &str, read_only: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Filters { always, never } => {
                let passes = |filter: &Option<ToolFilter>| {
                    filter.as_ref().is_some_and(|filter| filter.passes(name, read_only))
                };
                passes(always) || (never.is_some() && !passes(never))
            }
        }
    }
}

impl McpTool {
    /// Whether one of its tools may be used.
    pub fn allows(&self, name: &str, read_only: bool) -> bool {
        self.allowed_tools.as_ref().is_none_or(|allowed| allowed.allows(name, read_only))
    }

    /// Whether the caller wants a call to be approved first.
    pub fn asks_approval(&self, name: &str, read_only: bool) -> bool {
        self.require_approval.as_ref().is_some_and(|required| required.asks(name, read_only))
    }

    /// Holds each setting to its range.
    ///
    /// # Errors
    /// 400 naming the first one that is out of its range, as `tools[0].server_label`.
    pub fn check(&self) -> Result<(), ApiError> {
        let refused = |field: &str, expected: String| {
            let param = format!("tools[{}].{field}", self.place);
            let message = format!("Invalid value for '{param}': it must be {expected}.");
            Err(ApiError::invalid_param(param, "invalid_value", message))
        };
        if !is_label(&self.server_label) {
            let expected = format!(
                "1 to {LABEL_BYTES_MAX} letters, digits, '_' and '-', of which the first is a letter"
            );
            return refused("server_label", expected);
        }
        let is_url = |url: &String| {
            url.len() <= URL_BYTES_MAX && ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme))
        };
        if self.server_url.as_ref().is_some_and(|url| !is_url(url)) {
            let expected = format!("an https: or http: URL of at most {URL_BYTES_MAX} bytes");
            return refused("server_url", expected);
        }
        if self.server_description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
            return refused("server_description", format!("at most {DESCRIPTION_BYTES_MAX} bytes long"));
        }
        let (always, never) = match &self.require_approval {
            Some(RequireApproval::Filters { always, never }) => (always.as_ref(), never.as_ref()),
            _ => (None, None),
        };
        let names_of = |filter: Option<&ToolFilter>| filter.and_then(|filter| filter.tool_names.clone());
        let lists = [
            ("allowed_tools", self.allowed_tools.as_ref().and_then(AllowedTools::names).map(<[_]>::to_vec)),
            ("require_approval.always.tool_names", names_of(always)),
            ("require_approval.never.tool_names", names_of(never)),
        ];
        match lists.iter().find(|(_, names)| names.as_ref().is_some_and(|names| !are_names(names))) {
            None => Ok(()),
            Some((field, _)) => {
                let expected = format!("at most {NAMES_MAX} names of 1 to {NAME_BYTES_MAX} bytes");
                refused(field, expected)
            }
        }
    }
}

fn is_label(label: &str) -> bool {
    label.len() <= LABEL_BYTES_MAX
        && label.starts_with(|first: char| first.is_ascii_alphabetic())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn are_names(names: &[String]) -> bool {
    names.len() <= NAMES_MAX && names.iter().all(|name| (1..=NAME_BYTES_MAX).contains(&name.len()))
}

/// The fields of such a tool as a request has them, among those of all types of tools.
#[derive(Default)]
pub(crate) struct McpFields<'a> {
    pub(crate) server_label: Option<String>,
    pub(crate) server_url: Option<String>,
    pub(crate) server_description: Option<String>,
    pub(crate) allowed_tools: Option<&'a RawValue>,
    pub(crate) require_approval: Option<&'a RawValue>,
    pub(crate) headers: bool,
    pub(crate) authorization: bool,
    pub(crate) connector_id: bool,
    pub(crate) tunnel_id: bool,
    pub(crate) defer_loading: bool,
    pub(crate) allowed_callers: Option<Vec<String>>,
}

/// What OpenAI's service has and this server has not, each with the reason.
const NO_CREDENTIALS: &str = "credentials of callers are never passed on to a tool; the tenant configures those of each \
    tool, and the server puts them on. Leave it out";
const NO_CONNECTORS: &str =
    "this server has no connectors and no tunnels; name a tool of the tenant by its 'server_label'";

impl McpFields<'_> {
    /// The first field that is there.
    pub(crate) fn any(&self) -> Option<&'static str> {
        let fields = [
            ("server_label", self.server_label.is_some()),
            ("server_url", self.server_url.is_some()),
            ("server_description", self.server_description.is_some()),
            ("allowed_tools", self.allowed_tools.is_some()),
            ("require_approval", self.require_approval.is_some()),
            ("headers", self.headers),
            ("authorization", self.authorization),
            ("connector_id", self.connector_id),
            ("tunnel_id", self.tunnel_id),
            ("defer_loading", self.defer_loading),
            ("allowed_callers", self.allowed_callers.is_some()),
        ];
        fields.into_iter().find(|(_, is_there)| *is_there).map(|(name, _)| name)
    }

    /// The tool.
    pub(crate) fn tool<E: Error>(self) -> Result<McpTool, E> {
        let refused = [
            ("headers", self.headers, NO_CREDENTIALS),
            ("authorization", self.authorization, NO_CREDENTIALS),
            ("connector_id", self.connector_id, NO_CONNECTORS),
            ("tunnel_id", self.tunnel_id, NO_CONNECTORS),
            ("defer_loading", self.defer_loading, "tools are told to the model when the turn begins"),
        ];
        if let Some((field, _, why)) = refused.into_iter().find(|(_, is_there, _)| *is_there) {
            return Err(E::custom(format!("'{field}' is not supported: {why}")));
        }
        let callers = self.allowed_callers.unwrap_or_default();
        if let Some(caller) = callers.iter().find(|caller| *caller != "direct") {
            let caller = echo(caller);
            return Err(E::custom(format!("'allowed_callers' has '{caller}'; supported is 'direct'")));
        }
        Ok(McpTool {
            place: 0,
            r#type: "mcp",
            server_label: self.server_label.ok_or_else(|| E::missing_field("server_label"))?,
            server_url: self.server_url,
            server_description: self.server_description,
            allowed_tools: read(self.allowed_tools, "allowed_tools")?,
            require_approval: read(self.require_approval, "require_approval")?,
        })
    }
}

fn read<'a, T: Deserialize<'a>, E: Error>(raw: Option<&'a RawValue>, field: &str) -> Result<Option<T>, E> {
    raw.map(|raw| serde_json::from_str(raw.get()))
        .transpose()
        .map_err(|error| E::custom(format!("'{field}': {error}")))
}

impl<'de> Deserialize<'de> for AllowedTools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        if text.starts_with('[') {
            return serde_json::from_str(text).map(Self::Names).map_err(D::Error::custom);
        }
        if !text.starts_with('{') {
            let expected = "expected an array of names, or an object with 'tool_names' and 'read_only'";
            return Err(D::Error::custom(expected));
        }
        let Object(filter) = serde_json::from_str::<Object<ToolFilter>>(text).map_err(D::Error::custom)?;
        Ok(Self::Filter(filter))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalFields {
    always: Option<Object<ToolFilter>>,
    never: Option<Object<ToolFilter>>,
}

impl<'de> Deserialize<'de> for RequireApproval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        match raw.get() {
            "\"always\"" => Ok(Self::Always),
            "\"never\"" => Ok(Self::Never),
            text if text.starts_with('{') => {
                let Object(fields) =
                    serde_json::from_str::<Object<ApprovalFields>>(text).map_err(D::Error::custom)?;
                let filter = |field: Option<Object<ToolFilter>>| field.map(|Object(filter)| filter);
                Ok(Self::Filters { always: filter(fields.always), never: filter(fields.never) })
            }
            _ => Err(D::Error::custom("expected 'always', 'never', or an object with 'always' and 'never'")),
        }
    }
}

#[derive(Serialize)]
struct FiltersJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    always: &'a Option<ToolFilter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    never: &'a Option<ToolFilter>,
}

impl Serialize for RequireApproval {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Always => serializer.serialize_str("always"),
            Self::Never => serializer.serialize_str("never"),
            Self::Filters { always, never } => FiltersJson { always, never }.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Parameters;
    use crate::request::CreateResponse;
    use crate::response::{ResponseHead, Status};
    use crate::tool::{McpChoice, Mode, ToolChoice};
    use crate::{Nonce, ResponseId};
    use serde_json::{Value, json};

    fn read(body: &Value) -> Result<Parameters, ApiError> {
        let mut whole = json!({"input": "x"});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        CreateResponse::read(whole.to_string().as_bytes()).map(|request| request.parameters)
    }

    fn tools(tools: &Value) -> Result<Parameters, ApiError> {
        read(&json!({"tools": tools}))
    }

    fn one(extra: &Value) -> Value {
        let mut tool = json!({"type": "mcp", "server_label": "shop"});
        tool.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        tool
    }

    #[test]
    fn it_is_repeated_with_all_its_fields_and_in_its_place() {
        let function =
            json!({"type": "function", "name": "f", "description": null, "parameters": null, "strict": null});
        let search = json!({"type": "file_search", "vector_store_ids": ["vs_1"], "filters": null});
        let plain = json!({"type": "mcp", "server_label": "shop", "server_url": null, "server_description": null,
            "allowed_tools": null, "require_approval": null});
        let full = json!({"type": "mcp", "server_label": "Wiki-2", "server_url": "https://wiki.example/mcp",
            "server_description": "The wiki.", "allowed_tools": {"read_only": true, "tool_names": ["a"]},
            "require_approval": {"always": {"tool_names": ["b"]}, "never": {"read_only": true}}});
        let sent = json!([plain, function, full, search, function]);
        let parameters = tools(&sent).unwrap();
        let head = ResponseHead {
            id: ResponseId(Nonce::mint(0, 0)),
            created_at: 0,
            background: false,
            model: "m".into(),
            continues: crate::request::Continues::Nothing,
            parameters,
        };
        let object: Value = serde_json::from_slice(&head.to_json(&Status::InProgress, &[], None)).unwrap();
        assert_eq!(object["tools"], sent);
        let names = one(&json!({"allowed_tools": ["a", "b"], "require_approval": "never", "headers": null,
            "authorization": null, "defer_loading": false, "allowed_callers": ["direct"]}));
        let read = tools(&json!([names])).unwrap();
        assert_eq!(read.mcp[0].allowed_tools, Some(AllowedTools::Names(vec!["a".into(), "b".into()])));
        assert_eq!(read.mcp[0].require_approval, Some(RequireApproval::Never));
    }

    fn check(tool: &Value, param: &str, code: &str, says: &str) {
        let function = json!({"type": "function", "name": "f"});
        let error = tools(&json!([function, tool])).unwrap_err();
        let told = (error.status, error.param.as_deref(), error.code);
        assert_eq!(told, (400, Some(param), Some(code)), "{error}");
        assert!(error.message.contains(says), "{error}");
    }

    #[test]
    fn what_is_wrong_with_it_is_named_by_its_place_and_what_is_refused_has_a_reason() {
        let wrong = |extra: Value, says: &str| check(&one(&extra), "tools[1]", "invalid_value", says);
        wrong(json!({"headers": {"a": "b"}}), "never passed on");
        wrong(json!({"authorization": "secret"}), "never passed on");
        wrong(json!({"connector_id": "connector_gmail"}), "no connectors");
        wrong(json!({"tunnel_id": "t"}), "no connectors");
        wrong(json!({"defer_loading": true}), "defer_loading");
        wrong(json!({"allowed_callers": ["programmatic"]}), "programmatic");
        wrong(json!({"require_approval": "sometimes"}), "expected 'always'");
        wrong(json!({"require_approval": {"always": []}}), "require_approval");
        wrong(json!({"require_approval": {"maybe": {}}}), "unknown field `maybe`");
        wrong(json!({"allowed_tools": "all"}), "expected an array of names");
        wrong(json!({"allowed_tools": {"names": []}}), "unknown field `names`");
        check(&json!({"type": "mcp"}), "tools[1]", "missing_required_parameter", "server_label");
        check(&one(&json!({"name": "f"})), "tools[1]", "unknown_parameter", "name");
        let ranged = |extra: Value, field: &str| {
            check(&one(&extra), &format!("tools[1].{field}"), "invalid_value", "it must be");
        };
        for label in ["", "1a", "a b", "a.b", &"x".repeat(65)] {
            ranged(json!({"server_label": label}), "server_label");
        }
        ranged(json!({"server_url": "ftp://x"}), "server_url");
        ranged(json!({"server_url": format!("https://{}", "x".repeat(2048))}), "server_url");
        ranged(json!({"server_description": "x".repeat(4097)}), "server_description");
        ranged(json!({"allowed_tools": [""]}), "allowed_tools");
        ranged(json!({"allowed_tools": {"tool_names": vec!["x"; 129]}}), "allowed_tools");
        let long = "x".repeat(129);
        ranged(
            json!({"require_approval": {"never": {"tool_names": [long]}}}),
            "require_approval.never.tool_names",
        );
        let twice = tools(&json!([one(&json!({})), one(&json!({}))])).unwrap_err();
        assert_eq!(twice.param.as_deref(), Some("tools[1].server_label"));
        let foreign = tools(&json!([{"type": "function", "name": "f", "server_label": "shop"}])).unwrap_err();
        assert_eq!(foreign.code, Some("unknown_parameter"));
        let foreign = tools(&json!([{"type": "file_search", "vector_store_ids": ["v"], "headers": {}}]));
        assert_eq!(foreign.unwrap_err().code, Some("unknown_parameter"));
    }

    #[test]
    fn a_caller_says_which_calls_are_approved_first() {
        let asks = |approval: Value, name: &str, read_only: bool| {
            let parameters = tools(&json!([one(&json!({"require_approval": approval}))])).unwrap();
            parameters.mcp[0].asks_approval(name, read_only)
        };
        let table = [
            (json!(null), "a", false, false),
            (json!("always"), "a", true, true),
            (json!("never"), "a", false, false),
            (json!({"always": {"tool_names": ["a"]}}), "a", true, true),
            (json!({"always": {"tool_names": ["a"]}}), "b", false, false),
            (json!({"never": {"tool_names": ["a"]}}), "a", false, false),
            (json!({"never": {"tool_names": ["a"]}}), "b", true, true),
            (json!({"never": {"read_only": true}}), "b", true, false),
            (json!({"never": {"read_only": true}}), "b", false, true),
            (json!({"always": {"tool_names": ["a"]}, "never": {"read_only": true}}), "a", true, true),
            (json!({"always": {}}), "a", true, true),
            (json!({}), "a", false, false),
        ];
        for (approval, name, read_only, expected) in table {
            assert_eq!(asks(approval.clone(), name, read_only), expected, "{approval} {name} {read_only}");
        }
    }

    #[test]
    fn what_may_be_used_is_said_by_names_or_by_a_filter() {
        let allows = |allowed: Value, name: &str, read_only: bool| {
            let parameters = tools(&json!([one(&json!({"allowed_tools": allowed}))])).unwrap();
            parameters.mcp[0].allows(name, read_only)
        };
        let table = [
            (json!(null), "a", false, true),
            (json!([]), "a", false, false),
            (json!(["a"]), "a", false, true),
            (json!({"read_only": true}), "a", false, false),
            (json!({"read_only": true}), "a", true, true),
            (json!({"read_only": true, "tool_names": ["a"]}), "b", true, false),
        ];
        for (allowed, name, read_only, expected) in table {
            assert_eq!(allows(allowed.clone(), name, read_only), expected, "{allowed} {name} {read_only}");
        }
    }

    #[test]
    fn a_choice_can_name_a_tool_of_a_label_or_all_of_them() {
        let choice = |choice: &Value| {
            let body =
                json!({"tools": [one(&json!({})), {"type": "function", "name": "f"}], "tool_choice": choice});
            read(&body).map(|parameters| parameters.tool_choice)
        };
        let named =
            |name: Option<&str>| McpChoice { server_label: "shop".into(), name: name.map(str::to_owned) };
        let all = json!({"type": "mcp", "server_label": "shop"});
        let single = json!({"type": "mcp", "server_label": "shop", "name": "cancel"});
        assert_eq!(choice(&all).unwrap(), ToolChoice::Mcp(named(None)));
        assert_eq!(choice(&single).unwrap(), ToolChoice::Mcp(named(Some("cancel"))));
        assert_eq!(choice(&json!("required")).unwrap(), ToolChoice::Required);
        let several = json!({"type": "allowed_tools", "mode": "required", "tools": [single, {"type": "function", "name": "f"}, all]});
        let expected = ToolChoice::Allowed {
            mode: Mode::Required,
            tools: vec!["f".into()],
            file_search: false,
            mcp: vec![named(Some("cancel")), named(None)],
        };
        assert_eq!(choice(&several).unwrap(), expected);
        assert_eq!(serde_json::to_value(ToolChoice::Mcp(named(Some("cancel")))).unwrap(), single);
        let repeated = json!({"type": "allowed_tools", "mode": "required",
            "tools": [{"type": "function", "name": "f"}, single, all]});
        assert_eq!(serde_json::to_value(expected).unwrap(), repeated);
        for wrong in [
            json!({"type": "mcp"}),
            json!({"type": "mcp", "server_label": "other"}),
            json!({"type": "function", "name": "f", "server_label": "shop"}),
            json!({"type": "allowed_tools", "tools": [{"type": "mcp"}]}),
            json!({"type": "allowed_tools", "tools": [{"type": "mcp", "server_label": "other"}]}),
        ] {
            let error = choice(&wrong).unwrap_err();
            assert_eq!(error.param.as_deref(), Some("tool_choice"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_choice_is_told_to_a_model_by_the_functions_names() {
        let named = |choice: &McpChoice| match choice.name.as_deref() {
            Some("none") => Vec::new(),
            Some(name) => vec![format!("shop__{name}")],
            None => vec!["shop__a".to_owned(), "shop__b".to_owned()],
        };
        let mcp =
            |name: Option<&str>| McpChoice { server_label: "shop".into(), name: name.map(str::to_owned) };
        let allowed = |mode, tools: &[&str]| ToolChoice::Allowed {
            mode,
            tools: tools.iter().map(|name| (*name).to_owned()).collect(),
            file_search: false,
            mcp: Vec::new(),
        };
        for (choice, expected) in [
            (ToolChoice::Required, ToolChoice::Required),
            (ToolChoice::Mcp(mcp(Some("a"))), ToolChoice::Function("shop__a".into())),
            (ToolChoice::Mcp(mcp(None)), allowed(Mode::Required, &["shop__a", "shop__b"])),
            (ToolChoice::Mcp(mcp(Some("none"))), ToolChoice::None),
            (
                ToolChoice::Allowed {
                    mode: Mode::Auto,
                    tools: vec!["f".into()],
                    file_search: false,
                    mcp: vec![mcp(None)],
                },
                allowed(Mode::Auto, &["f", "shop__a", "shop__b"]),
            ),
        ] {
            assert_eq!(choice.resolved(named), expected, "{choice:?}");
        }
    }
}
