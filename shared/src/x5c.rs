//! The certificate chain in a token's header (RFC 7515, section 4.1.6).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

/// How many certificates a header may carry, the bundle's own not counted.
pub const MAX_CERTIFICATES: usize = 4;

/// Why a list of texts is no certificate chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum X5cError {
    /// There is no certificate in it.
    #[error("x5c holds no certificate")]
    Empty,
    /// There are more than [`MAX_CERTIFICATES`].
    #[error("x5c holds more than {MAX_CERTIFICATES} certificates")]
    TooMany,
    /// An element is not canonical: standard base64 with padding, without line breaks and stray bits.
    #[error("x5c is not canonical base64 with padding")]
    NotCanonical,
}

/// Writes certificates in DER, the signing one first, as `x5c` has them: in standard base64, not base64url.
pub fn encode(certificates: &[Vec<u8>]) -> Vec<String> {
    certificates.iter().map(|certificate| STANDARD.encode(certificate)).collect()
}

/// Reads the certificates of an `x5c`, the signing one first. Whether they are certificates is for others to say.
///
/// # Errors
/// [`X5cError`]. One certificate has one text: without that, a token could be changed and stay valid.
pub fn decode(texts: &[String]) -> Result<Vec<Vec<u8>>, X5cError> {
    if texts.is_empty() {
        return Err(X5cError::Empty);
    }
    if texts.len() > MAX_CERTIFICATES {
        return Err(X5cError::TooMany);
    }
    let decode = |text: &String| match STANDARD.decode(text) {
        Ok(certificate) if !certificate.is_empty() => Ok(certificate),
        _ => Err(X5cError::NotCanonical),
    };
    texts.iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_one(text: &str) -> Result<Vec<Vec<u8>>, X5cError> {
        decode(&[text.to_owned()])
    }

    #[test]
    fn the_alphabet_is_the_standard_one_with_padding() {
        assert_eq!(encode(&[vec![0xfb, 0xff], b"abc".to_vec()]), ["+/8=", "YWJj"]);
        assert_eq!(decode_one("+/8="), Ok(vec![vec![0xfb, 0xff]]));
    }

    #[test]
    fn a_second_text_for_the_same_bytes_is_refused() {
        for text in
            ["-_8=", "+/8", "+/8==", "+/9=", "+/8=\n", "+/\n8=", " +/8=", "+/8=+/8=", "", "=", "YQ=", "a", "é==="]
        {
            assert_eq!(decode_one(text), Err(X5cError::NotCanonical), "{text:?}");
        }
    }

    #[test]
    fn a_chain_has_one_to_four_certificates() {
        assert_eq!(MAX_CERTIFICATES, 4);
        assert_eq!(decode(&[]), Err(X5cError::Empty));
        assert!(decode(&vec!["YWJj".to_owned(); 4]).is_ok());
        assert_eq!(decode(&vec!["YWJj".to_owned(); 5]), Err(X5cError::TooMany));
    }

    proptest! {
        #[test]
        fn encoding_and_decoding_are_inverse(
            chain in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..=MAX_CERTIFICATES)
        ) {
            prop_assert_eq!(decode(&encode(&chain)), Ok(chain));
        }

        #[test]
        fn whatever_is_accepted_encodes_to_the_same_text(text in "[A-Za-z0-9+/=_\n-]{0,12}") {
            if let Ok(chain) = decode_one(&text) {
                prop_assert_eq!(encode(&chain), [text]);
            }
        }
    }
}
