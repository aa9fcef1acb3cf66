use proptest::prelude::*;

use super::*;

const EMPTY_SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ABC_SHA512: &str = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                          2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

#[test]
fn the_published_examples_come_out() {
    assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY_SHA256);
    assert_eq!(Digest::of(Algorithm::Sha512, b"abc").to_string(), ABC_SHA512);
}

#[test]
fn what_is_no_digest_is_refused() {
    let hex = &EMPTY_SHA256[7..];
    let malformed = [
        String::new(),
        "sha256".into(),
        "sha256:".into(),
        format!(":{hex}"),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{}g", &hex[1..]),
        format!("sha256:{}é", &hex[2..]),
        format!("sha256:{hex}\n"),
        format!(" sha256:{hex}"),
        format!("SHA256:{hex}"),
        format!("sha256::{hex}"),
        format!("sha512:{hex}"),
        format!("sha256+:{hex}"),
        format!("sha384:{hex}/"),
    ];
    for text in malformed {
        assert_eq!(text.parse::<Digest>(), Err(DigestError::Malformed), "{text}");
    }
    for text in [format!("sha384:{hex}"), format!("sha256+b64u:{hex}"), "md5:a=".into(), format!("blake3:{hex}")] {
        assert_eq!(text.parse::<Digest>(), Err(DigestError::UnsupportedAlgorithm), "{text}");
    }
}

#[test]
fn a_saved_hasher_of_another_form_is_refused() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(b"some content");
        let saved = hasher.save();
        assert_eq!(Hasher::resume(&saved).map(Hasher::finish), Ok(Digest::of(algorithm, b"some content")));

        for length in 0..saved.len() {
            assert!(Hasher::resume(&saved[..length]).is_err(), "{length} bytes of {}", saved.len());
        }
        assert!(Hasher::resume(&[saved.as_slice(), &[0]].concat()).is_err(), "longer than a state");
        for (position, value) in [(0, 0), (0, 2), (0, 255), (1, 0), (1, 3)] {
            let mut other = saved.clone();
            other[position] = value;
            assert!(Hasher::resume(&other).is_err(), "byte {position} is {value}");
        }
    }
}

fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::Sha256), Just(Algorithm::Sha512)]
}

pub(crate) fn digests() -> impl Strategy<Value = Digest> {
    (algorithms(), any::<[u8; 8]>()).prop_map(|(algorithm, content)| Digest::of(algorithm, &content))
}

proptest! {
    #[test]
    fn printing_and_parsing_are_inverse(digest in digests()) {
        prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        let json = serde_json::to_string(&digest).unwrap();
        prop_assert_eq!(&json, &format!("\"{digest}\""));
        prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }

    #[test]
    fn digests_order_as_their_texts(left in digests(), right in digests()) {
        prop_assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()));
    }

    #[test]
    fn whatever_is_accepted_prints_as_it_was_written(text in "(sha256|sha512|sha3):[0-9a-fA-F]{62,66}|.{0,80}") {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text);
        }
    }

    #[test]
    fn a_hasher_saved_at_any_point_gives_the_same_digest(
        algorithm in algorithms(),
        content in proptest::collection::vec(any::<u8>(), 0..700),
        cut in any::<proptest::sample::Index>(),
    ) {
        let (before, after) = content.split_at(cut.index(content.len() + 1));
        let mut hasher = Hasher::new(algorithm);
        hasher.update(before);
        let mut resumed = Hasher::resume(&hasher.save()).unwrap();
        prop_assert_eq!((resumed.length(), resumed.algorithm()), (before.len() as u64, algorithm));
        resumed.update(after);
        prop_assert_eq!(resumed.length(), content.len() as u64);
        prop_assert_eq!(resumed.finish(), Digest::of(algorithm, &content));
    }

    #[test]
    fn no_bytes_make_resuming_panic(saved in proptest::collection::vec(any::<u8>(), 0..260), version in 0_u8..3) {
        let mut saved = saved;
        if let Some(first) = saved.first_mut() {
            *first = version;
        }
        let _ = Hasher::resume(&saved);
    }
}
