//! What the API is: `GET /openapi.json` for programs, `GET /docs` for people. Both are files of this function.

use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use spin_sdk::wasip3::{spawn, wit_future, wit_stream};

/// The description, OpenAPI 3.1. A test holds it against the routes and the answers of the functions.
const DESCRIPTION: &[u8] = include_bytes!("../assets/openapi.json");
/// A page that shows the description. It asks nobody but this server for anything.
const PAGE: &[u8] = include_bytes!("../assets/index.html");

const NOT_FOUND: &[u8] = br#"{"error":{"message":"There is GET /openapi.json and GET /docs.","type":"invalid_request_error","param":null,"code":"unknown_url"}}"#;
const NOT_ALLOWED: &[u8] = br#"{"error":{"message":"This can be read by GET, and nothing else.","type":"invalid_request_error","param":null,"code":"method_not_allowed"}}"#;

/// The page runs its own script and style, and loads nothing from elsewhere.
const PAGE_POLICY: &str = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Answer {
    status: u16,
    content_type: &'static str,
    body: &'static [u8],
}

fn answer(method: &Method, path: &str) -> Answer {
    let (content_type, body) = match path {
        "/openapi.json" => ("application/json", DESCRIPTION),
        "/docs" | "/docs/" => ("text/html; charset=utf-8", PAGE),
        _ => return Answer { status: 404, content_type: "application/json", body: NOT_FOUND },
    };
    match method {
        Method::Get | Method::Head => Answer { status: 200, content_type, body },
        _ => Answer { status: 405, content_type: "application/json", body: NOT_ALLOWED },
    }
}

struct Docs;

spin_sdk::wasip3::http::service::export!(Docs);

impl Guest for Docs {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let method = request.get_method();
        let Answer { status, content_type, body } = answer(&method, path);
        let mut fields = vec![
            ("content-type".to_owned(), content_type.as_bytes().to_vec()),
            ("content-length".to_owned(), body.len().to_string().into_bytes()),
            ("cache-control".to_owned(), b"no-cache".to_vec()),
            ("x-content-type-options".to_owned(), b"nosniff".to_vec()),
            ("content-security-policy".to_owned(), PAGE_POLICY.as_bytes().to_vec()),
        ];
        if status == 405 {
            fields.push(("allow".to_owned(), b"GET, HEAD".to_vec()));
        }
        let fields = Fields::from_list(&fields)
            .map_err(|refused| ErrorCode::InternalError(Some(refused.to_string())))?;
        let (mut writer, contents) = wit_stream::new();
        let (trailers_writer, trailers) = wit_future::new(|| Ok(None));
        let (response, _transmission) = Response::new(fields, Some(contents), trailers);
        response
            .set_status_code(status)
            .map_err(|()| ErrorCode::InternalError(Some("a status code was refused".to_owned())))?;
        let is_head = matches!(method, Method::Head);
        spawn(async move {
            if !is_head {
                let _unread = writer.write_all(body.to_vec()).await;
            }
            drop(writer);
            // Dropping the writer sends its default: no trailers, and the body was whole.
            drop(trailers_writer);
        });
        Ok(response)
    }
}
