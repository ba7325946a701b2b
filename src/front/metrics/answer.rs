//! What there is to ask, and the answers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};

use super::health::Ailment;
use super::{Door, page};

/// The text format of Prometheus.
const NUMBERS: &str = "text/plain; version=0.0.4; charset=utf-8";
const WORDS: &str = "text/plain; charset=utf-8";

/// Answers one question. What it is made of is read from memory and from `/proc`.
pub(super) fn answer(door: &Door, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let known = matches!(path, "/metrics" | "/healthz" | "/readyz");
    if known && method != Method::GET && method != Method::HEAD {
        let mut refused = say(StatusCode::METHOD_NOT_ALLOWED, WORDS, "only GET\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/metrics" => match page::of(&door.numbers) {
            Ok(text) => say(StatusCode::OK, NUMBERS, text),
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                say(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    WORDS,
                    "the metrics cannot be written; the log says more\n".to_owned(),
                )
            }
        },
        "/healthz" => say(StatusCode::OK, WORDS, "ok\n".to_owned()),
        "/readyz" => match door.health.ails() {
            None => say(StatusCode::OK, WORDS, "ok\n".to_owned()),
            Some(Ailment::Serves(what)) => say(StatusCode::OK, WORDS, format!("{what}\n")),
            Some(Ailment::ServesNobody(why)) => say(StatusCode::SERVICE_UNAVAILABLE, WORDS, format!("{why}\n")),
        },
        _ => say(StatusCode::NOT_FOUND, WORDS, "there is /metrics, /healthz and /readyz\n".to_owned()),
    }
}

fn say(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn what_there_is_answers_and_the_rest_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (lookup, _amend) = crate::registry::open(&dir.path().join("registry")).unwrap();
        let stopping = CancellationToken::new();
        let settings = crate::store::Settings { root: dir.path().to_owned(), owners: Vec::new() };
        let store = crate::store::Store::new(&settings).unwrap();
        let door = Door::new(Registry::default(), lookup.clone(), store, stopping.clone());
        let status = |method: Method, path: &str| answer(&door, &method, path).status().as_u16();
        while !lookup.indexed() {
            assert_eq!(status(Method::GET, "/readyz"), 200, "an index is being built, and fetches are served");
            std::thread::yield_now();
        }
        for path in ["/metrics", "/healthz", "/readyz"] {
            assert_eq!((status(Method::GET, path), status(Method::HEAD, path)), (200, 200), "{path}");
            assert_eq!((status(Method::POST, path), status(Method::DELETE, path)), (405, 405), "{path}");
        }
        for path in ["", "/", "*", "/metrics/", "/Metrics", "//metrics", "/metrics/../readyz", "/%6detrics"] {
            assert_eq!((status(Method::GET, path), status(Method::POST, path)), (404, 404), "{path}");
        }
        stopping.cancel();
        assert_eq!((status(Method::GET, "/readyz"), status(Method::GET, "/healthz")), (503, 200));
    }
}
