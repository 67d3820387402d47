//! TLS to the server, by `sslmode` and `sslrootcert` of the URL, which mean what they mean to libpq.
//!
//! Absent on purpose: certificates of clients, and channel binding.

use super::error::PostgresqlError;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// `sslmode` and `sslrootcert`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsSettings {
    mode: Mode,
    root_certificates: Option<PathBuf>,
}

/// What is asked of the connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    /// Nothing.
    #[default]
    Disable,
    /// TLS where the server has it.
    Prefer,
    /// TLS; with root certificates, as the next one.
    Require,
    /// TLS, and a certificate of somebody we trust.
    VerifyAuthority,
    /// TLS, and a certificate of somebody we trust for the host's name.
    VerifyFull,
}

impl TlsSettings {
    /// Takes them out of a URL, or of libpq's `key=value` form: the driver knows neither `verify-full` nor `sslrootcert`.
    pub(super) fn taken_from(text: &str) -> Result<(String, Self), PostgresqlError> {
        let mut settings = Self::default();
        let is_url = ["postgresql://", "postgres://"].iter().any(|scheme| text.starts_with(scheme));
        if !is_url {
            let mut rest = Vec::new();
            for word in words(text) {
                if !settings.take(word, |value| Some(value.trim_matches('\'').to_owned()))? {
                    rest.push(word);
                }
            }
            return Ok((rest.join(" "), settings));
        }
        let Some((before, options)) = text.split_once('?') else { return Ok((text.to_owned(), settings)) };
        let mut rest = Vec::new();
        for option in options.split('&') {
            if !settings.take(option, percent_decoded)? {
                rest.push(option);
            }
        }
        let gap = if rest.is_empty() { "" } else { "?" };
        Ok((format!("{before}{gap}{}", rest.join("&")), settings))
    }

    /// Takes one `key=value`, if it is one of these; whether it is.
    fn take(&mut self, option: &str, read: impl Fn(&str) -> Option<String>) -> Result<bool, PostgresqlError> {
        let Some((key, value)) = option.split_once('=') else { return Ok(false) };
        let bad = |finding: &str| PostgresqlError::BadUrl { finding: format!("{key} {finding}") };
        match key.trim() {
            "sslmode" => {
                self.mode = match value {
                    "disable" => Mode::Disable,
                    "prefer" => Mode::Prefer,
                    "require" => Mode::Require,
                    "verify-ca" => Mode::VerifyAuthority,
                    "verify-full" => Mode::VerifyFull,
                    _ => return Err(bad("is none of disable, prefer, require, verify-ca and verify-full")),
                }
            }
            "sslrootcert" => {
                let path = read(value).ok_or_else(|| bad("cannot be read"))?;
                // libpq's word for the roots that everybody knows.
                self.root_certificates = (path != "system").then(|| path.into());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What the driver calls it.
    pub(super) fn ssl_mode(&self) -> SslMode {
        match self.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        }
    }

    /// What makes connections so; nothing where there is no TLS. The certificates are read each time, so that they can be renewed.
    pub(super) fn connector(&self) -> Result<Option<Tls>, PostgresqlError> {
        let check = match (self.mode, &self.root_certificates) {
            (Mode::Disable, _) => return Ok(None),
            (Mode::Prefer | Mode::Require, None) => Check::Nothing,
            (Mode::Prefer | Mode::Require | Mode::VerifyAuthority, _) => Check::Authority,
            (Mode::VerifyFull, _) => Check::AuthorityAndName,
        };
        let roots = match &self.root_certificates {
            Some(path) => read_roots(path)?,
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        };
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let webpki = verifier.build().expect("there are roots, and no revocation lists");
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions
            .expect("ring speaks TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { webpki, check }))
            .with_no_client_auth();
        Ok(Some(Tls(Arc::new(config))))
    }
}

/// The words of libpq's `key=value` form; a value in quotes may hold blanks.
fn words(text: &str) -> Vec<&str> {
    let mut is_quoted = false;
    let blank = |letter: char| {
        is_quoted ^= letter == '\'';
        letter.is_whitespace() && !is_quoted
    };
    text.split(blank).filter(|word| !word.is_empty()).collect()
}

/// A value of a URL as it was meant.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn read_roots(path: &Path) -> Result<RootCertStore, PostgresqlError> {
    let bad = |finding: String| PostgresqlError::RootCertificates { path: path.to_owned(), finding };
    let text = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() { Err(bad("no certificate in it".to_owned())) } else { Ok(roots) }
}

/// What is asked of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Nothing,
    Authority,
    AuthorityAndName,
}

/// The usual verifier, of whose findings some do not matter.
#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    check: Check,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found =
            self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        // The name is looked at when everything else is well.
        let is_name = matches!(
            found,
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        );
        match self.check {
            Check::Nothing => Ok(ServerCertVerified::assertion()),
            Check::Authority if is_name => Ok(ServerCertVerified::assertion()),
            Check::Authority | Check::AuthorityAndName => found,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Makes TLS connections.
#[derive(Clone)]
pub(super) struct Tls(Arc<ClientConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Secured<Socket>;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, InvalidDnsNameError> {
        // A socket in a folder has no name, and no TLS: the driver says so.
        let name = if host.is_empty() { "localhost" } else { host };
        Ok(Handshake { config: Arc::clone(&self.0), name: ServerName::try_from(name.to_owned())? })
    }
}

/// One connection to be made.
pub(super) struct Handshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Handshake {
    type Stream = Secured<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { TlsConnector::from(self.config).connect(self.name, stream).await.map(Secured) })
    }
}

/// A connection under TLS.
pub(super) struct Secured<S>(client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Secured<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_taken_out_of_either_form() {
        let table = [
            ("postgresql://dce@db/x", "postgresql://dce@db/x", Mode::Disable, None),
            (
                "postgresql://dce@db/x?sslmode=verify-full&connect_timeout=3&sslrootcert=%2Fetc%2Fdce%20ca.pem",
                "postgresql://dce@db/x?connect_timeout=3",
                Mode::VerifyFull,
                Some("/etc/dce ca.pem"),
            ),
            ("postgres://dce@db/x?sslmode=require", "postgres://dce@db/x", Mode::Require, None),
            (
                "host=db sslmode=verify-ca sslrootcert='/etc/dce ca.pem' password='a b' user=dce",
                "host=db password='a b' user=dce",
                Mode::VerifyAuthority,
                Some("/etc/dce ca.pem"),
            ),
            (
                "host=db user=dce sslmode=verify-full sslrootcert=system",
                "host=db user=dce",
                Mode::VerifyFull,
                None,
            ),
        ];
        for (text, rest, mode, root_certificates) in table {
            let settings = TlsSettings { mode, root_certificates: root_certificates.map(PathBuf::from) };
            assert_eq!(TlsSettings::taken_from(text).expect(text), (rest.to_owned(), settings), "{text}");
        }
        let error =
            TlsSettings::taken_from("postgresql://dce:secret@db/x?sslmode=always").expect_err("no mode");
        assert!(error.to_string().contains("sslmode is none of disable"), "{error}");
    }
}
