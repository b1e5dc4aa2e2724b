//! Certificates made for a test, and clients that look at what they are shown.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate and its key.
pub struct Identity {
    pub cert: String,
    pub key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Identity {
    /// A certificate for these names that vouches for itself.
    pub fn of(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Self {
            cert: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
            key_der: made.signing_key.serialize_der(),
        }
    }

    /// What an upstream serves by.
    pub fn server(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key_der.clone()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![self.der.clone()], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// What an upstream serves by that takes no client but one with this certificate.
    pub fn server_for(&self, client: &Self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key_der.clone()).unwrap();
        let roots = rustls::server::WebPkiClientVerifier::builder(Arc::new(client.roots()));
        let config = ServerConfig::builder().with_client_cert_verifier(roots.build().unwrap());
        Arc::new(config.with_single_cert(vec![self.der.clone()], key).unwrap())
    }

    fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        roots
    }

    /// Shakes hands over a connection that is there.
    pub async fn handshake(&self, stream: TcpStream, name: &str) -> TlsStream<TcpStream> {
        let config = ClientConfig::builder().with_root_certificates(self.roots());
        let config = config.with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
    }

    /// Whether this is what the server showed.
    pub fn is_shown(&self, stream: &TlsStream<TcpStream>) -> bool {
        stream.get_ref().1.peer_certificates().unwrap()[0] == self.der
    }
}

/// Vouches for clients, and revokes what it vouched for.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub cert: String,
}

impl Authority {
    /// One of its own name.
    pub fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of tests");
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), cert }
    }

    /// A certificate of this number.
    pub fn issue(&self, serial: u64, name: &str) -> Identity {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.serial_number = Some(serial.into());
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
            der: cert.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// A list with these numbers; whether its next update is overdue.
    pub fn revokes(&self, serials: &[u64], is_late: bool) -> String {
        let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(if is_late { 2021 } else { 4000 }, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Connects by TLS and takes any certificate. Without a name none is sent.
pub async fn connect_tls(
    address: SocketAddr,
    name: Option<&str>,
    alpn: &[&[u8]],
) -> TlsStream<TcpStream> {
    shake(address, name, alpn, rustls::DEFAULT_VERSIONS).await.expect("a handshake")
}

/// The same by these versions of TLS, with whatever comes of it.
pub async fn shake(
    address: SocketAddr,
    name: Option<&str>,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_protocol_versions(versions).dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(Trusting::default()));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_sni = name.is_some();
    let name = ServerName::try_from(name.unwrap_or("none.test").to_owned()).unwrap();
    let stream = TcpStream::connect(address).await.expect("a listening proxy");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Comes again and again, and keeps its sessions.
pub struct Visitor {
    config: ClientConfig,
    stapled: Arc<Mutex<Vec<u8>>>,
}

impl Visitor {
    /// One that takes any certificate and shows this one of its own.
    pub fn new(shown: Option<&Identity>) -> Self {
        let trusting = Trusting::default();
        let stapled = trusting.0.clone();
        let config = ClientConfig::builder().dangerous();
        let config = config.with_custom_certificate_verifier(Arc::new(trusting));
        let config = match shown {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::try_from(identity.key_der.clone()).unwrap();
                config.with_client_auth_cert(vec![identity.der.clone()], key).unwrap()
            }
        };
        Self { config, stapled }
    }

    /// Connects.
    pub async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TcpStream::connect(address).await.expect("a listening proxy");
        TlsConnector::from(Arc::new(self.config.clone())).connect(name, stream).await
    }

    /// The OCSP response that was stapled last.
    pub fn stapled(&self) -> Vec<u8> {
        self.stapled.lock().unwrap().clone()
    }
}

/// Keeps what was stapled.
#[derive(Debug, Default)]
struct Trusting(Arc<Mutex<Vec<u8>>>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}
