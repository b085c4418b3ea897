//! Where secrets go, and where they never go.

use super::*;

fn credential(origin: &str, prefix: &str, header: &str, value: &str) -> Credential {
    Credential::new(origin, prefix, header, &Secret::new(value)).unwrap()
}

fn inject(credentials: &Credentials, uri: &str, headers: &mut HeaderMap) -> Result<(), EgressError> {
    let uri: Uri = uri.parse().unwrap();
    let mut path = uri.path_and_query().unwrap().clone();
    let mut in_query = QuerySecrets::default();
    credentials.inject(&Target::of(&uri, false).unwrap(), &mut path, headers, &mut in_query)?;
    assert_eq!(Some(&path), uri.path_and_query(), "only headers are put on here");
    Ok(())
}

#[test]
fn a_secret_goes_only_where_scheme_host_port_and_path_match() {
    let credentials =
        Credentials::new(vec![credential("https://api.example.com", "/v1", "authorization", "Bearer sk")]);
    let check = |uri: &str, expected: bool| {
        let mut headers = HeaderMap::new();
        inject(&credentials, uri, &mut headers).unwrap();
        assert_eq!(headers.contains_key("authorization"), expected, "{uri}");
    };
    check("https://api.example.com/v1", true);
    check("https://api.example.com/v1/", true);
    check("https://api.example.com/v1/chat?x=/v2", true);
    check("https://API.Example.com:443/v1/chat", true);
    check("https://api.example.com/v1/a..b/...", true);
    check("http://api.example.com/v1/chat", false);
    check("http://api.example.com:443/v1/chat", false);
    check("https://api.example.com:8443/v1/chat", false);
    check("https://api.example.com.evil.net/v1/chat", false);
    check("https://evil-api.example.com/v1/chat", false);
    check("https://api.example.com./v1/chat", false);
    check("https://example.com/v1/chat", false);
    check("https://api.example.com/", false);
    check("https://api.example.com/v1x", false);
    check("https://api.example.com/V1/chat", false);
    check("https://api.example.com/v2?/v1/", false);
    check("https://api.example.com//v1/chat", false);
    check("https://api.example.com/v%31/chat", false);
}

#[test]
fn a_path_that_could_be_read_as_another_one_is_refused() {
    let credentials = Credentials::new(vec![credential("https://a.example", "/v1", "x-api-key", "sk")]);
    let check = |path: &str| {
        let mut headers = HeaderMap::new();
        let error = inject(&credentials, &format!("https://a.example{path}"), &mut headers).unwrap_err();
        assert_eq!(error.code(), "HTTP-request-denied", "{path}");
        assert!(headers.is_empty(), "{path}");
    };
    check("/v1/../admin");
    check("/v1/..");
    check("/v1/./../admin");
    check("/v1/%2e%2e/admin");
    check("/v1/.%2E/admin");
    check("/v1/%252e%252e/admin");
    check("/v1/%25252e%25252e/admin");
    check("/v1/%2525252525252e%2525252525252e/admin");
    check("/v1/..%2fadmin");
    check("/v1/..%5cadmin");
    check("/v1/..;x=1/admin");
    check("/x/../v1");
}

#[test]
fn a_secret_for_the_whole_origin_does_not_care_for_the_path() {
    let credentials = Credentials::new(vec![credential("http://a.example:8080", "/", "x-api-key", "sk")]);
    let mut headers = HeaderMap::new();
    inject(&credentials, "http://a.example:8080/a/../b", &mut headers).unwrap();
    assert_eq!(headers["x-api-key"], "sk");
}

#[test]
fn the_secret_replaces_all_that_the_request_brought() {
    let credentials =
        Credentials::new(vec![credential("https://a.example", "/", "Authorization", "Bearer real")]);
    let mut headers = HeaderMap::new();
    headers.append("authorization", "Bearer one".parse().unwrap());
    headers.append("authorization", "Bearer two".parse().unwrap());
    inject(&credentials, "https://a.example/", &mut headers).unwrap();
    let values: Vec<_> = headers.get_all("authorization").iter().collect();
    assert_eq!(values, ["Bearer real"]);
}

