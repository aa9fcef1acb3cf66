//! The expected values were computed apart from this program, with Python: coordinates and DER by `cryptography` 48
//! (OpenSSL), hashes by `hashlib`, base32 and base64 by `base64`, the thumbprint's JSON by
//! `json.dumps(sort_keys=True, separators=(",", ":"))`.

use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

struct Example {
    spki: &'static str,
    rfc7638: &'static str,
    distribution3: &'static str,
    libtrust: Option<&'static str>,
}

/// The key of RFC 7638, section 3.1, which also gives its thumbprint.
const RSA: Example = Example {
    spki: "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbf\
           AAtVT86zwu1RK7aPFFxuhDR1L6tSoc/BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ/2W+5JsGY4Hc5n9yBXArwl93lqt7/RN5w6C\
           f0h4QyQ5v+65YGjQR0/FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt+\
           bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ+G/xBniIqbw0Ls1jF44+csFCur+kEgU8awapJzKnqDKgwIDAQAB",
    rfc7638: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
    distribution3: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
    libtrust: Some("VUZD:EDHW:YWLN:RBFQ:KOA3:UVZ2:XKG5:2V2J:WTPI:6SRD:U6PZ:VCO5"),
};

/// The key of RFC 8037, appendix A.2; A.3 gives its thumbprint. libtrust has no such keys.
const ED25519: Example = Example {
    spki: "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    rfc7638: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    distribution3: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    libtrust: None,
};

/// The public key of the private key 1 on P-256: its base point.
const P256: Example = Example {
    spki: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54W\
           K84zV2sxXs7LtkBoN79R9Q==",
    rfc7638: "xx0BcA-wMohw8atYDJOe6peGModklG2wRHBlXHMvl0M",
    distribution3: "xx0BcA-wMohw8atYDJOe6peGModklG2wRHBlXHMvl0M",
    libtrust: Some("LTJF:F6YM:5CJS:INX2:7DGN:CBAJ:QG4J:5ZFN:NOP6:TYVC:W7TR:VLFS"),
};

/// Of the private key 379 on P-256, the first whose x begins with a zero byte.
const P256_ZERO_X: Example = Example {
    spki: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAFVDiUrz0A7X10Cr29dclrBod7eH219w7qeLkKjXwAq7TIWj2Oop76r6JEBpEt2E\
           1bFNwyv2Vu9sa9WKXZQ/kg==",
    rfc7638: "7Yxe6c_3bAa6kiaK1G-BZmi9EeNsUmlcbdnrtLeuK4E",
    distribution3: "cqdWPhcnF9DHfVHOTKaBvs582HJ6LmX0fEgRXTtiGFU",
    libtrust: Some("HVHZ:ST6I:F4OR:OPDN:GJXA:LYHY:X76T:LAWQ:RYP2:3CRU:GVAA:4U3A"),
};

/// Of the private key 43 on P-256, the first whose y begins with a zero byte.
const P256_ZERO_Y: Example = Example {
    spki: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEmGriUG8f8QTQQjCGHY9LSY9LxMbQCbMPdUTcEpuC0o0APMzApkYOCuMopNl9PHth\
           2G/GKJwYnyUlEQxEG7B+lw==",
    rfc7638: "WZsjbh58q8kl1WsGShqtiycImZtCgGbukDn4RAacMig",
    distribution3: "oynto_iDk7BbC1TpDhAjGoiBUFY63hdrK_AAqhuXqX8",
    libtrust: Some("5AGM:HKO7:7OPF:652Q:TP4K:C4TR:SMEB:2RDP:EZOM:FPEU:QIPJ:TCRD"),
};

/// The base point of P-384.
const P384: Example = Example {
    spki: "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEqofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3Nhfe\
           SpYmLG9dnpi/kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f",
    rfc7638: "-W6Wzot_wuerYbKBVKfGEks3iY2EALna-hBqObnPuJE",
    distribution3: "-W6Wzot_wuerYbKBVKfGEks3iY2EALna-hBqObnPuJE",
    libtrust: Some("FH4P:45HT:RRE5:JGAQ:Z3DT:NITH:GKRQ:X7ZO:MSBH:W4E2:DRRT:IDKP"),
};

/// Of the private key 197 on P-384, the first whose x begins with a zero byte.
const P384_ZERO_X: Example = Example {
    spki: "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEAE0QSybuVnH3LBDJhoQdPmXSheJRYWG3uqNBsSYxueMrbw1YlthDHFHV2To3y8kO8Roe\
           P4t7kFOO5CzADuk0puLuJVQWB9j7ZceosR4viGhTiG7vOGXskzIAufJVmfKf",
    rfc7638: "3zGgfCTYC-l6UH4_4PwByXaVX5czHdwQ2j1LDWQQiD0",
    distribution3: "G_vl7bfG6Fs_-lbboomTMJhC9QN3PDc7fbQhpqRk8LI",
    libtrust: Some("IHS7:VLHX:TPGK:265C:DMEL:LU7W:PIEM:XLTF:JF54:3LPN:JLTX:VYRM"),
};

