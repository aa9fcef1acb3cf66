//! The parts of a token that are read before anything about it is believed: its header and its claims.
//! Nothing panics, what is accepted prints to something that reads back as the same, and the registry's reader believes no header that
//! brings a key along.

#![no_main]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use registry::access::verifier::UnverifiedHeader;
use shared::{claims::TokenClaims, key_id, strict_json, x5c};

fuzz_target!(|data: &[u8]| {
    // Once as compact JWS, where the fuzzer has to find base64url, and once as the JSON within.
    let mut parts = data.split(|&byte| byte == b'.');
    for part in [parts.next(), parts.next()].into_iter().flatten() {
        if let Ok(text) = std::str::from_utf8(part) {
            let _ = UnverifiedHeader::read(text);
        }
        if let Ok(decoded) = URL_SAFE_NO_PAD.decode(part) {
            read_header(&decoded);
            read_claims(&decoded);
        }
    }
    read_header(data);
    read_claims(data);
    let _ = key_id::accepted(data);
});

fn read_header(text: &[u8]) {
    let read = UnverifiedHeader::read(&URL_SAFE_NO_PAD.encode(text));
    let Ok(header) = strict_json::parse(text) else {
        assert!(read.is_err());
        return;
    };
    if read.is_ok() {
        assert!(["jwk", "jku", "x5u", "crit"].iter().all(|member| header.get(member).is_none()));
        assert!(header["alg"].is_string() && (header.get("x5c").is_some() || header["kid"].is_string()));
    }
    // Not equal: the last bit of a fraction may differ, and no claim or header is one.
    assert!(strict_json::parse(header.to_string().as_bytes()).is_ok());
    let Some(chain) = header["x5c"].as_array() else { return };
    let Some(chain) = chain.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>() else {
        return;
    };
    if let Ok(certificates) = x5c::decode(&chain) {
        assert!(certificates.len() <= x5c::MAX_CERTIFICATES);
        assert_eq!(x5c::encode(&certificates), chain);
    }
}

fn read_claims(text: &[u8]) {
    if let Ok(claims) = TokenClaims::parse(text) {
        assert_eq!(TokenClaims::parse(claims.to_json().as_bytes()), Ok(claims));
    }
}
