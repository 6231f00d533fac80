//! Which path is which resource. Fixed segments stand before `{id}`; a trailing slash changes nothing. Each stands behind
//! its doors ([`doors`](super::doors)).

use super::doors::{Doors, ENTRY};
use super::links::FEED;
use super::{
    AppState, Problem, attempts, clients, counts, dashboard, dead, discarded, event, feed, health, live, marks,
    metrics, nodes, openapi, overview, params, register, replay, request, send, sign_in, store, streams,
};
use crate::error::{ApiError, Code};
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::{App, Error, HttpRequest, HttpResponse, Resource, ResponseError, guard, web};

/// Everything, behind admission.
pub fn app(state: AppState) -> App<impl Behind> {
    let app = App::new().app_data(web::Data::new(state)).configure(resources).default_service(web::to(nowhere));
    app.wrap(from_fn(request::around))
}

fn resources(cfg: &mut web::ServiceConfig) {
    // First, and without a pattern: what is asked most.
    let send = "/api/events/send";
    cfg.service(methods(web::resource(send), send, "POST, OPTIONS").route(web::post().to(send::send)));
    // What is asked next most, told by its beginning; the path it reads by itself.
    let looks = web::Data::new(feed::Looks::default());
    // The crate's own guards note on the heap what they have asked for.
    let read = guard::fn_guard(|ctx| matches!(ctx.head().method, Method::GET | Method::HEAD));
    let feeds = web::scope(FEED).guard(read).app_data(looks).default_service(web::to(feed::get));
    // The same needs, with a client and without.
    cfg.service(feeds.wrap(Doors::of("/api/events/feed/{slice}/{at}", READ)));
    cfg.service(resource("/api/events/send", "POST, OPTIONS").route(web::post().to(send::send)));
    cfg.service(
        readable("/api/events/register", "GET, HEAD, PUT, OPTIONS", register::list).route(web::put().to(register::put)),
    );
    cfg.service(
        readable("/api/events/register/{type}", "GET, HEAD, DELETE, OPTIONS", register::get)
            .route(web::delete().to(register::delete)),
    );
    cfg.service(readable("/api/events/discarded", READ, discarded::list));
    cfg.service(readable("/api/events/nodes", READ, nodes::list));
    cfg.service(resource("/api/events/feed/{slice}/{at}", READ));
    cfg.service(resource("/api/events/feed/{slice}/{at}/client/{client}", READ));
    cfg.service(readable("/api/events/clients/{client}", READ, clients::get));
    cfg.service(readable("/api/events/streams", READ, streams::list));
    cfg.service(
        readable("/api/events/streams/{type}/{name}", "GET, HEAD, PATCH, DELETE, OPTIONS", streams::get)
            .route(web::patch().to(streams::patch))
            .route(web::delete().to(streams::delete)),
    );
    cfg.service(readable("/api/events/streams/{type}/{name}/attempts", READ, attempts::list));
    cfg.service(
        readable("/api/events/streams/{type}/{name}/dead", "GET, HEAD, DELETE, OPTIONS", dead::list)
            .route(web::delete().to(dead::delete)),
    );
    cfg.service(
        resource("/api/events/streams/{type}/{name}/dead/retry", "POST, OPTIONS").route(web::post().to(dead::retry)),
    );
    cfg.service(
        resource("/api/events/streams/{type}/{name}/replay", "POST, OPTIONS").route(web::post().to(replay::post)),
    );
    cfg.service(resource("/api/events/ok/{client}", "PUT, OPTIONS").route(web::put().to(marks::put_many)));
    cfg.service(
        resource("/api/events/{id:[0-9]+}/ok/{client}", "PUT, DELETE, OPTIONS")
            .route(web::put().to(marks::put))
            .route(web::delete().to(marks::delete)),
    );
    cfg.service(readable("/api/events/{id:[0-9]+}", READ, event::get));
    cfg.service(readable("/api/events/overview", READ, overview::get));
    cfg.service(readable("/api/events/counts", READ, counts::get));
    cfg.service(readable("/api/events/store", READ, store::get));
    cfg.service(readable(ENTRY, READ, live::entry));
    cfg.service(
        readable("/api/session", "GET, HEAD, POST, DELETE, OPTIONS", sign_in::get)
            .route(web::post().to(sign_in::post))
            .route(web::delete().to(sign_in::delete)),
    );
    cfg.service(readable("/metrics", READ, metrics::get));
    cfg.service(readable("/healthz", READ, health::alive));
    cfg.service(readable("/readyz", READ, health::ready));
    let document = web::Data::new(openapi::Served::default());
    cfg.service(readable("/openapi.json", READ, openapi::get).app_data(document));
    cfg.service(readable("/docs", READ, openapi::page));
    cfg.service(readable("/docs/{file}", READ, openapi::file));
    cfg.service(
        methods(web::resource("/"), "/", READ)
            .route(web::get().to(dashboard::page))
            .route(web::head().to(dashboard::page)),
    );
    cfg.service(readable("/assets/{file}", READ, dashboard::asset));
}

/// The methods of what can only be read.
const READ: &str = "GET, HEAD, OPTIONS";

/// What stands behind doors.
pub trait Behind:
    ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>
{
}

impl<T> Behind for T where
    T: ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>
{
}

/// A resource with or without a slash at its end.
fn resource(path: &'static str, allow: &'static str) -> Resource<impl Behind + use<>> {
    methods(web::resource(format!("{path}{{tail:/?}}")), path, allow)
}

/// A resource whose `GET` (and `HEAD`, of which the connection sends the head alone) is `handler`.
fn readable<F, Args>(path: &'static str, allow: &'static str, handler: F) -> Resource<impl Behind>
where
    F: actix_web::Handler<Args> + Clone,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    resource(path, allow).route(web::get().to(handler.clone())).route(web::head().to(handler))
}

/// Puts a resource behind the doors of `path`, and says what it answers to methods it does not have.
fn methods(resource: Resource, path: &'static str, allow: &'static str) -> Resource<impl Behind + use<>> {
    let resource = resource.default_service(web::to(move |method: Method| async move {
        let mut response = if method == Method::OPTIONS {
            HttpResponse::NoContent().finish()
        } else {
            let detail = format!("there are {allow}");
            Problem(ApiError::new(Code::MethodNotAllowed, detail)).error_response()
        };
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        response
    }));
    resource.wrap(Doors::of(path, allow))
}

async fn nowhere(req: HttpRequest) -> HttpResponse {
    Problem(params::nowhere(req.path())).error_response()
}
