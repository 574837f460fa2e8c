// SPDX-License-Identifier: AGPL-3.0-only
//! The configuration of rustls from the settings of a web configuration file.

use std::fmt::{self, Display};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::file::{ClientAuth, TlsSettings};
use super::names::Version;

/// The PEM texts that the settings name, each with the name of its key.
pub struct Texts {
    pub certificates: (String, Vec<u8>),
    pub key: (String, Vec<u8>),
    pub client_ca: Option<(String, Vec<u8>)>,
}

/// Returns the configuration of a server.
pub fn configure(settings: &TlsSettings, texts: &Texts) -> Result<ServerConfig, String> {
    let chain = certificates(&texts.certificates)?;
    let (key_name, key_text) = &texts.key;
    let key = PrivateKeyDer::from_pem_slice(key_text)
        .map_err(|_| format!("{key_name}: no private key in PEM (without a passphrase)"))?;
    let provider = Arc::new(provider(settings));
    let versions: Vec<_> = Version::ALL
        .into_iter()
        .filter(|(version, _)| settings.versions.contains(version))
        .map(|(_, version)| version)
        .collect();
    let verifier = verifier(settings, texts, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| format!("tls_server_config: {error}"))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let certificate_name = &texts.certificates.0;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                format!("{key_name}: the key is not that of the certificate in {certificate_name}")
            }
            error => format!("{certificate_name}, {key_name}: {error}"),
        })?;
    config.ignore_client_order = settings.own_order;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session that is resumed would skip the check of the client certificate against a new CA. Scrapers keep their
    // connections open, so that they save nothing by resuming.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn provider(settings: &TlsSettings) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !settings.cipher_suites.is_empty() {
        // as in Go, the list restricts only TLS 1.2
        let tls13 = provider.cipher_suites.iter();
        let tls13: Vec<_> = tls13
            .filter(|suite| suite.tls13().is_some())
            .copied()
            .collect();
        let listed = settings.cipher_suites.iter();
        let listed = listed.filter(|suite| suite.tls13().is_none()).copied();
        provider.cipher_suites = tls13.into_iter().chain(listed).collect();
    }
    if !settings.curves.is_empty() {
        provider.kx_groups = settings.curves.clone();
    }
    provider
}

fn certificates((name, text): &(String, Vec<u8>)) -> Result<Vec<CertificateDer<'static>>, String> {
    let none = |error: &dyn Display| format!("{name}: no certificate in PEM: {error}");
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match certificates {
        Ok(found) if found.is_empty() => Err(none(&"nothing between BEGIN and END CERTIFICATE")),
        Ok(found) => Ok(found),
        Err(error) => Err(none(&error)),
    }
}

fn verifier(
    settings: &TlsSettings,
    texts: &Texts,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let is_mandatory = match settings.client_auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::Request | ClientAuth::VerifyIfGiven => false,
        ClientAuth::RequireAny | ClientAuth::RequireAndVerify => true,
    };
    let is_verified = matches!(
        settings.client_auth,
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify
    );
    let Some(ca) = texts.client_ca.as_ref().filter(|_| is_verified) else {
        return Ok(Some(Arc::new(UnverifiedClients {
            is_mandatory,
            is_refused: is_verified,
            algorithms: provider.signature_verification_algorithms,
        })));
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{}: {error}", ca.0))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let builder = match is_mandatory {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    let verifier = builder
        .build()
        .map_err(|error| format!("{}: {error}", ca.0))?;
    Ok(Some(verifier))
}

/// Requests client certificates and verifies only that the client has the key.
struct UnverifiedClients {
    is_mandatory: bool,
    /// No CA is known, so no certificate can be verified.
    is_refused: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// rustls requires it.
impl fmt::Debug for UnverifiedClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedClients")
    }
}

impl ClientCertVerifier for UnverifiedClients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.is_refused {
            true => Err(CertificateError::UnknownIssuer.into()),
            false => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
