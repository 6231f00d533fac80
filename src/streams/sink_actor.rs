//! The SinkActor: one stream's delivery, as the rest of the hub talks to it.
//!
//! Its handlers only pass on; the work is done by the task of [`delivery`](super::delivery), which the
//! actor was made together with. The queue that `mailbox` bounds is that task's window of claimed
//! events; the actix mailbox, which holds hints and control messages, has the same figure.

use super::delivery::{Command, Shared};
use super::{Respecify, SinkStatus, Status, Stop, Wake};
use actix::prelude::*;
use std::rc::Rc;
use tokio::sync::{mpsc, oneshot};

/// Delivers one stream's events.
pub struct SinkActor {
    shared: Rc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    mailbox: usize,
    /// Dropped with the actor, which its supervisor sees.
    _alive: oneshot::Sender<()>,
}

impl SinkActor {
    pub(super) fn new(
        shared: Rc<Shared>,
        commands: mpsc::UnboundedSender<Command>,
        mailbox: usize,
        alive: oneshot::Sender<()>,
    ) -> Self {
        Self { shared, commands, mailbox, _alive: alive }
    }
}

impl Actor for SinkActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.mailbox);
    }
}

impl Handler<Wake> for SinkActor {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        self.shared.wake.notify_one();
    }
}

impl Handler<Respecify> for SinkActor {
    type Result = ();

    fn handle(&mut self, new: Respecify, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(new.spec.mailbox);
        // A task that has ended is rebuilt by its supervisor with the newest specification.
        let _ = self.commands.send(Command::Respecify(new));
    }
}

impl Handler<Stop> for SinkActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Stop(grace): Stop, _: &mut Self::Context) -> Self::Result {
        let (done, stopped) = oneshot::channel();
        let sent = self.commands.send(Command::Stop(grace, done));
        Box::pin(async move {
            if sent.is_ok() {
                // An error means that the task has ended otherwise: nothing is held any more either.
                let _ = stopped.await;
            }
        })
    }
}

impl Handler<Status> for SinkActor {
    type Result = SinkStatus;

    fn handle(&mut self, _: Status, _: &mut Self::Context) -> Self::Result {
        self.shared.status.borrow().clone()
    }
}
