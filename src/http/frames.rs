//! Bounds what a WebSocket client may send, before anything is buffered.
//!
//! The codec looks at a frame's length only once the whole frame is there, and reads ahead of what it
//! decodes: a client could make it hold any amount. So the bytes go through here first, one frame at a
//! time, and a message that announces more than it may ends the stream. Only lengths are looked at (RFC
//! 6455, 5.2); what the frames mean is the codec's business.

use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::stream::Stream;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// How a client's stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inflow {
    /// It has not.
    Open,
    /// The connection is gone.
    Disconnected,
    /// A message is larger than allowed.
    TooLarge,
}

/// Lets a client's frames through, or has them wait in its connection.
#[derive(Default)]
pub struct Gate {
    shut: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Gate {
    /// Nothing more goes through.
    pub fn shut(&self) {
        self.shut.set(true);
    }

    /// Everything goes through again; whether it was shut.
    pub fn open(&self) -> bool {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        self.shut.replace(false)
    }
}

/// A client's bytes, a frame at a time.
pub struct Frames<S> {
    gate: Rc<Gate>,
    bytes: S,
    /// Read and not yet passed on.
    ahead: Bytes,
    lengths: Lengths,
    /// A whole frame has been passed on that the codec has not been able to take yet.
    passed: bool,
    inflow: Rc<Cell<Inflow>>,
}

impl<S> Frames<S> {
    /// At most `limit` bytes a message, be it in one frame or in many. `inflow` says how it ended.
    pub fn new(bytes: S, limit: u64, inflow: Rc<Cell<Inflow>>, gate: Rc<Gate>) -> Self {
        Self { gate, bytes, ahead: Bytes::new(), lengths: Lengths::new(limit), passed: false, inflow }
    }
}

impl<S> Stream for Frames<S>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.gate.shut.get() {
            this.gate.waiting.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        while this.ahead.is_empty() {
            match ready!(Pin::new(&mut this.bytes).poll_next(cx)) {
                Some(Ok(bytes)) => this.ahead = bytes,
                end => {
                    this.inflow.set(Inflow::Disconnected);
                    return Poll::Ready(end);
                }
            }
        }
        if std::mem::take(&mut this.passed) {
            // The reader goes on reading for as long as there is something: it is made to decode first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match this.lengths.advance(&this.ahead) {
            Some((bytes, complete)) => {
                this.passed = complete;
                Poll::Ready(Some(Ok(this.ahead.split_to(bytes))))
            }
            None => {
                this.inflow.set(Inflow::TooLarge);
                Poll::Ready(Some(Err(PayloadError::Overflow)))
            }
        }
    }
}

/// Where frames end, and how large messages are.
#[derive(Debug)]
struct Lengths {
    limit: u64,
    /// The first bytes of a frame: flags and opcode, mask bit and length, the longer length.
    head: [u8; 10],
    /// How many of them are there.
    have: usize,
    /// Bytes until the frame ends; counts only once the head is complete.
    rest: u64,
    /// Bytes announced so far of a message in several frames.
    message: u64,
}

impl Lengths {
    fn new(limit: u64) -> Self {
        Self { limit, head: [0; 10], have: 0, rest: 0, message: 0 }
    }

    /// How many of `bytes` belong to the frame at hand, and whether it ends with them; `None` when its
    /// message is too large.
    fn advance(&mut self, bytes: &[u8]) -> Option<(usize, bool)> {
        let mut used = 0;
        while self.rest == 0 {
            let Some(byte) = bytes.get(used) else { return Some((used, false)) };
            if let Some(slot) = self.head.get_mut(self.have) {
                *slot = *byte;
            }
            self.have += 1;
            used += 1;
            if self.have == self.needed() && self.begin()? {
                return Some((used, true));
            }
        }
        let left = bytes.len() - used;
        let part = usize::try_from(self.rest).map_or(left, |rest| rest.min(left));
        self.rest -= part as u64;
        if self.rest == 0 {
            self.have = 0;
        }
        Some((used + part, self.rest == 0))
    }

