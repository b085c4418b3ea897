//! The routes, as one table: the router and the OpenAPI document are both made of it, so they cannot differ.

use http::Method;

/// The type of a body, where nothing else is said.
pub(crate) const JSON: &str = "application/json";
/// The type of a component's bytes.
pub(crate) const WASM: &str = "application/wasm";
/// What all paths begin with.
pub(crate) const BASE: &str = "/admin/v1";

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Health,
    Document,
    ListTenants,
    CreateTenant,
    ShowTenant,
    ReplaceTenant,
    RemoveTenant,
    SuspendTenant,
    ResumeTenant,
    ListKeys,
    AddKey,
    RevokeKey,
    RotateKey,
    ShowUsage,
    ListTools,
    AddTool,
    UploadComponent,
    ShowTool,
    RemoveTool,
    AcceptTool,
    RejectTool,
    EnableTool,
    DisableTool,
    RefreshTool,
}

/// One method of one path.
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    /// Below [`BASE`]; `{id}`, `{key}` and `{name}` stand for any one step.
    pub(crate) path: &'static str,
    /// The operation's name in the document.
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    /// Whether the admin key must be presented.
    pub(crate) guarded: bool,
    /// The parameters of the query.
    pub(crate) query: &'static [&'static str],
    /// The shape of the body and whether it must be there.
    pub(crate) body: Option<(&'static str, bool)>,
    /// What the body is; of one that is no JSON, the name of its shape says nothing.
    pub(crate) media_type: &'static str,
    /// Status and shape of the answers that are no refusals.
    pub(crate) answers: &'static [(u16, Option<&'static str>)],
    /// Statuses of the refusals, beside those that every guarded route has.
    pub(crate) refusals: &'static [u16],
    /// Whether `If-Match` is looked at.
    pub(crate) if_match: bool,
    /// Whether the answer has an `ETag`.
    pub(crate) etag: bool,
}

const PLAIN: Route = Route {
    operation: Operation::Health,
    method: Method::GET,
    path: "",
    name: "",
    summary: "",
    description: "",
    guarded: true,
    query: &[],
    body: None,
    media_type: JSON,
    answers: &[],
    refusals: &[],
    if_match: false,
    etag: false,
};

