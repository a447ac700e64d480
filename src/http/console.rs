//! The console: GraphiQL out of the binary, without any foreign host. The page holds no data; its user types a key.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// The strictest policy the page works with: nothing but our own files, and pictures inside the style sheet.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                                       frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const INDEX: &[u8] = include_bytes!("../../assets/graphiql/index.html");

const FILES: [(&str, &str, &[u8]); 5] = [
    (
        "console.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../assets/graphiql/console.js"),
    ),
    (
        "console.css",
        "text/css; charset=utf-8",
        include_bytes!("../../assets/graphiql/console.css"),
    ),
    (
        "graphiql.min.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../assets/graphiql/graphiql.min.js"),
    ),
    (
        "graphiql.min.css",
        "text/css; charset=utf-8",
        include_bytes!("../../assets/graphiql/graphiql.min.css"),
    ),
    (
        "THIRD_PARTY.txt",
        "text/plain; charset=utf-8",
        include_bytes!("../../assets/graphiql/THIRD_PARTY.txt"),
    ),
];

pub async fn index() -> Response {
    page("text/html; charset=utf-8", INDEX)
}

pub async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, _, _)| *known == name) {
        Some((_, content_type, bytes)) => page(content_type, bytes),
        None => super::observe::not_found().await,
    }
}

fn page(content_type: &'static str, bytes: &'static [u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (StatusCode::OK, headers, bytes).into_response()
}
