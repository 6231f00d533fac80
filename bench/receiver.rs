//! A webhook receiver that counts: how many deliveries, how many of them repeated, how fast, how late.
//!
//! Usage: `receiver ADDRESS WORKERS`; prints the address it listens on.
//!
//! - `POST /hook/NAME` is a webhook; with `?delay_ms=N` it answers so much later.
//! - `GET /figures` gives one line a name: name, first deliveries, repeated ones, first deliveries a second
//!   between the first and the last, microseconds from `sent_us` in the body to arrival at p50 and p99, and when
//!   the first and the last came, in microseconds of the Unix epoch. It holds up what is measured: ask rarely.
//! - `POST /reset` forgets everything, `POST /reset/NAME` what came to one name.

use actix_web::web::{Bytes, Data, Path, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Stands before the time at which the sender sent, in microseconds of the Unix epoch.
const SENT: &[u8] = b"\"sent_us\":";

/// What came to one name.
#[derive(Default)]
struct Hook {
    /// By the number in `webhook-id`.
    ids: HashSet<u64>,
    repeated: u64,
    first_us: u64,
    last_us: u64,
    /// From sending to first arrival, in microseconds.
    late_us: Vec<u32>,
}

#[derive(Default)]
struct Hooks(Mutex<BTreeMap<String, Hook>>);

impl Hooks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Hook>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(serde::Deserialize)]
struct Options {
    delay_ms: Option<u64>,
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn sent_us(body: &[u8]) -> Option<u64> {
    let at = body.windows(SENT.len()).position(|window| window == SENT)? + SENT.len();
    let digits = body.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

async fn hook(
    request: HttpRequest,
    name: Path<String>,
    options: Query<Options>,
    body: Bytes,
    hooks: Data<Hooks>,
) -> HttpResponse {
    let now = now_us();
    let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let Some(id) = id else { return HttpResponse::BadRequest().finish() };
    {
        let mut hooks = hooks.lock();
        if !hooks.contains_key(name.as_str()) {
            hooks.insert(name.clone(), Hook { first_us: now, ..Hook::default() });
        }
        if let Some(hook) = hooks.get_mut(name.as_str()) {
            if hook.ids.insert(id) {
                hook.last_us = now;
                let late = sent_us(&body).map(|sent| u32::try_from(now.saturating_sub(sent)).unwrap_or(u32::MAX));
                hook.late_us.extend(late);
            } else {
                hook.repeated += 1;
            }
        }
    }
    if let Some(delay) = options.delay_ms {
        actix_web::rt::time::sleep(Duration::from_millis(delay)).await;
    }
    HttpResponse::NoContent().finish()
}

/// The value that `part` of a sorted list is not above; 0 when there is none.
fn quantile(sorted: &[u32], part: f64) -> u32 {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

async fn figures(hooks: Data<Hooks>) -> String {
    let mut text = String::new();
    for (name, hook) in &*hooks.lock() {
        let mut late = hook.late_us.clone();
        late.sort_unstable();
        let seconds = hook.last_us.saturating_sub(hook.first_us) as f64 / 1e6;
        let rate = hook.ids.len().saturating_sub(1) as f64 / seconds.max(1e-6);
        let (began, ended) = (hook.first_us, hook.last_us);
        let (p50, p99) = (quantile(&late, 0.5), quantile(&late, 0.99));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name} {} {} {rate:.1} {p50} {p99} {began} {ended}", hook.ids.len(), hook.repeated);
    }
    text
}

async fn reset(hooks: Data<Hooks>) -> HttpResponse {
    hooks.lock().clear();
    HttpResponse::NoContent().finish()
}

async fn reset_one(hooks: Data<Hooks>, name: Path<String>) -> HttpResponse {
    hooks.lock().remove(name.as_str());
    HttpResponse::NoContent().finish()
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let workers = arguments.next().and_then(|w| w.parse().ok()).unwrap_or(1);
    let hooks = Data::new(Hooks::default());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(hooks.clone())
            .route("/hook/{name}", web::post().to(hook))
            .route("/figures", web::get().to(figures))
            .route("/reset", web::post().to(reset))
            .route("/reset/{name}", web::post().to(reset_one))
    })
    .workers(workers)
    .shutdown_timeout(0)
    .bind(address)?;
    for address in server.addrs() {
        writeln!(std::io::stdout(), "listening address={address}")?;
    }
    server.run().await
}
