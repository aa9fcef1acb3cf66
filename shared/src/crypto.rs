//! One source of cryptography for TLS and for tokens: ring.

mod jwt_provider;

/// Makes ring the provider of rustls and of jsonwebtoken for this process.
///
/// Called first thing by the program and by every test that signs, verifies or speaks TLS; calling it again changes nothing. Without it both libraries
/// panic at their first use.
pub fn install() {
    // An error says that a provider is there already: from an earlier call, for nothing else in this program installs one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let _ = jwt_provider::RING.install_default();
}

#[cfg(test)]
mod tests {
    #[test]
    fn can_be_installed_again() {
        super::install();
        super::install();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
