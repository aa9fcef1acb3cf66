//! Somebody else's token server: keys and certificates made by openssl, tokens signed with them.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{
    program::Program,
    server::{Launch, Portreeve, written},
};

pub(crate) const ISSUER: &str = "a-stranger";
pub(crate) const SERVICE: &str = "our-registry";

pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "somebody", "aud": SERVICE, "exp": now() + 300, "nbf": now() - 10, "iat": now(), "jti": "1",
        "access": [{"type": "repository", "name": "acme/web", "actions": ["pull", "push"]}],
    })
}

/// A directory in which openssl works.
pub(crate) struct Office {
    directory: TempDir,
}

impl Office {
    pub(crate) fn open() -> Self {
        Self { directory: TempDir::with_prefix("issuer-").unwrap() }
    }

    pub(crate) async fn openssl(&self, words: &str) -> String {
        let program = Program::new("openssl").args(words.split_whitespace()).directory(self.directory.path());
        program.succeeds().await.stdout
    }

    /// `NAME.key` and the self-signed CA certificate `NAME.pem` of it.
    pub(crate) async fn authority(&self, name: &str) {
        self.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key")).await;
        self.openssl(&format!("req -x509 -new -key {name}.key -subj /CN={name} -days 2 -out {name}.pem")).await;
    }

    /// `NAME.key` and the certificate `NAME.pem` that `issuer` signed.
    pub(crate) async fn leaf(&self, name: &str, issuer: &str) {
        self.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key")).await;
        self.openssl(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr")).await;
        written(self.directory.path(), "leaf.ext", "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n");
        let sign = format!("-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 2 -extfile leaf.ext");
        self.openssl(&format!("x509 -req -in {name}.csr {sign} -out {name}.pem")).await;
    }

    /// As [`Office::leaf`], of yesterday.
    pub(crate) async fn expired_leaf(&self, name: &str, issuer: &str) {
        self.leaf(name, issuer).await;
        written(self.directory.path(), "index.txt", "");
        written(
            self.directory.path(),
            "ca.conf",
            "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nnew_certs_dir = .\nserial = number\n\
             default_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n",
        );
        written(self.directory.path(), "number", "77\n");
        let sign = format!("-config ca.conf -batch -notext -cert {issuer}.pem -keyfile {issuer}.key -extfile leaf.ext");
        let dates = "-startdate 20200101000000Z -enddate 20200102000000Z";
        self.openssl(&format!("ca {sign} {dates} -in {name}.csr -out {name}.pem")).await;
    }

    /// The key's SubjectPublicKeyInfo.
    pub(crate) async fn public_key(&self, key: &str) -> Vec<u8> {
        pem_content(&self.openssl(&format!("pkey -in {key} -pubout")).await)
    }

    /// A registry that trusts what `bundle` holds.
    pub(crate) fn registry(&self, bundle: &str) -> Portreeve {
        let bundle = self.directory.path().join(bundle);
        Launch::command(|data| {
            let config = format!(
                "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\nauth:\n  \
                 token:\n    realm: http://localhost:1/token\n    service: {SERVICE}\n    issuer: {ISSUER}\n    \
                 rootcertbundle: {}\n",
                data.join("storage").display(),
                bundle.display(),
            );
            ["registry".to_owned(), "serve".to_owned(), written(data, "config.yml", &config)].to_vec()
        })
        .start()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        pem_content(&std::fs::read_to_string(self.directory.path().join(name)).unwrap())
    }

    /// A certificate as `x5c` wants it.
    pub(crate) fn der(&self, name: &str) -> String {
        STANDARD.encode(self.read(name))
    }

    pub(crate) fn es256(&self, key: &str, header: &Value, claims: &Value) -> String {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.read(key), &random).unwrap();
        signed(header, claims, |text| key.sign(&random, text).unwrap().as_ref().to_vec())
    }

    pub(crate) fn rs256(&self, key: &str, header: &Value, claims: &Value) -> String {
        let key = RsaKeyPair::from_pkcs8(&self.read(key)).unwrap();
        signed(header, claims, |text| {
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).unwrap();
            signature
        })
    }
}

/// A token whose signature is an HMAC under `key`.
pub(crate) fn hs256(key: &[u8], header: &Value, claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    signed(header, claims, |text| hmac::sign(&key, text).as_ref().to_vec())
}

/// A token with whatever signature.
pub(crate) fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// The bytes between the first BEGIN and END lines.
fn pem_content(pem: &str) -> Vec<u8> {
    let lines = pem.lines().skip_while(|line| !line.starts_with("-----BEGIN")).skip(1);
    let text: String = lines.take_while(|line| !line.starts_with("-----END")).collect();
    STANDARD.decode(text).unwrap()
}

/// libtrust's key id: 240 bits of SHA-256 over the SubjectPublicKeyInfo, base32, in groups of four.
pub(crate) fn libtrust_id(public_key: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = Sha256::digest(public_key);
    let mut groups = Vec::new();
    // Five bytes are eight letters: two groups.
    for five in hash[..30].chunks(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let letters: Vec<u8> =
            (0..8).rev().map(|at| ALPHABET[usize::try_from(bits >> (5 * at) & 31).unwrap()]).collect();
        groups.extend(letters.chunks(4).map(|group| String::from_utf8(group.to_vec()).unwrap()));
    }
    groups.join(":")
}
