//! A listener's certificates: chosen by SNI, read again when their files change; and whose
//! certificates it asks of clients.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::client_trust;
use crate::plan::{CertPlan, ClientCertsPlan, ListenerTls};

/// The certificates in use.
#[derive(Debug)]
pub struct CertStore {
    plan: ListenerTls,
    keys: Arc<Keys>,
    /// Made anew when other clients are trusted, and its ticket keys with it: a session that began
    /// before is not resumed.
    config: ArcSwap<ServerConfig>,
    /// The files that say which clients are, as they were read last.
    trusted: Mutex<Vec<Vec<u8>>>,
}

/// What handshakes look certificates up in; replaced as a whole.
#[derive(Debug)]
struct Keys(ArcSwap<Index>);

/// Certificates in the order of the configuration, and by the names they are for.
#[derive(Debug)]
struct Index {
    keys: Vec<Option<Arc<CertifiedKey>>>,
    /// Places by name in lower case, `*.` names among them; the first of equals counts.
    by_name: HashMap<String, usize>,
}

impl Index {
    fn of(keys: Vec<Option<Arc<CertifiedKey>>>) -> Self {
        let mut by_name = HashMap::new();
        for (place, key) in keys.iter().enumerate() {
            let Some(key) = key else { continue };
            let Ok(cert) = webpki::EndEntityCert::try_from(&key.cert[0]) else { continue };
            for name in cert.valid_dns_names() {
                by_name.entry(name.to_ascii_lowercase()).or_insert(place);
            }
        }
        Self { keys, by_name }
    }

    /// The certificate for a name, the first for one that none is for.
    fn choose(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wild = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(&name).or_else(wild)
        });
        match named {
            Some(place) => self.keys[*place].as_ref(),
            None => self.keys.iter().flatten().next(),
        }
    }
}

impl CertStore {
    /// Reads what can be read: one bad certificate does not take the others down. The error is a
    /// sentence that names the file; there is one only when no certificate is left, or it is not
    /// known whose clients to trust.
    pub fn open(plan: &ListenerTls) -> Result<Self, String> {
        let mut failed = Vec::new();
        let keys =
            plan.certs.iter().map(|cert| read(cert).map_err(|error| failed.push(error)).ok());
        let keys: Vec<_> = keys.collect();
        if keys.iter().all(Option::is_none) {
            return Err(failed.join("; "));
        }
        for error in failed {
            tracing::error!("{error}; its names are served by the first certificate");
        }
        let keys = Arc::new(Keys(ArcSwap::from_pointee(Index::of(keys))));
        let (verifier, trusted) = match &plan.clients {
            Some(clients) => (Some(client_trust::verifier(clients)?), contents(clients)?),
            None => (None, Vec::new()),
        };
        let config = ArcSwap::from_pointee(server_config(keys.clone(), verifier));
        Ok(Self { plan: plan.clone(), keys, config, trusted: Mutex::new(trusted) })
    }

    /// Whether everything can be read, for an edit that is to be taken whole or not at all.
    pub fn check(plan: &ListenerTls) -> Result<(), String> {
        plan.clients.as_ref().map(client_trust::verifier).transpose()?;
        plan.certs.iter().try_for_each(|cert| read(cert).map(drop))
    }

    /// What a TLS listener serves by.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Reads the files again. What cannot be read keeps its old state.
    pub fn reload(&self) {
        let old = self.keys.0.load();
        let fresh = self.plan.certs.iter().zip(&old.keys).map(|(cert, old)| {
            let kept = |error| tracing::warn!("{error}; the old one stays");
            read(cert).map_err(kept).ok().or_else(|| old.clone())
        });
        let fresh = Index::of(fresh.collect());
        self.keys.0.store(Arc::new(fresh));
        if let Some(clients) = &self.plan.clients
            && let Err(error) = self.reload_clients(clients)
        {
            tracing::warn!("{error}; which clients are trusted stays as it was");
        }
    }

    fn reload_clients(&self, clients: &ClientCertsPlan) -> Result<(), String> {
        let fresh = contents(clients)?;
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if *trusted != fresh {
            let verifier = client_trust::verifier(clients)?;
            self.config.store(Arc::new(server_config(self.keys.clone(), Some(verifier))));
            *trusted = fresh;
        }
        Ok(())
    }

    /// Whether the certificate that is shown for `name` is for `host` too.
    pub fn covers(&self, name: &str, host: &str) -> bool {
        let index = self.keys.0.load();
        let Some(key) = index.choose(Some(name)) else { return false };
        let Ok(host) = ServerName::try_from(host) else { return false };
        ParsedCertificate::try_from(&key.cert[0])
            .is_ok_and(|cert| rustls::client::verify_server_name(&cert, &host).is_ok())
    }
}

fn server_config(keys: Arc<Keys>, clients: Option<Arc<dyn ClientCertVerifier>>) -> ServerConfig {
    let config = match clients {
        Some(verifier) => ServerConfig::builder().with_client_cert_verifier(verifier),
        None => ServerConfig::builder().with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(keys);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Each ticket costs a signature's worth of a handshake; one resumes as well as two.
    config.send_tls13_tickets = 1;
    // Its keys change every six hours and decrypt for twelve.
    if let Ok(ticketer) = rustls::crypto::aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
    }
    config
}

/// What the files hold that say which clients are trusted.
fn contents(clients: &ClientCertsPlan) -> Result<Vec<Vec<u8>>, String> {
    std::iter::once(&clients.ca).chain(&clients.crl).map(|path| bytes_of(path)).collect()
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The response to be stapled. A certificate is shown without one rather than not at all.
fn staple(path: &Path) -> Option<Vec<u8>> {
    /// What every DER structure of several parts begins with.
    const SEQUENCE: u8 = 0x30;
    let read = bytes_of(path).and_then(|bytes| match bytes.first() {
        Some(&SEQUENCE) => Ok(bytes),
        _ => Err(format!("{} holds no OCSP response", path.display())),
    });
    read.map_err(|error| tracing::warn!("{error}; nothing is stapled")).ok()
}

fn read(plan: &CertPlan) -> Result<Arc<CertifiedKey>, String> {
    let (cert, key) = (plan.cert.display(), plan.key.display());
    let chain = CertificateDer::pem_file_iter(&plan.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cannot read the certificate {cert}: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{cert} holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(&plan.key)
        .map_err(|error| format!("cannot read the key {key}: {error}"))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut certified = CertifiedKey::from_der(chain, private, &provider)
        .map_err(|error| format!("the key {key} does not fit the certificate {cert}: {error}"))?;
    certified.ocsp = plan.ocsp.as_deref().and_then(staple);
    Ok(Arc::new(certified))
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().choose(hello.server_name()).cloned()
    }
}
