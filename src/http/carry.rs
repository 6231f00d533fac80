//! An answer on its way to the socket: how much of it is copied at a time, and until when it is the hub's turn.

use super::turn::Serving;
use actix_http::Response;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes of a large body that are given to the connection at a time. It copies what it is given, and a body may be shared.
const SLICE: usize = 128 << 10;

/// The answer as its connection takes it; `serving` ends with its last byte.
pub fn carry(answer: Response<BoxBody>, serving: Option<Serving>) -> Response<Carried> {
    answer.map_body(|_, body| Carried { body: Body::of(body), _serving: serving })
}

/// A body, and the turn that it belongs to.
pub struct Carried {
    body: Body,
    _serving: Option<Serving>,
}

enum Body {
    Whole(BoxBody),
    Sliced(Bytes),
}

impl Body {
    fn of(body: BoxBody) -> Self {
        match body.size() {
            BodySize::Sized(size) if size > SLICE as u64 => match body.try_into_bytes() {
                Ok(bytes) => Self::Sliced(bytes),
                Err(body) => Self::Whole(body),
            },
            _ => Self::Whole(body),
        }
    }
}

impl MessageBody for Carried {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        match &self.body {
            Body::Whole(body) => body.size(),
            Body::Sliced(left) => BodySize::Sized(left.len() as u64),
        }
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match &mut self.get_mut().body {
            Body::Whole(body) => Pin::new(body).poll_next(cx),
            Body::Sliced(left) if left.is_empty() => Poll::Ready(None),
            Body::Sliced(left) => Poll::Ready(Some(Ok(left.split_to(left.len().min(SLICE))))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[actix_web::test]
    async fn a_large_body_goes_in_slices_and_any_other_as_it_is() {
        for (size, slices) in [(0, 0), (1, 1), (SLICE, 1), (SLICE + 1, 2), (SLICE * 3, 3)] {
            let bytes: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let answer = Response::ok().set_body(BoxBody::new(bytes.clone()));
            let mut body = carry(answer, None).into_body();
            assert_eq!(body.size(), BodySize::Sized(size as u64));
            let (mut count, mut whole) = (0, Vec::new());
            while let Some(slice) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
                whole.extend_from_slice(&slice.unwrap());
                count += 1;
            }
            assert_eq!((whole == bytes, count), (true, slices), "{size}");
        }
    }
}
