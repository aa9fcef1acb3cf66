//! Vectors from the standards, tokens made by OpenSSL, and round trips.
//!
//! `openssl.json` holds one token per algorithm, made by OpenSSL 3.0 with keys that were made for it and are used for nothing else.

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    crypto::{sign, verify},
    jwk::Jwk,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    algorithm: Algorithm,
    public: String,
    private: String,
    token: String,
}

impl Vector {
    fn all() -> Vec<Self> {
        crate::crypto::install();
        let vectors: Vec<Self> = serde_json::from_str(include_str!("openssl.json")).unwrap();
        assert_eq!(vectors.len(), 9);
        vectors
    }

    fn public(&self) -> DecodingKey {
        let pem = self.public.as_bytes();
        match self.algorithm {
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
            _ => DecodingKey::from_rsa_pem(pem),
        }
        .unwrap()
    }

    fn private(&self) -> EncodingKey {
        let pem = self.private.as_bytes();
        match self.algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
            _ => EncodingKey::from_rsa_pem(pem),
        }
        .unwrap()
    }

    fn message(&self) -> &str {
        self.token.rsplit_once('.').unwrap().0
    }

    fn signature(&self) -> &str {
        self.token.rsplit_once('.').unwrap().1
    }

    fn accepts(&self, signature: &str, message: &str) -> bool {
        verify(signature, message.as_bytes(), &self.public(), self.algorithm).unwrap_or(false)
    }
}

/// The text with one character replaced by another of the same alphabet.
fn with_another(text: &str, at: usize) -> String {
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

#[test]
fn what_openssl_signed_is_verified() {
    for vector in Vector::all() {
        assert!(vector.accepts(vector.signature(), vector.message()), "{:?}", vector.algorithm);
    }
}

#[test]
fn a_changed_message_or_signature_is_refused() {
    for vector in Vector::all() {
        let (message, signature) = (vector.message(), vector.signature());
        assert!(!vector.accepts(signature, &with_another(message, 5)), "{:?}", vector.algorithm);
        for at in [0, signature.len() / 2, signature.len() - 2] {
            assert!(!vector.accepts(&with_another(signature, at), message), "{:?} at {at}", vector.algorithm);
        }
        assert!(!vector.accepts("", message), "{:?}", vector.algorithm);
        assert!(!vector.accepts(&signature[..signature.len() - 4], message), "{:?}", vector.algorithm);
        assert!(!vector.accepts(&format!("{signature}AAAA"), message), "{:?}", vector.algorithm);
    }
}

#[test]
fn a_signature_of_zeros_is_refused() {
    for vector in Vector::all() {
        let zeros = "A".repeat(vector.signature().len());
        assert!(!vector.accepts(&zeros, vector.message()), "{:?}", vector.algorithm);
    }
}

#[test]
fn a_signature_is_good_for_its_own_algorithm_only() {
    let vectors = Vector::all();
    for vector in &vectors {
        for other in &vectors {
            let accepted = verify(vector.signature(), vector.message().as_bytes(), &vector.public(), other.algorithm);
            assert_eq!(
                accepted.unwrap_or(false),
                vector.algorithm == other.algorithm,
                "{:?} as {:?}",
                vector.algorithm,
                other.algorithm
            );
        }
    }
}

/// The old trick: the verifier is told HMAC and given the public key, which the attacker knows.
#[test]
fn hmac_is_refused_whatever_the_key() {
    crate::crypto::install();
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let secret = b"0123456789abcdef0123456789abcdef";
        assert!(sign(b"message", &EncodingKey::from_secret(secret), algorithm).is_err());
        assert!(verify("AAAA", b"message", &DecodingKey::from_secret(secret), algorithm).is_err());
        for vector in Vector::all() {
            assert!(verify("AAAA", b"message", &vector.public(), algorithm).is_err());
        }
    }
}

#[test]
fn what_we_sign_is_what_openssl_signs_or_verifies_as_such() {
    for vector in Vector::all() {
        let signature = sign(vector.message().as_bytes(), &vector.private(), vector.algorithm).unwrap();
        assert!(vector.accepts(&signature, vector.message()), "{:?}", vector.algorithm);
        let deterministic =
            matches!(vector.algorithm, Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 | Algorithm::EdDSA);
        assert_eq!(signature == vector.signature(), deterministic, "{:?}", vector.algorithm);
    }
}

