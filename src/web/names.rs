// SPDX-License-Identifier: AGPL-3.0-only
//! The names of Go's crypto/tls for versions, cipher suites and curves, as web configuration files have them.

use rustls::SupportedProtocolVersion;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::ring::{cipher_suite, kx_group};
use rustls::{SupportedCipherSuite, version};

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tls12,
    Tls13,
}

impl Version {
    pub const ALL: [(Self, &'static SupportedProtocolVersion); 2] = [
        (Self::Tls12, &version::TLS12),
        (Self::Tls13, &version::TLS13),
    ];

    pub fn of_name(name: &str) -> Result<Self, &'static str> {
        match name {
            "TLS12" => Ok(Self::Tls12),
            "TLS13" => Ok(Self::Tls13),
            "TLS10" | "TLS11" => Err("TLS below 1.2 is not supported: use TLS12 or TLS13"),
            _ => Err("expected TLS12 or TLS13"),
        }
    }
}

/// The meaning of a name of Go.
#[derive(Clone, Copy)]
pub enum Meaning<T> {
    Supported(T),
    /// Go supports it, rfm does not; the text is the reason.
    LeftOut(&'static str),
}

/// Returns the cipher suite with this name; `None` if Go has none.
pub fn cipher_suite(name: &str) -> Option<Meaning<SupportedCipherSuite>> {
    const WEAK: &str = "it is weak";
    Some(match name {
        "TLS_AES_128_GCM_SHA256" => Meaning::Supported(cipher_suite::TLS13_AES_128_GCM_SHA256),
        "TLS_AES_256_GCM_SHA384" => Meaning::Supported(cipher_suite::TLS13_AES_256_GCM_SHA384),
        "TLS_CHACHA20_POLY1305_SHA256" => {
            Meaning::Supported(cipher_suite::TLS13_CHACHA20_POLY1305_SHA256)
        }
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => {
            Meaning::Supported(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
        }
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => {
            Meaning::Supported(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)
        }
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => {
            Meaning::Supported(cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256)
        }
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => {
            Meaning::Supported(cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
        }
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => {
            Meaning::Supported(cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)
        }
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => {
            Meaning::Supported(cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)
        }
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
        | "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"
        | "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"
        | "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"
        | "TLS_RSA_WITH_AES_128_CBC_SHA"
        | "TLS_RSA_WITH_AES_256_CBC_SHA"
        | "TLS_RSA_WITH_AES_128_GCM_SHA256"
        | "TLS_RSA_WITH_AES_256_GCM_SHA384" => Meaning::LeftOut(WEAK),
        _ => return None,
    })
}

/// Returns the curve with this name; `None` if Go has none.
pub fn curve(name: &str) -> Option<Meaning<&'static dyn SupportedKxGroup>> {
    Some(match name {
        "X25519" => Meaning::Supported(kx_group::X25519),
        "CurveP256" => Meaning::Supported(kx_group::SECP256R1),
        "CurveP384" => Meaning::Supported(kx_group::SECP384R1),
        "CurveP521" => Meaning::LeftOut("the library that rfm uses for TLS does not have it"),
        _ => return None,
    })
}
