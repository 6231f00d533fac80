//! The bare server that `make bench` compares with: actix-web reading a body and answering JSON of the
//! size of an accepted event. Usage: `echo ADDRESS WORKERS`; prints the address it listens on.

use actix_web::web::Bytes;
use actix_web::{App, HttpResponse, HttpServer, web};
use std::io::Write;

const ANSWER: &str = r#"{"id":"2332345678901234567","type":"bench:send","created_at":"2018-02-01T11:12:01.000Z","status":"accepted","streams":[],"links":[{"rel":"self","href":"http://127.0.0.1:8080/api/events/2332345678901234567"}]}"#;

async fn echo(body: Bytes) -> HttpResponse {
    if body.is_empty() {
        return HttpResponse::BadRequest().finish();
    }
    HttpResponse::Accepted().content_type("application/json").body(ANSWER)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let workers = arguments.next().and_then(|w| w.parse().ok()).unwrap_or(2);
    let server = HttpServer::new(|| App::new().route("/api/events/send", web::post().to(echo)))
        .workers(workers)
        .bind(address)?;
    for address in server.addrs() {
        writeln!(std::io::stdout(), "listening address={address}")?;
    }
    server.run().await
}
