//! A listener's certificates: chosen by SNI, read again when their files change.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::plan::{CertPlan, ListenerTls};

/// The certificates in use.
#[derive(Debug)]
pub struct CertStore {
    plan: ListenerTls,
    keys: Arc<Keys>,
    config: Arc<ServerConfig>,
}

/// What handshakes look certificates up in; replaced as a whole.
#[derive(Debug)]
struct Keys(ArcSwap<Index>);

/// Certificates in the order of the configuration, and by the names they are for.
#[derive(Debug)]
struct Index {
    keys: Vec<Arc<CertifiedKey>>,
    /// Places by name in lower case, `*.` names among them; the first of equals counts.
    by_name: HashMap<String, usize>,
}

impl Index {
    fn of(keys: Vec<Arc<CertifiedKey>>) -> Self {
        let mut by_name = HashMap::new();
        for (place, key) in keys.iter().enumerate() {
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
        self.keys.get(named.copied().unwrap_or(0))
    }
}

impl CertStore {
    /// Reads all certificates. The error is a sentence that names the file.
    pub fn open(plan: &ListenerTls) -> Result<Self, String> {
        let keys = plan.certs.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let keys = Arc::new(Keys(ArcSwap::from_pointee(Index::of(keys))));
        let config = Arc::new(server_config(keys.clone()));
        Ok(Self { plan: plan.clone(), keys, config })
    }

    /// What a TLS listener serves by.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Reads the files again. A certificate that cannot be read keeps its old state.
    pub fn reload(&self) {
        let old = self.keys.0.load();
        let fresh = self.plan.certs.iter().enumerate().filter_map(|(place, cert)| {
            read(cert)
                .map_err(|error| tracing::warn!("{error}; the old one stays"))
                .ok()
                .or_else(|| old.keys.get(place).cloned())
        });
        let fresh = Index::of(fresh.collect());
        self.keys.0.store(Arc::new(fresh));
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

fn server_config(keys: Arc<Keys>) -> ServerConfig {
    let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(keys);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Each ticket costs a signature's worth of a handshake; one resumes as well as two.
    config.send_tls13_tickets = 1;
    if let Ok(ticketer) = rustls::crypto::aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
    }
    config
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
    let certified = CertifiedKey::from_der(chain, private, &provider)
        .map_err(|error| format!("the key {key} does not fit the certificate {cert}: {error}"))?;
    Ok(Arc::new(certified))
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().choose(hello.server_name()).cloned()
    }
}
