//! Whether a client wants Server-Sent Events (RFC 9110, 12.5.1).

use actix_web::HttpRequest;
use actix_web::http::header;

/// Whether `Accept` names `text/event-stream`, and prefers nothing else that is here (`application/json`).
/// A wildcard does not ask for a stream that never ends.
pub fn wants_events(req: &HttpRequest) -> bool {
    let values = req.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let (mut events, mut json) = (0, (0, 0));
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(weight).unwrap_or(1000);
        match kind.as_str() {
            "text/event-stream" => events = events.max(quality),
            // The more exact range counts.
            "application/json" => json = json.max((3, quality)),
            "application/*" => json = json.max((2, quality)),
            "*/*" => json = json.max((1, quality)),
            _ => {}
        }
    }
    events > 0 && events >= json.1
}

/// A `q=` parameter in thousandths; what is malformed counts as nothing.
fn weight(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let quality: f32 = value.trim().parse().unwrap_or(0.0);
    // In range after the clamp; NaN becomes 0.
    Some((quality.clamp(0.0, 1.0) * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn a_stream_must_be_asked_for_and_be_preferred() {
        for (accept, wanted) in [
            ("text/event-stream", true),
            ("Text/Event-Stream;charset=utf-8", true),
            ("text/event-stream, */*;q=0.1", true),
            ("text/event-stream, application/json", true),
            ("application/json, text/event-stream;q=0.9", false),
            ("application/json;q=0.5, text/event-stream ; q=0.9", true),
            ("text/event-stream;q=0.5, */*", false),
            ("application/json;q=0.1, text/event-stream;q=0.5, */*", true),
            ("text/event-stream;q=0", false),
            ("text/event-stream;q=x", false),
            ("text/event-stream;q=NaN", false),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
            ("", false),
        ] {
            let request = TestRequest::default().insert_header(("accept", accept)).to_http_request();
            assert_eq!(wants_events(&request), wanted, "{accept}");
        }
        assert!(!wants_events(&TestRequest::default().to_http_request()));
    }
}
