//! TLS towards upstreams: verification is always on, against the system's roots or the file given;
//! who we are is shown where a certificate of our own is given.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::endpoint::Identity;
use crate::plan::ClientCert;

/// What a connection to one endpoint needs.
#[derive(Debug, Clone)]
pub struct ClientTls {
    pub config: Arc<ClientConfig>,
    pub server_name: ServerName<'static>,
}

impl ClientTls {
    /// Reads the files and checks the name; `None` for a protocol without TLS. The error is a
    /// sentence fragment that names the file.
    pub fn of(identity: &Identity) -> Result<Option<Self>, String> {
        let protocol = identity.protocol;
        if !protocol.is_tls() {
            return Ok(None);
        }
        let roots = match &identity.tls.ca {
            Some(path) => Arc::new(read_roots(path)?),
            None => system_roots()?,
        };
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match &identity.tls.client {
            None => config.with_no_client_auth(),
            Some(client) => {
                let (chain, key) = read_own(client)?;
                let shown = client.cert.display();
                config.with_client_auth_cert(chain, key).map_err(|error| {
                    format!("the certificate {shown} cannot be shown to upstreams: {error}")
                })?
            }
        };
        config.alpn_protocols = match protocol.is_h2() {
            true => vec![b"h2".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        let name = match &identity.tls.server_name {
            Some(name) => name.clone(),
            None => identity.address.host.to_string(),
        };
        let server_name = ServerName::try_from(name.clone())
            .map_err(|_| format!("`{name}` is no name that a certificate can have"))?;
        Ok(Some(Self { config: Arc::new(config), server_name }))
    }
}

/// A certificate of our own with its key.
fn read_own(
    client: &ClientCert,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = CertificateDer::pem_file_iter(&client.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cannot read {}: {error}", client.cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(&client.key)
        .map_err(|error| format!("cannot read the key {}: {error}", client.key.display()))?;
    Ok((chain, key))
}

/// Reads roots to trust. The error is a sentence fragment that names the file.
pub fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    let certs = CertificateDer::pem_file_iter(path)
        .map_err(|error| format!("cannot read the roots in {shown}: {error}"))?;
    for cert in certs {
        let cert = cert.map_err(|error| format!("cannot read the roots in {shown}: {error}"))?;
        roots.add(cert).map_err(|error| format!("{shown} holds a bad certificate: {error}"))?;
    }
    match roots.is_empty() {
        true => Err(format!("{shown} holds no certificate")),
        false => Ok(roots),
    }
}

/// The system's roots are read once: they are hundreds, and every endpoint shares them.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    match roots.is_empty() {
        true => Err("this system has no root certificates; name a file with `tls.ca`".into()),
        false => Ok(roots.clone()),
    }
}
