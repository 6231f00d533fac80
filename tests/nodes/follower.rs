//! A live session of one type that comes back whenever it ends, with its last id, to the next node.

use crate::client::Known;
use crate::support::api::number;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// The session; ends with its owner.
pub struct Follower {
    /// The ids that it has been sent, in their order.
    pub seen: Rc<RefCell<Vec<u64>>>,
    /// Times that it was opened.
    pub opened: Rc<Cell<usize>>,
    hang_up: Rc<Notify>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Follows `ty` from after the event `since` on, beginning with the node at `first`.
    pub fn start(known: &Known, first: usize, ty: &'static str, since: &str) -> Self {
        let (seen, opened) = (Rc::<RefCell<Vec<u64>>>::default(), Rc::<Cell<usize>>::default());
        let hang_up = Rc::<Notify>::default();
        let (known, since) = (Rc::clone(known), since.to_owned());
        let (sight, times, end) = (Rc::clone(&seen), Rc::clone(&opened), Rc::clone(&hang_up));
        let follow = async move { follow(&known, first, ty, since, &sight, &times, &end).await };
        Self { seen, opened, hang_up, task: actix_web::rt::spawn(follow) }
    }

    /// Ends the session without a word; it comes back.
    pub fn hang_up(&self) {
        self.hang_up.notify_one();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    known: &Known,
    first: usize,
    ty: &str,
    mut since: String,
    seen: &RefCell<Vec<u64>>,
    opened: &Cell<usize>,
    hang_up: &Notify,
) {
    for turn in first.. {
        let address = {
            let known = known.borrow();
            known[turn % known.len()]
        };
        let url = format!("ws://{address}/api/events/?types={ty}&since={since}");
        let Ok((mut socket, _)) = connect_async(&url).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        opened.set(opened.get() + 1);
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                () = hang_up.notified() => break,
            };
            let Some(Ok(message)) = message else { break };
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).expect("a frame is JSON");
            if message["control"].is_string() {
                assert_eq!((&message["control"], &message["complete"]), (&json!("resumed"), &json!(true)), "{message}");
                continue;
            }
            message["id"].as_str().expect("an id").clone_into(&mut since);
            seen.borrow_mut().push(number(&since));
        }
    }
}