#[test]
fn the_longest_prefix_wins_and_headers_add_up() {
    let credentials = Credentials::new(vec![
        credential("https://a.example", "/v1/team", "x-key", "team"),
        credential("https://a.example", "/", "x-key", "all"),
        credential("https://a.example", "/v1", "x-org", "org"),
    ]);
    let mut headers = HeaderMap::new();
    inject(&credentials, "https://a.example/v1/team/x", &mut headers).unwrap();
    assert_eq!((&headers["x-key"], &headers["x-org"]), (&"team".parse().unwrap(), &"org".parse().unwrap()));
    let mut headers = HeaderMap::new();
    inject(&credentials, "https://a.example/v2", &mut headers).unwrap();
    assert_eq!(headers["x-key"], "all");
    assert!(!headers.contains_key("x-org"));
}

#[test]
fn what_cannot_be_a_credential_is_refused_without_showing_the_secret() {
    let check = |origin: &str, prefix: &str, header: &str, value: &str, part: &str| {
        let error = Credential::new(origin, prefix, header, &Secret::new(value)).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(error.to_string().contains(part), "{error} lacks {part:?}");
        assert!(!text.contains("hunter2"), "{text}");
    };
    check("api.example.com", "/", "a", "hunter2", "scheme is missing");
    check("ftp://api.example.com", "/", "a", "hunter2", "http or https");
    check("https://api.example.com/v1", "/", "a", "hunter2", "a path or a query");
    check("https://u:hunter2@api.example.com", "/", "a", "x", "user information");
    check("https://api.example.com", "v1", "a", "hunter2", "begin with /");
    check("https://api.example.com", "/v1/../x", "a", "hunter2", "neither empty segments");
    check("https://api.example.com", "/v1//x", "a", "hunter2", "neither empty segments");
    check("https://api.example.com", "/v%31", "a", "hunter2", "plain ASCII");
    check("https://api.example.com", "/", "a b", "hunter2", "no name of a header");
    check("https://api.example.com", "/", "Host", "hunter2", "no name of a header");
    check("https://api.example.com", "/", "authorization", "hunter2\r\nx: y", "line end");
    check("https://api.example.com", "/", "authorization", "", "the secret is empty");
}

#[test]
fn a_secret_in_the_query_goes_only_where_it_belongs_and_the_longest_prefix_wins() {
    let place = CredentialPlace::query("key").unwrap();
    let made = |prefix: &str, secret: &str| {
        Credential::placed("https://a.example", prefix, &place, &Secret::new(secret)).unwrap()
    };
    let credentials = Credentials::new(vec![made("/v1/team", "team"), made("/v1", "all")]);
    let check = |uri: &str, expected: &str| {
        let uri: Uri = uri.parse().unwrap();
        let mut path = uri.path_and_query().unwrap().clone();
        let target = Target::of(&uri, false).unwrap();
        let mut in_query = QuerySecrets::default();
        credentials.inject(&target, &mut path, &mut HeaderMap::new(), &mut in_query).unwrap();
        assert_eq!(path.as_str(), expected);
    };
    check("https://a.example/v1/x?key=guess&a", "/v1/x?a&key=all");
    check("https://a.example/v1/team/x", "/v1/team/x?key=team");
    check("https://a.example/v2?key=guess", "/v2?key=guess");
    check("http://a.example/v1/x", "/v1/x");
    check("https://b.example/v1/x", "/v1/x");
}

#[test]
fn a_secret_for_a_base_goes_to_what_lies_below_it() {
    let base = BaseUrl::parse("https://API.example.com/v1/").unwrap();
    let place = CredentialPlace::header("authorization", "Bearer ").unwrap();
    let credential = Credential::of_base(&base, &place, &Secret::new("sk")).unwrap();
    let credentials = Credentials::new(vec![credential]);
    let mut headers = HeaderMap::new();
    inject(&credentials, "https://api.example.com/v1/chat", &mut headers).unwrap();
    assert_eq!(headers["authorization"], "Bearer sk");
    let mut headers = HeaderMap::new();
    inject(&credentials, "https://api.example.com/v2", &mut headers).unwrap();
    assert!(headers.is_empty());
}

#[test]
fn debug_output_never_holds_the_secret() {
    let place = CredentialPlace::query("key").unwrap();
    let in_query = Credential::placed("https://a.example", "/", &place, &Secret::new("hunter2")).unwrap();
    let credential = credential("https://a.example", "/", "authorization", "Bearer hunter2");
    let text = format!("{credential:?} {:?}", Credentials::new(vec![credential.clone(), in_query]));
    assert!(!text.contains("hunter2"), "{text}");
}
