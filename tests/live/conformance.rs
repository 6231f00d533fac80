//! RFC 6455, section by section, with raw frames: what is right is answered, what is wrong ends the connection, with
//! the right code where there is one, and nothing hangs.

use crate::raw::{Frame, Raw, masked};
use crate::support::hub::{Hub, Setup};
use serde_json::{Value, json};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// Without FIN.
const TEXT_BEGINS: u8 = 0x01;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;

async fn hub() -> Hub {
    let hub = Setup::embedded().start().await;
    hub.register("t", "1h").await;
    hub
}

async fn control(session: &mut Raw) -> Value {
    let frame = session.frame().await.expect("a control message");
    assert_eq!(frame.first, TEXT);
    serde_json::from_slice(&frame.payload).expect("JSON")
}

#[actix_web::test]
async fn a_ping_is_answered_with_its_own_payload() {
    let hub = hub().await;
    let mut session = Raw::open(&hub).await;
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        session.write(&masked(PING, payload)).await.expect("a ping");
        assert_eq!(session.frame().await, Some(Frame { first: PONG, payload: payload.to_vec() }));
    }
    // A pong that nobody asked for is allowed, and means nothing.
    session.write(&masked(PONG, b"unasked")).await.expect("a pong");
    session.write(&masked(PING, b"still")).await.expect("a ping");
    assert_eq!(session.frame().await, Some(Frame { first: PONG, payload: b"still".to_vec() }));
}

#[actix_web::test]
async fn a_message_may_come_in_fragments_with_control_frames_in_between() {
    let hub = hub().await;
    let mut session = Raw::open(&hub).await;
    // Cut inside a character.
    let whole = r#"{"subscribe":["é"]}"#.as_bytes();
    let mut bytes = masked(TEXT_BEGINS, &whole[..5]);
    bytes.extend(masked(PING, b"between"));
    bytes.extend(masked(GOES_ON, &whole[5..16]));
    bytes.extend(masked(ENDS, &whole[16..]));
    session.write(&bytes).await.expect("frames");
    assert_eq!(session.frame().await, Some(Frame { first: PONG, payload: b"between".to_vec() }));
    // No type has such a name: an error that says so, for one whole message.
    assert_eq!(control(&mut session).await["control"], "error");
    let mut bytes = masked(TEXT_BEGINS, br#"{"subscribe":"#);
    bytes.extend(masked(GOES_ON, b""));
    bytes.extend(masked(ENDS, br#"["t"]}"#));
    session.write(&bytes).await.expect("frames");
    assert_eq!(control(&mut session).await["control"], "subscribed");
    let sent = hub.send("t", json!(1)).await;
    assert_eq!(control(&mut session).await["id"], sent.id.as_str());
}

#[actix_web::test]
async fn a_message_may_come_byte_by_byte() {
    let hub = hub().await;
    let mut session = Raw::open(&hub).await;
    for byte in masked(TEXT, br#"{"subscribe":["t"]}"#) {
        session.write(&[byte]).await.expect("a byte");
    }
    assert_eq!(control(&mut session).await["control"], "subscribed");
}

#[actix_web::test]
async fn a_close_is_answered_and_the_connection_ends() {
    let hub = hub().await;
    for (payload, code) in [
        (&b""[..], None),
        (&1000_u16.to_be_bytes(), Some(1000)),
        (b"\x03\xe9going", Some(1001)),
        (&4321_u16.to_be_bytes(), Some(4321)),
    ] {
        let mut session = Raw::open(&hub).await;
        session.write(&masked(CLOSE, payload)).await.expect("a close");
        assert_eq!(session.ended().await, code, "{payload:?}");
    }
}

#[actix_web::test]
async fn what_is_wrong_ends_the_connection_with_its_code() {
    let hub = hub().await;
    let long = vec![b'x'; 70_000];
    let mut fragments = masked(TEXT_BEGINS, &long[..40_000]);
    fragments.extend(masked(ENDS, &long[..40_000]));
    let mut interrupted = masked(TEXT_BEGINS, b"{");
    interrupted.extend(masked(TEXT, b"{}"));
    let mut invalid = masked(TEXT_BEGINS, b"\xc3");
    invalid.extend(masked(ENDS, b"\x28"));
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("an unmasked frame", vec![TEXT, 2, b'{', b'}'], &[1002]),
        ("a reserved opcode", masked(0x83, b"x"), &[1002]),
        ("a reserved control opcode", masked(0x8b, b""), &[1002]),
        ("a ping in fragments", masked(0x09, b"x"), &[1002]),
        ("a ping that is too long", masked(PING, &[b'x'; 126]), &[1002]),
        ("a close that is too long", masked(CLOSE, &[b'x'; 126]), &[1002]),
        ("half a close code", masked(CLOSE, b"\x03"), &[1002]),
        ("a close code that is none", masked(CLOSE, &999_u16.to_be_bytes()), &[1002]),
        ("a close code that must not be sent", masked(CLOSE, &1005_u16.to_be_bytes()), &[1002]),
        ("a continuation of nothing", masked(ENDS, b"x"), &[1002]),
        ("a message inside another", interrupted, &[1002]),
        ("text that is not UTF-8", masked(TEXT, b"\xff\xfe"), &[1007]),
        ("fragments that are not UTF-8", invalid, &[1007]),
        ("a message over 64 KiB", masked(TEXT, &long), &[1009]),
        ("fragments over 64 KiB", fragments, &[1009]),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, codes) in cases {
        let mut session = Raw::open(&hub).await;
        // It may be gone before it has taken everything.
        let _ = session.write(&bytes).await;
        match session.ended().await {
            Some(code) if codes.contains(&code) => {}
            // The codec ends some connections before the session hears of it.
            other => wrong.push(format!("{what}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    hub.get("/healthz").await.expect(200);
}

#[actix_web::test]
async fn reserved_bits_never_hang_a_session() {
    let hub = hub().await;
    for bits in [0x40, 0x20, 0x10] {
        let mut session = Raw::open(&hub).await;
        session.write(&masked(TEXT | bits, br#"{"subscribe":["t"]}"#)).await.expect("a frame");
        // Either it is an error of the protocol, or the bit is passed over: no extension was agreed on.
        let frame = session.frame().await;
        let answered = frame.as_ref().is_none_or(|frame| frame.first == CLOSE || frame.first == TEXT);
        assert!(answered, "{frame:?}");
    }
}

#[actix_web::test]
async fn a_handshake_that_is_none_is_refused() {
    let hub = hub().await;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let version = ("Sec-WebSocket-Version", "13");
    for (what, headers) in [
        ("no key", vec![upgrade[0], upgrade[1], version]),
        ("no version", vec![upgrade[0], upgrade[1], key]),
        ("another version", vec![upgrade[0], upgrade[1], key, ("Sec-WebSocket-Version", "99")]),
        ("no connection header", vec![upgrade[1], key, version]),
    ] {
        let answer = hub.call("GET", "/api/events/", &headers, None).await;
        assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
        answer.problem(answer.status);
    }
}
