//! Secrets that this server makes: personal access tokens, robot keys, identity tokens, service credentials.
//!
//! `prt_pat_` + 12 characters by which it is found + 33 that are the secret, 192 random bits + 6 of a checksum, all of
//! `[A-Za-z0-9_]`, so that no shell, YAML file or URL needs quotes around one. Scanners recognise a leaked one by its prefix
//! and checksum. What is stored is an HMAC under a key that is not in the database (see [`MasterKeys`]).

mod master;
mod sealed;

pub use master::{MasterKey, MasterKeyError, MasterKeys, Purpose};
pub use sealed::NotSealedHere;

use shared::{random, secret::Secret};
use zeroize::Zeroize;

/// Characters by which a secret is found, not secret themselves.
pub const LOOKUP_LENGTH: usize = 12;
/// Characters of the secret part: 192 bits.
pub const SECRET_LENGTH: usize = 33;
/// Characters of the checksum: 32 bits.
pub const CHECKSUM_LENGTH: usize = 6;
/// The fewest characters of a robot key that a caller chooses.
pub const MIN_CHOSEN_LENGTH: usize = 32;

const FAMILY: &str = "prt_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a secret of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// A personal access token.
    PersonalToken,
    /// A robot's key.
    RobotKey,
    /// What a client keeps instead of a password, the token protocol's refresh token.
    IdentityToken,
    /// What a registry shows to read the revocation feed.
    Service,
}

impl SecretKind {
    const ALL: [Self; 4] = [Self::PersonalToken, Self::RobotKey, Self::IdentityToken, Self::Service];

    /// What its secrets begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::PersonalToken => "prt_pat_",
            Self::RobotKey => "prt_rbt_",
            Self::IdentityToken => "prt_idt_",
            Self::Service => "prt_svc_",
        }
    }
}

/// A secret that was just made. It is shown once.
#[derive(Debug)]
pub struct NewSecret {
    /// The whole secret, as its owner gets it.
    pub text: Secret<String>,
    /// What it is found by.
    pub lookup: String,
}

/// Makes a secret.
#[must_use]
pub fn mint(kind: SecretKind) -> NewSecret {
    let lookup = encode(&random::bytes::<16>(), LOOKUP_LENGTH);
    let mut bytes = random::bytes::<24>();
    let mut body = encode(&bytes, SECRET_LENGTH);
    bytes.zeroize();
    let mut text = String::with_capacity(kind.prefix().len() + LOOKUP_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH);
    for part in [kind.prefix(), &lookup, &body] {
        text.push_str(part);
    }
    body.zeroize();
    let checksum = checksum(&text);
    text.push_str(&checksum);
    NewSecret { text: Secret::new(text), lookup }
}

/// What a presented text is, by its shape alone. Nothing is proven by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape<'a> {
    /// None of ours: a password, or a key that somebody chose, or a token of somebody else.
    Foreign,
    /// It begins like one of ours, and is cut, mistyped or made up: it need not be looked for.
    Damaged,
    /// One of ours, to be found by `lookup`.
    Ours {
        /// What it is for.
        kind: SecretKind,
        /// What it is found by.
        lookup: &'a str,
    },
}

impl<'a> Shape<'a> {
    /// Looks at a presented text.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        if !text.starts_with(FAMILY) {
            return Self::Foreign;
        }
        let Some(kind) = SecretKind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix())) else {
            return Self::Damaged;
        };
        let length = kind.prefix().len() + LOOKUP_LENGTH + SECRET_LENGTH;
        if text.len() != length + CHECKSUM_LENGTH
            || !text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        {
            return Self::Damaged;
        }
        let (body, sum) = text.split_at(length);
        if checksum(body) != sum {
            return Self::Damaged;
        }
        Self::Ours { kind, lookup: &body[kind.prefix().len()..][..LOOKUP_LENGTH] }
    }
}

/// The bytes as one number in base 62: its lowest digits, most significant first. 33 digits hold 24 bytes whole.
fn encode(bytes: &[u8], length: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![0; length];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = (rest << 8) | u32::from(*byte);
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        *digit = ALPHABET[rest as usize];
    }
    number.zeroize();
    digits.into_iter().map(char::from).collect()
}

/// CRC-32 (that of zip and Ethernet) in base 62: it tells a mistyped secret from a revoked one, and protects nothing.
fn checksum(text: &str) -> String {
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    encode(&(!crc).to_be_bytes(), CHECKSUM_LENGTH)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_has_the_published_form_and_is_recognised() {
        for kind in SecretKind::ALL {
            let new = mint(kind);
            let text = new.text.expose();
            assert_eq!(text.len(), 8 + 12 + 33 + 6);
            assert!(text.starts_with(kind.prefix()));
            assert!(text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()));
            assert_eq!(Shape::of(text), Shape::Ours { kind, lookup: &new.lookup });
        }
    }

    #[test]
    fn secrets_do_not_repeat() {
        let made: Vec<NewSecret> = (0..500).map(|_| mint(SecretKind::RobotKey)).collect();
        let texts: HashSet<&str> = made.iter().map(|new| new.text.expose().as_str()).collect();
        let lookups: HashSet<&str> = made.iter().map(|new| new.lookup.as_str()).collect();
        assert_eq!((texts.len(), lookups.len()), (500, 500));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let new = mint(SecretKind::PersonalToken);
        assert!(!format!("{new:?}").contains(&new.text.expose()[20..]));
    }

    #[test]
    fn what_is_cut_or_mistyped_is_damaged_and_what_is_not_ours_is_foreign() {
        let new = mint(SecretKind::PersonalToken);
        let text = new.text.expose();
        assert_eq!(Shape::of(&text[..text.len() - 1]), Shape::Damaged);
        assert_eq!(Shape::of(&format!("{text}0")), Shape::Damaged);
        assert_eq!(Shape::of(&text.replace("prt_pat_", "prt_rbt_")), Shape::Damaged);
        for index in 8..text.len() {
            let mut typed = text.clone().into_bytes();
            typed[index] = if typed[index] == b'x' { b'y' } else { b'x' };
            assert_eq!(Shape::of(std::str::from_utf8(&typed).unwrap()), Shape::Damaged, "{index}");
        }
        for damaged in ["prt_", "prt_new_abc", "prt_pat_", &format!("prt_pat_{}", "é".repeat(25))] {
            assert_eq!(Shape::of(damaged), Shape::Damaged, "{damaged}");
        }
        for foreign in ["", "hunter2", "PRT_pat_x", "eyJhbGciOi.e30.x", " prt_pat_"] {
            assert_eq!(Shape::of(foreign), Shape::Foreign, "{foreign}");
        }
    }

    #[test]
    fn the_checksum_is_the_one_that_everybody_computes() {
        // The check value of CRC-32/ISO-HDLC is 0xCBF43926 for "123456789".
        assert_eq!(checksum("123456789"), encode(&0xCBF4_3926_u32.to_be_bytes(), 6));
        assert_eq!(encode(&[0], 2), "00");
        assert_eq!(encode(&[61], 2), "0z");
        assert_eq!(encode(&[62], 2), "10");
        assert_eq!(encode(&[0xFF; 24], 33).len(), 33);
    }

    proptest! {
        #[test]
        fn looking_at_a_text_never_panics(text in "(prt_)?(pat_|rbt_|idt_)?\\PC{0,60}") {
            let _ = Shape::of(&text);
        }

        #[test]
        fn different_numbers_have_different_digits(a: [u8; 24], b: [u8; 24]) {
            prop_assert_eq!(a == b, encode(&a, SECRET_LENGTH) == encode(&b, SECRET_LENGTH));
        }
    }
}
