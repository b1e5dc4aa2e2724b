//! Which clients' certificates are trusted: the roots they lead to, and what has been revoked.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::clock;
use crate::plan::ClientCertsPlan;
use crate::upstream::tls::read_roots;

/// Who decides about the certificates of clients. The error is a sentence that names the file.
pub fn verifier(plan: &ClientCertsPlan) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut builder = WebPkiClientVerifier::builder(Arc::new(read_roots(&plan.ca)?));
    if let Some(path) = &plan.crl {
        let revoked = read_revoked(path)?;
        // A late list still tells who is revoked: to refuse everybody for it would be an outage made
        // of a missed renewal, and to refuse nobody would let the revoked in.
        if revoked.iter().any(|list| is_late(list)) {
            tracing::warn!("the next update of a list in {} is overdue", path.display());
        }
        builder = builder.with_crls(revoked);
    }
    if !plan.required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| format!("the roots in {}: {error}", plan.ca.display()))
}

/// The lists of revoked certificates in a file. The error is a sentence that names it.
pub fn read_revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let shown = path.display();
    let lists = CertificateRevocationListDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cannot read the revoked certificates in {shown}: {error}"))?;
    for list in &lists {
        webpki::BorrowedCertRevocationList::from_der(list).map_err(|error| {
            format!("{shown} holds a bad list of revoked certificates: {error}")
        })?;
    }
    match lists.is_empty() {
        true => Err(format!("{shown} holds no list of revoked certificates")),
        false => Ok(lists),
    }
}

fn is_late(list: &[u8]) -> bool {
    let list = CertificateRevocationList::from_der(list).ok();
    let next = list.and_then(|(_, list)| list.next_update());
    next.is_some_and(|next| next.timestamp() < clock::timestamp().as_second())
}