const EXAMPLES: [Example; 7] = [RSA, ED25519, P256, P256_ZERO_X, P256_ZERO_Y, P384, P384_ZERO_X];

/// Keys that sign no tokens here: on P-521, on secp256k1, and a compressed point on P-256.
const UNSUPPORTED: [&str; 3] = [
    "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAxoWOBrcEBOnNnj7LZiOVtEKcZIE5BT+1Ifgor2BrTT26oUted+/nWSj+HcEnov+o\
           3jNIs8GFakKb+X5+McLlvWYBGDkpaniaO8AEXIpftCx9G9mY9URJV5tEaBevvRcnPmYsl+5ymV70JkDFULkBP60HYTU8cIaicsJA\
           iL6Udp/RZlA=",
    "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEeb5mfvncu6xVoGKVzocLBwKb/NstzijZWfKBWxb4F5hIOtp3JqPEZV2k+/wOEQio/Re0\
           SKaFVBmcR9CP+xDUuA==",
    "MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY=",
];

fn der(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

#[test]
fn key_ids_are_what_others_compute() {
    let text = |id: Result<KeyId, UnsupportedKey>| id.map(|id| id.to_string());
    for example in EXAMPLES {
        let spki = der(example.spki);
        assert_eq!(text(KeyId::rfc7638(&spki)).as_deref(), Ok(example.rfc7638));
        assert_eq!(text(KeyId::distribution3(&spki)).as_deref(), Ok(example.distribution3), "{}", example.rfc7638);
        assert_eq!(text(KeyId::libtrust(&spki)).ok().as_deref(), example.libtrust, "{}", example.rfc7638);
    }
}

#[test]
fn only_a_leading_zero_makes_distribution_3_differ() {
    for example in [P256_ZERO_X, P256_ZERO_Y, P384_ZERO_X] {
        assert_ne!(example.rfc7638, example.distribution3);
    }
    for example in [RSA, ED25519, P256, P384] {
        assert_eq!(example.rfc7638, example.distribution3);
    }
}

#[test]
fn every_form_of_an_id_is_accepted_once() {
    let texts = |spki: &str| accepted(&der(spki)).iter().map(KeyId::to_string).collect::<Vec<_>>();
    let libtrust = |example: &Example| example.libtrust.unwrap();
    assert_eq!(texts(P256.spki), [P256.rfc7638, libtrust(&P256)]);
    assert_eq!(texts(P256_ZERO_X.spki), [P256_ZERO_X.rfc7638, P256_ZERO_X.distribution3, libtrust(&P256_ZERO_X)]);
    assert_eq!(texts(ED25519.spki), [ED25519.rfc7638]);
    assert_eq!(texts(UNSUPPORTED[0]), [""; 0]);
}

#[test]
fn what_is_no_signing_key_is_refused() {
    let refused = |spki: &[u8]| {
        let ids = [KeyId::rfc7638(spki), KeyId::distribution3(spki), KeyId::libtrust(spki)];
        ids.into_iter().all(|id| id == Err(UnsupportedKey))
    };
    for spki in UNSUPPORTED {
        assert!(refused(&der(spki)), "{spki}");
    }
    for example in EXAMPLES {
        let spki = der(example.spki);
        assert!(refused(&[spki.as_slice(), &[0]].concat()), "something behind {}", example.rfc7638);
        for end in 0..spki.len() {
            assert!(refused(&spki[..end]), "{} cut at {end}", example.rfc7638);
        }
    }
    // The point's form: 4 is "uncompressed", 6 and 7 are the hybrid forms of X9.62.
    let mut hybrid = der(P256.spki);
    hybrid[26] = 6;
    assert!(refused(&hybrid));
    // The unused bits of the bit string, which has to be whole bytes.
    let mut odd = der(ED25519.spki);
    odd[11] = 1;
    assert!(refused(&odd));
}

#[test]
fn a_map_of_keys_can_be_asked_with_a_headers_text() {
    let keys = std::collections::BTreeMap::from([(KeyId::named("one"), 1)]);
    assert_eq!(keys.get("one"), Some(&1));
}

proptest! {
    #[test]
    fn no_bytes_make_reading_a_key_panic(
        example in 0_usize..7,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        random in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut spki = der(EXAMPLES[example].spki);
        for (index, byte) in changes {
            let position = index.index(spki.len());
            spki[position] = byte;
        }
        let _ = accepted(&spki);
        let _ = accepted(&random);
    }
}