/// All routes.
pub(crate) static ROUTES: [Route; 24] = [
    Route {
        operation: Operation::Health,
        path: "/health",
        name: "health",
        summary: "Say that the server serves",
        guarded: false,
        answers: &[(200, Some("Health"))],
        ..PLAIN
    },
    Route {
        operation: Operation::Document,
        path: "/openapi.json",
        name: "document",
        summary: "Give this document",
        guarded: false,
        answers: &[(200, None)],
        ..PLAIN
    },
    Route {
        operation: Operation::ListTenants,
        path: "/tenants",
        name: "listTenants",
        summary: "List tenants",
        description: "In the order of their ids, a page at a time.",
        query: &["limit", "after"],
        answers: &[(200, Some("TenantPage"))],
        refusals: &[400],
        ..PLAIN
    },
    Route {
        operation: Operation::CreateTenant,
        method: Method::POST,
        path: "/tenants",
        name: "createTenant",
        summary: "Create a tenant",
        description: "It has no API key yet. A tenant that is created under the id of one that was removed without \
                      being erased owns that one's data.",
        body: Some(("NewTenant", true)),
        answers: &[(201, Some("Tenant"))],
        refusals: &[409],
        etag: true,
        ..PLAIN
    },
    Route {
        operation: Operation::ShowTenant,
        path: "/tenants/{id}",
        name: "showTenant",
        summary: "Show a tenant",
        answers: &[(200, Some("Tenant"))],
        refusals: &[404],
        etag: true,
        ..PLAIN
    },
    Route {
        operation: Operation::ReplaceTenant,
        method: Method::PUT,
        path: "/tenants/{id}",
        name: "replaceTenant",
        summary: "Replace a tenant's settings",
        description: "Takes the `settings` as they were shown: secret values, which are never shown, stay as they \
                      are where none is given. API keys stay.",
        body: Some(("Settings", true)),
        answers: &[(200, Some("Tenant"))],
        refusals: &[404, 409, 412],
        if_match: true,
        etag: true,
        ..PLAIN
    },
    Route {
        operation: Operation::RemoveTenant,
        method: Method::DELETE,
        path: "/tenants/{id}",
        name: "removeTenant",
        summary: "Remove a tenant",
        description: "With `erase=true` all its data is erased first, and the answer proves it. The tenant must be \
                      suspended: one that is served is refused with 409 `tenant_active`, and where hosts share a store \
                      one that was suspended so lately that another host may still finish requests of it, with 409 \
                      `tenant_not_quiet` and `Retry-After`. A tenant whose data could not be erased stays, suspended \
                      and without settings, so that it can be tried again.",
        query: &["erase"],
        answers: &[(200, Some("Erasure")), (204, None)],
        refusals: &[400, 404, 409, 412],
        if_match: true,
        ..PLAIN
    },
    Route {
        operation: Operation::SuspendTenant,
        method: Method::POST,
        path: "/tenants/{id}/suspend",
        name: "suspendTenant",
        summary: "Refuse a tenant's new requests",
        description: "Works for a tenant that is not in force as well, so that it is suspended on hosts on which it is.",
        answers: &[(200, Some("Tenant"))],
        refusals: &[404, 409],
        etag: true,
        ..PLAIN
    },
    Route {
        operation: Operation::ResumeTenant,
        method: Method::POST,
        path: "/tenants/{id}/resume",
        name: "resumeTenant",
        summary: "Serve a suspended tenant again",
        answers: &[(200, Some("Tenant"))],
        refusals: &[404, 409],
        etag: true,
        ..PLAIN
    },
    Route {
        operation: Operation::ListKeys,
        path: "/tenants/{id}/keys",
        name: "listKeys",
        summary: "List a tenant's API keys",
        answers: &[(200, Some("KeyList"))],
        refusals: &[404],
        ..PLAIN
    },
    Route {
        operation: Operation::AddKey,
        method: Method::POST,
        path: "/tenants/{id}/keys",
        name: "addKey",
        summary: "Make an API key",
        description: "The answer is the only place where the key is ever shown.",
        body: Some(("NewKey", false)),
        answers: &[(201, Some("CreatedKey"))],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::RevokeKey,
        method: Method::DELETE,
        path: "/tenants/{id}/keys/{key}",
        name: "revokeKey",
        summary: "End an API key at once",
        answers: &[(204, None)],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::RotateKey,
        method: Method::POST,
        path: "/tenants/{id}/keys/{key}/rotate",
        name: "rotateKey",
        summary: "Replace an API key by a new one",
        description: "The new key has the name and scopes of the old one, which goes on for `grace_s` seconds. The \
                      answer is the only place where the new key is ever shown.",
        body: Some(("Rotation", false)),
        answers: &[(201, Some("CreatedKey"))],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::ShowUsage,
        path: "/tenants/{id}/usage",
        name: "showUsage",
        summary: "Show what a tenant uses at this moment",
        answers: &[(200, Some("Usage"))],
        refusals: &[404],
        ..PLAIN
    },
    Route {
        operation: Operation::ListTools,
        path: "/tenants/{id}/tools",
        name: "listTools",
        summary: "List a tenant's tools",
        description: "In the order of their names. As long as there are no tenants, `default` has tools as well.",
        answers: &[(200, Some("ToolList"))],
        refusals: &[404],
        ..PLAIN
    },
    Route {
        operation: Operation::AddTool,
        method: Method::POST,
        path: "/tenants/{id}/tools",
        name: "addTool",
        summary: "Add a tool, or another version of one",
        description: "It waits to be accepted, unless `accept` says that it is, or the same version runs already; a version \
                      that waited before is dropped. A component is uploaded first. An MCP server is asked what it can do, \
                      and 503 `tool_unavailable` says that it does not answer. 201 for a new tool, 200 for another version.",
        body: Some(("NewTool", true)),
        answers: &[(200, Some("Tool")), (201, Some("Tool"))],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::UploadComponent,
        method: Method::POST,
        path: "/tenants/{id}/components",
        name: "uploadComponent",
        summary: "Upload a component",
        description: "Its bytes, at most 64 MiB. It is compiled and asked what it can do; what is wrong with it is told as \
                      422 `tool_refused`. It is no tool yet, and may be removed again when it is none within an hour.",
        body: Some(("", true)),
        media_type: WASM,
        answers: &[(201, Some("Component"))],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::ShowTool,
        path: "/tenants/{id}/tools/{name}",
        name: "showTool",
        summary: "Show a tool",
        description: "What runs, what waits, and what that would change.",
        answers: &[(200, Some("Tool"))],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::RemoveTool,
        method: Method::DELETE,
        path: "/tenants/{id}/tools/{name}",
        name: "removeTool",
        summary: "Remove a tool",
        description: "And the components that no other tool of the tenant has. Calls under way are finished.",
        answers: &[(204, None)],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::AcceptTool,
        method: Method::POST,
        path: "/tenants/{id}/tools/{name}/accept",
        name: "acceptTool",
        summary: "Put the version that waits in force",
        description: "If it is the one that was read: another digest, or another revision where one is named, is refused with \
                      409 `other_pending`.",
        body: Some(("ReadVersion", true)),
        answers: &[(200, Some("Tool"))],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::RejectTool,
        method: Method::POST,
        path: "/tenants/{id}/tools/{name}/reject",
        name: "rejectTool",
        summary: "Drop the version that waits",
        description: "A tool of which no version was ever accepted is removed with it: 204.",
        body: Some(("ReadVersion", true)),
        answers: &[(200, Some("Tool")), (204, None)],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::EnableTool,
        method: Method::POST,
        path: "/tenants/{id}/tools/{name}/enable",
        name: "enableTool",
        summary: "Let a disabled tool be called again",
        answers: &[(200, Some("Tool"))],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::DisableTool,
        method: Method::POST,
        path: "/tenants/{id}/tools/{name}/disable",
        name: "disableTool",
        summary: "Let a tool not be called from now on",
        answers: &[(200, Some("Tool"))],
        refusals: &[404, 409],
        ..PLAIN
    },
    Route {
        operation: Operation::RefreshTool,
        method: Method::POST,
        path: "/tenants/{id}/tools/{name}/refresh",
        name: "refreshTool",
        summary: "List what an MCP server can do anew",
        description: "What differs from the accepted version waits to be accepted. What is no longer listed is left out.",
        answers: &[(200, Some("Tool"))],
        refusals: &[404, 409, 422],
        ..PLAIN
    },
];

