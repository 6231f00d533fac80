//! Who may do what: by the table of doors, so that it cannot say anything else.

use crate::http::doors::{DOORS, LIVE, Needs};
use crate::http::sign_in;
use serde_json::{Map, Value, json};

/// The ways to say who one is.
pub fn schemes() -> Value {
    json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "One of `auth.tokens`; where there are none nobody is asked. A browser's WebSocket may send it as the \
    subprotocols `bearer, TOKEN`. A token may be limited to types and to a client. `RateLimit` and `RateLimit-Policy` of an \
    answer say where a token with a rate stands.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": sign_in::NAME,
            "description": "What a page of the hub got for its token at `/api/session`.",
        },
    })
}

/// Says of each operation what it needs, and that it may be refused.
pub fn guard(paths: &mut Map<String, Value>) {
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten().filter(|(name, _)| *name != "parameters")
        {
            let Some(operation) = operation.as_object_mut() else { continue };
            let statuses: &[u16] = match needs(path, &method.to_uppercase()) {
                Needs::Nothing => &[403],
                Needs::Token => {
                    operation.insert("security".into(), security(&[&[]]));
                    &[401, 403, 429]
                }
                Needs::One(scopes) => {
                    let any: Vec<_> = scopes.iter().map(|scope| vec![scope.as_str()]).collect();
                    operation.insert("security".into(), security(&any.iter().map(Vec::as_slice).collect::<Vec<_>>()));
                    let names: Vec<_> = scopes.iter().map(|scope| format!("`{}`", scope.as_str())).collect();
                    describe(operation, &format!("Scope: {}.", names.join(" or ")));
                    &[401, 403, 429]
                }
            };
            if let Some(live) = DOORS.iter().find(|door| door.method == LIVE && door.path == path && method == "get")
                && let Needs::One([scope]) = live.needs
            {
                describe(operation, &format!("Scope of a session: `{}`.", scope.as_str()));
            }
            if let Some(answers) = operation.get_mut("responses").and_then(Value::as_object_mut) {
                answers.extend(statuses.iter().map(|status| {
                    (status.to_string(), json!({ "$ref": format!("#/components/responses/Problem{status}") }))
                }));
            }
        }
    }
}

/// What a door needs; one that is not in the table is shut to everybody, as if it needed what nobody has.
fn needs(path: &str, method: &str) -> Needs {
    let door = DOORS.iter().find(|door| door.method == method && door.path.replace(":[0-9]+", "") == path);
    door.map_or(Needs::One(&[]), |door| door.needs)
}

/// Any of these lists of scopes, by token or cookie.
fn security(any: &[&[&str]]) -> Value {
    any.iter().flat_map(|scopes| [json!({ "token": scopes }), json!({ "session": scopes })]).collect()
}

fn describe(operation: &mut Map<String, Value>, more: &str) {
    let before = operation.get("description").and_then(Value::as_str).map(|text| format!("{text}\n\n"));
    operation.insert("description".into(), json!(before.unwrap_or_default() + more));
}
