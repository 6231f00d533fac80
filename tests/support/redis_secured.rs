//! Servers that also speak TLS, and let nobody in without a name and a password.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::PathBuf;
use tempfile::TempDir;

/// Who may do everything: the tests, and the servers among themselves.
pub const ADMIN: (&str, &str) = ("admin", "admin-secret");
/// Whom the hub is known as; the password is not what a URL takes as it is.
pub const HUB: (&str, &str) = ("hub", "hub/secret@here");
/// What the hub may do on data nodes: as `docs/operations.md` recommends.
const RIGHTS: &str = "resetchannels ~es:* &es:* -@all +@read +@write +@scripting +@pubsub +@connection -@dangerous \
    +time +wait +info +role +config|get +cluster|info +cluster|slots";
/// What it may do on Sentinels.
const SENTINEL_RIGHTS: &str = "-@all +@connection -@dangerous +sentinel|master +sentinel|get-master-addr-by-name";

/// A folder with an authority, what it has signed for `localhost` and 127.0.0.1, and users.
pub struct Secured(TempDir);

impl Secured {
    /// A new authority that nobody knows.
    pub fn new() -> Self {
        let secured = Self(tempfile::tempdir().expect("a temporary folder"));
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another than that of what it signs: OpenSSL would take that for signed by itself.
        authority.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, key).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let signed = CertificateParams::new(names).expect("parameters").signed_by(&key, &authority);
        let users = users(RIGHTS).map(|user| format!("{user}\n")).concat();
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("cert.pem", signed.expect("a certificate").pem()),
            ("key.pem", key.serialize_pem()),
            ("users.acl", users),
        ] {
            std::fs::write(secured.file(name), text).expect("a file");
        }
        secured
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The authority's certificate, for `SSL_CERT_FILE`.
    pub fn authority(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// How a server listens on `port` for TLS, and speaks it with its like.
    fn tls(&self, port: u16) -> Vec<(&'static str, String)> {
        let file = |name| self.file(name).display().to_string();
        vec![
            ("tls-port", port.to_string()),
            ("tls-cert-file", file("cert.pem")),
            ("tls-key-file", file("key.pem")),
            ("tls-ca-cert-file", file("ca.pem")),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-replication", "yes".to_owned()),
        ]
    }

    /// Arguments of a data node.
    pub fn arguments(&self, port: u16) -> Vec<String> {
        let mut settings = self.tls(port);
        settings.extend([
            ("tls-cluster", "yes".to_owned()),
            ("aclfile", self.file("users.acl").display().to_string()),
            ("masteruser", ADMIN.0.to_owned()),
            ("masterauth", ADMIN.1.to_owned()),
        ]);
        settings.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    }

    /// Lines of a Sentinel's settings.
    pub fn sentinel(&self, port: u16) -> String {
        let (name, password) = ADMIN;
        let mut lines: Vec<String> =
            self.tls(port).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
        lines.extend(users(SENTINEL_RIGHTS));
        lines.push(format!("sentinel sentinel-user {name}\nsentinel sentinel-pass {password}"));
        lines.push(format!("sentinel auth-user main {name}\nsentinel auth-pass main {password}"));
        lines.join("\n") + "\n"
    }
}

/// Nobody is somebody without a name.
fn users(of_hub: &str) -> [String; 3] {
    [
        "user default off".to_owned(),
        format!("user {} on >{} ~* &* +@all", ADMIN.0, ADMIN.1),
        format!("user {} on >{} {of_hub}", HUB.0, HUB.1),
    ]
}

/// The hub's name and password as they stand in a URL, with the `@`.
pub fn in_url() -> String {
    format!("{}:{}@", HUB.0, HUB.1.replace('/', "%2F").replace('@', "%40"))
}
