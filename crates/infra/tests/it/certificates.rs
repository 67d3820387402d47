//! Certificates for tests: an authority, and servers it vouches for.

use crate::fixtures::Directory;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::PathBuf;
use test_servers::Certificate;

/// Somebody who vouches for servers.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: Directory,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = Directory::new();
        std::fs::write(folder.path().join("authority.pem"), issuer.pem()).expect("writable");
        Self { issuer, folder }
    }

    /// Where its own certificate is.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Vouches for a server of this name.
    pub(crate) fn certify(&self, name: &str) -> Certificate {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Certificate { chain_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}