    /// Bytes of the head, as far as can be known.
    fn needed(&self) -> usize {
        match (self.have, self.head[1] & 0x7f) {
            (..=1, _) => 2,
            (_, 126) => 4,
            (_, 127) => 10,
            _ => 2,
        }
    }

    /// The head is complete: whether the frame is, too. `None` when the message is too large.
    fn begin(&mut self) -> Option<bool> {
        let [first, second, ..] = self.head;
        let length = match self.needed() {
            4 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            10 => self.head[2..].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            _ => u64::from(second & 0x7f),
        };
        match first & 0x0f {
            0 => self.message = self.message.saturating_add(length),
            1 | 2 => self.message = length,
            // Control frames come in between, and are small or the codec refuses them.
            _ => {}
        }
        if length.max(self.message) > self.limit {
            return None;
        }
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        self.rest = length + mask;
        if self.rest == 0 {
            self.have = 0;
        }
        Some(self.rest == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use futures_util::stream;
    use proptest::prelude::*;

    fn frame(opcode: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(0x80 | length as u8),
            126..65536 => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(7, 4 + length));
        frame
    }

    /// What comes out when the bytes come in pieces of the given length.
    fn passed(bytes: &[u8], piece: usize, limit: u64) -> (Vec<Result<Vec<u8>, ()>>, Inflow) {
        let inflow = Rc::new(Cell::new(Inflow::Open));
        let pieces: Vec<_> = bytes.chunks(piece).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
        let frames = Frames::new(stream::iter(pieces), limit, Rc::clone(&inflow), Rc::default());
        let out = futures_util::FutureExt::now_or_never(async {
            let mut out = Vec::new();
            let mut frames = Box::pin(frames);
            loop {
                // A pause after each frame is meant; poll again.
                let next = std::future::poll_fn(|cx| Poll::Ready(frames.poll_next_unpin(cx))).await;
                match next {
                    Poll::Pending => {}
                    Poll::Ready(Some(Ok(bytes))) => out.push(Ok(bytes.to_vec())),
                    Poll::Ready(Some(Err(_))) => {
                        out.push(Err(()));
                        break out;
                    }
                    Poll::Ready(None) => break out,
                }
            }
        });
        (out.unwrap(), inflow.get())
    }

    #[test]
    fn a_frame_that_announces_too_much_is_refused_before_it_arrives() {
        for head in [frame(1, 65537)[..10].to_vec(), vec![0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255]] {
            let (out, inflow) = passed(&head, 1, 65536);
            assert_eq!((out.last(), inflow), (Some(&Err(())), Inflow::TooLarge));
        }
        assert_eq!(passed(&frame(1, 65536), 4096, 65536).1, Inflow::Disconnected);
    }

    #[test]
    fn a_message_in_many_frames_counts_as_one() {
        let mut bytes = frame(1, 60);
        bytes.extend(frame(9, 90));
        bytes.extend(frame(0, 40));
        assert_eq!(passed(&bytes, 7, 100).1, Inflow::Disconnected);
        bytes.extend(frame(0, 1));
        assert_eq!(passed(&bytes, 7, 100).1, Inflow::TooLarge);
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_and_one_at_a_time(
            lengths in prop::collection::vec(prop_oneof![0usize..300, 65_000usize..66_000], 1..8),
            piece in 1usize..5000,
        ) {
            let frames: Vec<_> = lengths.iter().map(|l| frame(2, *l)).collect();
            let (out, inflow) = passed(&frames.concat(), piece, 70_000);
            prop_assert_eq!(inflow, Inflow::Disconnected);
            let out: Vec<Vec<u8>> = out.into_iter().map(Result::unwrap).collect();
            prop_assert_eq!(out.concat(), frames.concat());
            // Every end of a frame is the end of a piece.
            let ends = |parts: &[Vec<u8>]| parts.iter().scan(0, |at, p| { *at += p.len(); Some(*at) }).collect::<Vec<_>>();
            let pieces = ends(&out);
            prop_assert!(ends(&frames).iter().all(|end| pieces.contains(end)));
        }
    }
}
