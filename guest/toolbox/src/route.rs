//! Which endpoint a method and a path mean.

use crate::audit::{EntryQuery, read_query};
use waggle_intent::wire::{RECOGNISE_PATH, TURN_PATH};
use waggle_openai::{ApiError, percent};
use waggle_tool::wire::{CALL_PATH, CATALOG_PATH};

/// The path at which MCP's clients are served.
pub const MCP_PATH: &str = "/mcp";
/// The path at which the host asks what an MCP server lists, before the tool is accepted.
pub const LIST_REMOTE_PATH: &str = "/waggle/tools/list-remote";

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/tools/catalog`, for other functions: no route of the application leads to it.
    Catalog,
    /// `POST /v1/tools/call`, the same.
    Call,
    /// `GET /v1/tools`
    List,
    /// `GET /v1/tools/audit`
    Audit(EntryQuery),
    /// `DELETE /v1/tools/users/{user}/data`, the user as they are called
    EraseUser(String),
    /// `POST /v1/intents/recognise`; or `POST /v1/intents/turn`, for other functions: no route of the application leads to it
    Recognise {
        /// Whether it is the latter.
        is_turn: bool,
    },
    /// `/mcp`, by any method: which there are, the protocol says
    Mcp,
    /// `POST /waggle/tools/list-remote`, when the host delivers it
    ListRemote,
}

impl Route {
    /// Finds the endpoint for a method and a path with its query. `delivered`: whether the host itself asks.
    ///
    /// # Errors
    /// 400: the query is wrong; 404: no such path; 405: the path has other methods.
    pub fn find(method: &str, path_with_query: &str, delivered: bool) -> Result<Self, ApiError> {
        let (path, query) = path_with_query.split_once('?').unwrap_or((path_with_query, ""));
        let (allow, route) = match path {
            MCP_PATH => return Ok(Self::Mcp),
            CATALOG_PATH => ("POST", Self::Catalog),
            CALL_PATH => ("POST", Self::Call),
            RECOGNISE_PATH => ("POST", Self::Recognise { is_turn: false }),
            TURN_PATH => ("POST", Self::Recognise { is_turn: true }),
            "/v1/tools" => ("GET", Self::List),
            "/v1/tools/audit" if method == "GET" => ("GET", Self::Audit(read_query(query)?)),
            "/v1/tools/audit" => return Err(ApiError::method_not_allowed(method, "GET")),
            LIST_REMOTE_PATH if delivered => ("POST", Self::ListRemote),
            _ => ("DELETE", Self::EraseUser(user(path).ok_or_else(|| ApiError::unknown_url(method, path))?)),
        };
        if method == allow { Ok(route) } else { Err(ApiError::method_not_allowed(method, allow)) }
    }
}

fn user(path: &str) -> Option<String> {
    let name = path.strip_prefix("/v1/tools/users/")?.strip_suffix("/data")?;
    if name.is_empty() || name.contains('/') {
        return None;
    }
    percent::decode(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: &str, expected: Result<Route, u16>) {
        assert_eq!(
            Route::find(method, path, false).map_err(|error| error.status),
            expected,
            "{method} {path}"
        );
    }

    #[test]
    fn a_path_and_a_method_mean_one_endpoint() {
        check("POST", "/v1/tools/catalog", Ok(Route::Catalog));
        check("POST", "/v1/tools/call", Ok(Route::Call));
        check("POST", "/v1/intents/recognise", Ok(Route::Recognise { is_turn: false }));
        check("POST", "/v1/intents/turn", Ok(Route::Recognise { is_turn: true }));
        check("GET", "/v1/intents/recognise", Err(405));
        check("GET", "/v1/tools?x", Ok(Route::List));
        check("POST", "/v1/tools", Err(405));
        check("DELETE", "/v1/tools/audit", Err(405));
        check("GET", "/v1/tools/audit?limit=x", Err(400));
        check("DELETE", "/v1/tools/users/a%20b/data", Ok(Route::EraseUser("a b".to_owned())));
        check("GET", "/v1/tools/users/a/data", Err(405));
        for path in
            ["/v1/tools/users//data", "/v1/tools/users/a/b/data", "/v1/tools/users/%zz/data", "/v1/tools/x"]
        {
            check("DELETE", path, Err(404));
        }
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            check(method, "/mcp", Ok(Route::Mcp));
        }
    }

    #[test]
    fn only_the_host_has_servers_listed() {
        check("POST", "/waggle/tools/list-remote", Err(404));
        assert_eq!(Route::find("POST", "/waggle/tools/list-remote", true), Ok(Route::ListRemote));
        assert_eq!(Route::find("GET", "/waggle/tools/list-remote", true).unwrap_err().status, 405);
    }
}
