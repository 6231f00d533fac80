//! A WebSocket client of another language, where it is installed: the `websockets` package of Python.

use crate::support::hub::Setup;
use crate::support::wait::{PATIENCE, within};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Prints that it listens, then each message; says `ok` to the first event, and ends after the answer.
const CLIENT: &str = r#"
import asyncio, json, sys, websockets

async def main():
    async with websockets.connect(sys.argv[1]) as session:
        print("open", flush=True)
        event = await session.recv()
        print(event, flush=True)
        await session.send(json.dumps({"ok": json.loads(event)["id"], "client": "python"}))
        print(await session.recv(), flush=True)
    print(session.close_code, flush=True)

asyncio.run(main())
"#;

#[actix_web::test]
async fn the_websockets_package_is_a_client() {
    let installed = Command::new("python3").args(["-c", "import websockets"]).stderr(Stdio::null()).status().await;
    if !installed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: python3 has no websockets package");
        return;
    }
    let hub = Setup::embedded().start().await;
    hub.register("t", "1h").await;
    let url = format!("ws://{}/api/events/?types=t", hub.address());
    let client = Command::new("python3").args(["-c", CLIENT, &url]).stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let mut client = client.expect("python3 runs");
    let mut lines = BufReader::new(client.stdout.take().expect("a pipe")).lines();
    let mut next = async || within(PATIENCE, "a line", lines.next_line()).await.expect("text").expect("a line");
    assert_eq!(next().await, "open");
    let sent = hub.send_raw(r#"{"type":"t","payload":{"big":123456789012345678901234567890}}"#).await;
    assert!(next().await.contains(&format!(r#""id":"{}""#, sent.id)));
    let answer: Value = serde_json::from_str(&next().await).expect("JSON");
    assert_eq!((&answer["control"], &answer["acknowledge"]), (&json!("ok"), &json!(true)));
    assert_eq!(next().await, "1000");
    assert_eq!(hub.event(&sent.id).await["processed_by"], json!(["python"]));
}
