//! Secrets and signatures of Standard Webhooks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// Starts every secret.
const PREFIX: &str = "whsec_";

/// A key that signs messages. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret {
    text: String,
    key: Vec<u8>,
}

impl Secret {
    /// Reads `whsec_` and 24 to 64 bytes in base64.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        text.strip_prefix(PREFIX)
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .filter(|key| (24..=64).contains(&key.len()))
            .map(|key| Self { text: text.to_owned(), key })
            .ok_or("must be \"whsec_\" and 24 to 64 bytes in base64")
    }

    /// The secret with this key.
    pub fn generate(key: [u8; 32]) -> Self {
        Self { text: format!("{PREFIX}{}", STANDARD.encode(key)), key: key.to_vec() }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut out = String::from("v1,");
        // HMAC takes keys of any length, so there is always a signature.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) {
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut out);
        }
        out
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_***")
    }
}

/// The value of `webhook-signature`: one signature a secret, separated by spaces.
pub(super) fn signature(secrets: &[Secret], id: &str, timestamp: &str, body: &[u8]) -> String {
    secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the Standard Webhooks reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_published_vector_is_signed_alike() {
        let secret = Secret::parse(SECRET).unwrap();
        assert_eq!(signature(&[secret], ID, TIMESTAMP, BODY), SIGNATURE);
    }

    #[test]
    fn each_secret_signs_while_rotating() {
        let secrets = [Secret::generate([7; 32]), Secret::parse(SECRET).unwrap()];
        let both = signature(&secrets, ID, TIMESTAMP, BODY);
        let (first, second) = both.split_once(' ').unwrap();
        assert!(first.starts_with("v1,") && first != second);
        assert_eq!(second, SIGNATURE);
    }

    #[test]
    fn a_generated_secret_is_read_back_and_never_printed() {
        let secret = Secret::generate([200; 32]);
        assert_eq!(Secret::parse(secret.as_str()).unwrap(), secret);
        assert!(!format!("{secret:?}").contains(&secret.as_str()[6..]));
    }

    #[test]
    fn other_lengths_and_spellings_are_refused() {
        let of = |n: usize| format!("whsec_{}", STANDARD.encode(vec![1; n]));
        assert!(Secret::parse(&of(24)).is_ok() && Secret::parse(&of(64)).is_ok());
        for bad in [of(23), of(65), "whsec_".into(), "whsec_?".into(), of(32).replace("whsec_", ""), String::new()] {
            assert!(Secret::parse(&bad).is_err(), "{bad}");
        }
    }
}