#[test]
fn keys_made_by_rcgen_sign_too() {
    crate::crypto::install();
    let made: [(Algorithm, &rcgen::SignatureAlgorithm); 3] = [
        (Algorithm::ES256, &rcgen::PKCS_ECDSA_P256_SHA256),
        (Algorithm::ES384, &rcgen::PKCS_ECDSA_P384_SHA384),
        (Algorithm::EdDSA, &rcgen::PKCS_ED25519),
    ];
    for (algorithm, kind) in made {
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let (pkcs8, public) = (pair.serialize_der(), pair.public_key_raw());
        let (private, public) = match algorithm {
            Algorithm::EdDSA => (EncodingKey::from_ed_der(&pkcs8), DecodingKey::from_ed_der(public)),
            _ => (EncodingKey::from_ec_der(&pkcs8), DecodingKey::from_ec_der(public)),
        };
        let signature = sign(b"message", &private, algorithm).unwrap();
        assert!(verify(&signature, b"message", &public, algorithm).unwrap(), "{algorithm:?}");
        assert!(!verify(&signature, b"massage", &public, algorithm).unwrap(), "{algorithm:?}");
    }
}

#[test]
fn a_public_key_comes_out_of_a_private_one_as_it_does_out_of_the_public_one() {
    for vector in Vector::all() {
        let from_private = Jwk::from_encoding_key(&vector.private(), vector.algorithm).unwrap_or_else(|error| {
            // jsonwebtoken takes Ed25519 private keys in the layout of ring alone; the public key is what we publish from.
            assert_eq!(vector.algorithm, Algorithm::EdDSA, "{error}");
            Jwk::from_decoding_key(&vector.public(), Some(vector.algorithm)).unwrap()
        });
        let from_public = Jwk::from_decoding_key(&vector.public(), Some(vector.algorithm)).unwrap();
        assert_eq!(from_private.algorithm, from_public.algorithm, "{:?}", vector.algorithm);

        let key = DecodingKey::from_jwk(&from_public).unwrap();
        let accepted = verify(vector.signature(), vector.message().as_bytes(), &key, vector.algorithm).unwrap();
        assert!(accepted, "{:?} through a JWK", vector.algorithm);
    }
}

/// RFC 7515 appendix A.2.
const RS256_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RS256_MESSAGE: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RS256_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

#[test]
fn the_vectors_of_the_standards_hold() {
    crate::crypto::install();
    let rs256 = DecodingKey::from_rsa_components(RS256_MODULUS, "AQAB").unwrap();
    assert!(verify(RS256_SIGNATURE, RS256_MESSAGE.as_bytes(), &rs256, Algorithm::RS256).unwrap());

    // RFC 7515 appendix A.3.
    let es256 = DecodingKey::from_ec_components(
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    )
    .unwrap();
    let message = RS256_MESSAGE.replace("eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJFUzI1NiJ9");
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert!(verify(signature, message.as_bytes(), &es256, Algorithm::ES256).unwrap());

    // RFC 8037 appendix A.4.
    let eddsa = DecodingKey::from_ed_components("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert!(verify(signature, message, &eddsa, Algorithm::EdDSA).unwrap());
}

#[test]
fn a_modulus_with_a_leading_zero_is_read_as_the_number_it_is() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    crate::crypto::install();
    let mut modulus = vec![0];
    modulus.extend(URL_SAFE_NO_PAD.decode(RS256_MODULUS).unwrap());
    let key = DecodingKey::from_rsa_raw_components(&modulus, &[0, 1, 0, 1]);
    assert!(verify(RS256_SIGNATURE, RS256_MESSAGE.as_bytes(), &key, Algorithm::RS256).unwrap());
}

/// The other of the two signatures that ECDSA has for every message: s replaced by n − s.
#[test]
fn a_high_s_is_valid() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    const ORDER_OF_P256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let vector = Vector::all().remove(0);
    assert_eq!(vector.algorithm, Algorithm::ES256);
    let mut signature = URL_SAFE_NO_PAD.decode(vector.signature()).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let digit = i16::from_str_radix(&ORDER_OF_P256[2 * at..2 * at + 2], 16).unwrap();
        let difference = digit - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        signature[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let mirrored = URL_SAFE_NO_PAD.encode(&signature);
    assert_ne!(mirrored, vector.signature());
    assert!(vector.accepts(&mirrored, vector.message()));
}

#[test]
fn small_rsa_keys_are_refused() {
    crate::crypto::install();
    let key = DecodingKey::from_rsa_raw_components(&[0xff; 128], &[1, 0, 1]);
    assert!(!verify(&"A".repeat(171), b"message", &key, Algorithm::RS256).unwrap_or(false));
}
