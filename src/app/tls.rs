//! The hub's certificate: read from its files, and again when these change. Connections that stand keep the one they
//! began with.

use crate::config::{BadSetting, TlsFiles};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// When a file was changed, and how long it is; `None` when it cannot be looked at.
type Stamp = Option<(SystemTime, u64)>;

/// The certificate in use. Asked at each handshake.
#[derive(Debug)]
pub(super) struct Certificates {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
    /// The files as they were last read, whatever came of it.
    seen: Mutex<[Stamp; 2]>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// One line that names the setting whose file cannot be used.
    pub fn open(files: &TlsFiles) -> Result<Arc<Self>, BadSetting> {
        let seen = Mutex::new(stamps(files));
        Ok(Arc::new(Self { files: files.clone(), current: RwLock::new(Arc::new(read(files)?)), seen }))
    }

    /// How the server does TLS.
    ///
    /// # Errors
    /// When the library has no version of the protocol left.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, BadSetting> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|e| BadSetting::new("http.tls", e))?;
        Ok(config.with_no_client_auth().with_cert_resolver(Arc::<Self>::clone(self)))
    }

    /// Reads the files again. A pair that cannot be used changes nothing.
    pub fn reload(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = stamps(&self.files);
        match read(&self.files) {
            Ok(pair) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                log::info!("the certificate was read again: file={}", self.files.cert.display());
            }
            Err(e) => log::error!("the certificate stays as it was: {e}"),
        }
    }

    /// Reads the files again whenever they have changed.
    pub async fn watch(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let certificates = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || {
                let seen = *certificates.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if stamps(&certificates.files) != seen {
                    certificates.reload();
                }
            });
            if looked.await.is_err() {
                log::error!("the certificate's files are not looked at any more, only at SIGHUP");
                return;
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn stamps(files: &TlsFiles) -> [Stamp; 2] {
    let stamp = |path: &Path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    [stamp(&files.cert), stamp(&files.key)]
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, BadSetting> {
    const CERT: &str = "http.tls.cert";
    const KEY: &str = "http.tls.key";
    let text = |name, path: &Path| {
        std::fs::read(path).map_err(|e| BadSetting::new(name, format!("cannot read {}: {e}", path.display())))
    };
    let wrong =
        |name, path: &Path, what: String| BadSetting::new(name, format!("{} cannot be used: {what}", path.display()));
    let chain = CertificateDer::pem_slice_iter(&text(CERT, &files.cert)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| wrong(CERT, &files.cert, e.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(CERT, &files.cert, "there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&text(KEY, &files.key)?);
    let key = key.map_err(|e| wrong(KEY, &files.key, e.to_string()))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key);
    let key = key.map_err(|e| wrong(KEY, &files.key, e.to_string()))?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(wrong(KEY, &files.key, format!("it is not the key of {}", files.cert.display())))
        }
        Err(e) => Err(wrong(CERT, &files.cert, e.to_string())),
    }
}