/// Where a path leads.
pub(crate) enum Found<'p> {
    /// To a route, with the steps that `{id}`, and `{key}` or `{name}`, stand for.
    Route(&'static Route, [&'p str; 2]),
    /// To a path that has other methods: the value of `Allow`.
    OtherMethods(String),
    Nothing,
}

/// Finds the route of a request. `HEAD` is answered as `GET` is, without the body (RFC 9110, section 9.3.2).
pub(crate) fn find<'p>(method: &Method, path: &'p str) -> Found<'p> {
    let Some(rest) = path.strip_prefix(BASE) else { return Found::Nothing };
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let mut allow = Vec::new();
    for route in &ROUTES {
        let Some(steps) = matched(route.path, rest) else { continue };
        if route.method == wanted {
            return Found::Route(route, steps);
        }
        if route.method == Method::GET {
            allow.push("HEAD");
        }
        allow.push(route.method.as_str());
    }
    if allow.is_empty() { Found::Nothing } else { Found::OtherMethods(allow.join(", ")) }
}

fn matched<'p>(template: &str, path: &'p str) -> Option<[&'p str; 2]> {
    let mut steps = ["", ""];
    let (mut templates, mut parts) = (template.split('/'), path.split('/'));
    loop {
        match (templates.next(), parts.next()) {
            (None, None) => return Some(steps),
            (Some("{id}"), Some(part)) if !part.is_empty() => steps[0] = part,
            (Some("{key}" | "{name}"), Some(part)) if !part.is_empty() => steps[1] = part,
            (Some(fixed), Some(part)) if fixed == part => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_route_with_its_steps() {
        #[track_caller]
        fn check(method: Method, path: &str, expected: Option<(Operation, [&str; 2])>) {
            match (find(&method, path), expected) {
                (Found::Route(route, steps), Some(expected)) => {
                    assert_eq!((route.operation, steps), expected)
                }
                (Found::Nothing, None) => {}
                _ => panic!("{method} {path}"),
            }
        }
        check(Method::GET, "/admin/v1/tenants", Some((Operation::ListTenants, ["", ""])));
        check(Method::HEAD, "/admin/v1/tenants/a", Some((Operation::ShowTenant, ["a", ""])));
        check(Method::POST, "/admin/v1/tenants/a/keys/b/rotate", Some((Operation::RotateKey, ["a", "b"])));
        check(Method::GET, "/admin/v1/tenants/a/tools/b", Some((Operation::ShowTool, ["a", "b"])));
        check(Method::POST, "/admin/v1/tenants/a/components", Some((Operation::UploadComponent, ["a", ""])));
        check(Method::GET, "/admin/v1/health", Some((Operation::Health, ["", ""])));
        for path in [
            "/",
            "/admin/v1",
            "/admin/v2/tenants",
            "/admin/v1tenants",
            "/admin/v1/tenants/",
            "/admin/v1//tenants",
            "/admin/v1/tenants/a/",
            "/admin/v1/tenants//keys",
            "/admin/v1/tenants/a/keys/b/c",
        ] {
            check(Method::GET, path, None);
        }
    }

    #[test]
    fn another_method_is_told_which_there_are() {
        let Found::OtherMethods(allow) = find(&Method::PATCH, "/admin/v1/tenants/a") else { panic!() };
        assert_eq!(allow, "HEAD, GET, PUT, DELETE");
    }
}
