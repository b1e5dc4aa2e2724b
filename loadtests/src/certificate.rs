//! Which certificate do all proxies show, and how do clients check it?
//!
//! One self-signed P-256 certificate is made for a run. Clients offer TLS 1.3 with one cipher suite and
//! one key exchange and resume nothing, so that every proxy does the same cryptography.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tempfile::TempDir;

use crate::client::HOST;

/// A certificate with its key, as files for the proxies and as trust of the clients.
pub struct Certificate {
    home: TempDir,
    trust: Trust,
}

impl Certificate {
    /// Makes one and writes its files.
    pub fn make() -> io::Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
        let params = CertificateParams::new(vec![HOST.to_owned()]).map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        let home = tempfile::tempdir()?;
        fs::write(home.path().join("chain.pem"), certificate.pem())?;
        fs::write(home.path().join("key.pem"), key.serialize_pem())?;
        fs::write(home.path().join("both.pem"), certificate.pem() + &key.serialize_pem())?;
        Ok(Certificate { trust: Trust::in_only(certificate.der())?, home })
    }

    /// The file with the chain.
    pub fn chain(&self) -> PathBuf {
        self.home.path().join("chain.pem")
    }

    /// The file with the private key.
    pub fn key(&self) -> PathBuf {
        self.home.path().join("key.pem")
    }

    /// The file with both, chain first.
    pub fn both(&self) -> PathBuf {
        self.home.path().join("both.pem")
    }

    /// What a client needs to accept it.
    pub fn trust(&self) -> Trust {
        self.trust.clone()
    }
}

/// Opens client sessions that accept one certificate and no other.
#[derive(Debug, Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    fn in_only(certificate: &CertificateDer<'static>) -> io::Result<Self> {
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).map_err(io::Error::other)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Trust(Arc::new(config)))
    }

    /// The same for clients of HTTP/2.
    pub fn of_http_2(&self) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Trust(Arc::new(config))
    }

    /// A session that has sent nothing yet.
    pub fn session(&self) -> io::Result<ClientConnection> {
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)
    }
}
