//! Which door needs which scope: the one table, which `routes` looks each resource up in and a test tries row by row.
//!
//! A door that is not in the table stays shut, whoever knocks.

use super::links::API;
use crate::access::Scope;

/// What a door asks of whoever knocks, where tokens are asked for at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A token, whatever it is for.
    Token,
    /// A token with one of these scopes.
    One(&'static [Scope]),
}

/// A method of a resource.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// The method; `GET` stands for `HEAD` as well, [`LIVE`] for a `GET` that asks for a session.
    pub method: &'static str,
    /// The resource, as `routes` names it.
    pub path: &'static str,
    /// What it asks.
    pub needs: Needs,
}

/// A `GET` that asks for a live session, as WebSocket or as Server-Sent Events.
pub const LIVE: &str = "LIVE";
/// Where sessions begin.
pub const ENTRY: &str = API;

const SEND: Needs = Needs::One(&[Scope::Send]);
const REGISTER: Needs = Needs::One(&[Scope::Register]);
const REGISTER_OR_OPS: Needs = Needs::One(&[Scope::Register, Scope::Ops]);
const FEED: Needs = Needs::One(&[Scope::Feed]);
const SESSION: Needs = Needs::One(&[Scope::Live]);
const OPS: Needs = Needs::One(&[Scope::Ops]);

/// All doors.
pub const DOORS: &[Door] = &[
    door("POST", "/api/events/send", SEND),
    door("PUT", "/api/events/register", REGISTER),
    door("GET", "/api/events/register", REGISTER_OR_OPS),
    door("GET", "/api/events/register/{type}", REGISTER_OR_OPS),
    door("DELETE", "/api/events/register/{type}", REGISTER),
    door("GET", "/api/events/feed/{slice}/{at}", FEED),
    door("GET", "/api/events/feed/{slice}/{at}/client/{client}", FEED),
    door("GET", "/api/events/clients/{client}", FEED),
    door("GET", "/api/events/{id:[0-9]+}", FEED),
    door("PUT", "/api/events/{id:[0-9]+}/ok/{client}", FEED),
    door("DELETE", "/api/events/{id:[0-9]+}/ok/{client}", FEED),
    door("PUT", "/api/events/ok/{client}", FEED),
    door("GET", ENTRY, Needs::Token),
    door(LIVE, ENTRY, SESSION),
    door("GET", "/api/events/discarded", OPS),
    door("GET", "/api/events/nodes", OPS),
    door("GET", "/api/events/overview", OPS),
    door("GET", "/api/events/counts", OPS),
    door("GET", "/api/events/store", OPS),
    door("GET", "/metrics", OPS),
    door("GET", "/api/events/streams", OPS),
    door("GET", "/api/events/streams/{type}/{name}", OPS),
    door("PATCH", "/api/events/streams/{type}/{name}", OPS),
    door("DELETE", "/api/events/streams/{type}/{name}", OPS),
    door("GET", "/api/events/streams/{type}/{name}/attempts", OPS),
    door("GET", "/api/events/streams/{type}/{name}/dead", OPS),
    door("DELETE", "/api/events/streams/{type}/{name}/dead", OPS),
    door("POST", "/api/events/streams/{type}/{name}/dead/retry", OPS),
    door("POST", "/api/events/streams/{type}/{name}/replay", OPS),
    // It brings the token that it is about.
    door("POST", "/api/session", Needs::Nothing),
    door("GET", "/api/session", Needs::Token),
    door("DELETE", "/api/session", Needs::Nothing),
    // Whoever supervises the process has no token, and learns which part stands still, not why.
    door("GET", "/healthz", Needs::Nothing),
    door("GET", "/readyz", Needs::Nothing),
    // What the API is is no secret.
    door("GET", "/openapi.json", Needs::Nothing),
    door("GET", "/docs", Needs::Nothing),
    door("GET", "/docs/{file}", Needs::Nothing),
    // The page asks for a token itself.
    door("GET", "/", Needs::Nothing),
    door("GET", "/assets/{file}", Needs::Nothing),
];

const fn door(method: &'static str, path: &'static str, needs: Needs) -> Door {
    Door { method, path, needs }
}

/// The doors of one resource.
#[derive(Debug, Clone)]
pub struct Doors {
    path: &'static str,
    doors: Vec<(&'static str, Needs)>,
    /// As its `Allow` header has it.
    allow: &'static str,
}

impl Doors {
    /// Those of the resource at `path`, which answers 405 to methods that are not in `allow`.
    pub fn of(path: &'static str, allow: &'static str) -> Self {
        let doors = DOORS.iter().filter(|door| door.path == path).map(|door| (door.method, door.needs)).collect();
        Self { path, doors, allow }
    }

    /// Whether this is where live sessions begin.
    pub fn is_entry(&self) -> bool {
        self.path == ENTRY
    }

    /// What a method needs; `None` when nobody may pass.
    pub fn needs(&self, method: &str) -> Option<Needs> {
        let method = if method == "HEAD" { "GET" } else { method };
        if let Some((_, needs)) = self.doors.iter().find(|(known, _)| *known == method) {
            return Some(*needs);
        }
        // What is no method of the resource is told so, and `OPTIONS` says what is.
        let unknown = method == "OPTIONS" || !self.allow.split(", ").any(|known| known == method);
        unknown.then_some(Needs::Nothing)
    }
}

#[cfg(test)]
#[path = "doors_tests.rs"]
mod tests;
