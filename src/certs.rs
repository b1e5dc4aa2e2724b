//! A listener's certificates: chosen by SNI, read again when their files change.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::plan::{CertPlan, ListenerTls};

/// The certificates in use.
#[derive(Debug)]
pub struct CertStore {
    plan: ListenerTls,
    keys: Arc<Keys>,
}

#[derive(Debug)]
struct Keys(ArcSwap<Vec<Arc<CertifiedKey>>>);

impl CertStore {
    /// Reads all certificates. The error is a sentence that names the file.
    pub fn open(plan: &ListenerTls) -> Result<Self, String> {
        let keys = plan.certs.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { plan: plan.clone(), keys: Arc::new(Keys(ArcSwap::from_pointee(keys))) })
    }

    /// What a TLS listener serves by.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_cert_resolver(self.keys.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Each ticket costs a signature's worth of a handshake; one resumes as well as two.
        config.send_tls13_tickets = 1;
        if let Ok(ticketer) = rustls::crypto::aws_lc_rs::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Arc::new(config)
    }

    /// Reads the files again. A certificate that cannot be read keeps its old state.
    pub fn reload(&self) {
        let old = self.keys.0.load();
        let fresh = self.plan.certs.iter().enumerate().filter_map(|(place, cert)| {
            read(cert)
                .map_err(|error| tracing::warn!("{error}; the old one stays"))
                .ok()
                .or_else(|| old.get(place).cloned())
        });
        let fresh: Vec<_> = fresh.collect();
        self.keys.0.store(Arc::new(fresh));
    }
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
        let keys = self.0.load();
        let named = hello.server_name().and_then(|name| {
            let name = rustls::pki_types::ServerName::try_from(name.to_owned()).ok()?;
            let fits = |key: &&Arc<CertifiedKey>| {
                let cert = rustls::server::ParsedCertificate::try_from(&key.cert[0]);
                cert.is_ok_and(|cert| rustls::client::verify_server_name(&cert, &name).is_ok())
            };
            keys.iter().find(fits).cloned()
        });
        named.or_else(|| keys.first().cloned())
    }
}
