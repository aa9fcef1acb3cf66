use super::*;
use crate::access::testing::{
    DAY, Made, authority, dns_name, later, leaf, made_of::*, named, now, organisation, root, valid, with_purpose,
    with_usage,
};

fn bundle(trusted: &[&Made]) -> Vec<Certificate> {
    trusted.iter().map(|made| Certificate::read(&made.der).unwrap()).collect()
}

fn judge(chain: &[&Made], trusted: &[&Made], now: Timestamp) -> Result<TrustedLeaf, ChainError> {
    let chain: Vec<_> = chain.iter().map(|made| made.der.clone()).collect();
    verify(&chain, &bundle(trusted), now)
}

fn refused(chain: &[&Made], trusted: &[&Made]) -> ChainError {
    judge(chain, trusted, now()).expect_err("the chain was believed")
}

#[test]
fn a_leaf_under_the_bundle_is_believed_as_long_as_all_of_its_path_is() {
    let root = root(valid(authority("root", None), -DAY, 10 * DAY));
    let middle = root.issue(valid(authority("middle", None), -DAY, 2 * DAY));
    let leaf = middle.issue(valid(leaf("leaf"), -DAY, 5 * DAY));
    let trusted = judge(&[&leaf, &middle], &[&root], now()).unwrap();
    assert_eq!(trusted.spki, leaf.key.spki());
    assert_eq!(trusted.validity.not_after, later(2 * DAY).seconds());
    // The order of the others does not matter, and the bundle's own may come along.
    assert!(judge(&[&leaf, &root, &middle], &[&root], now()).is_ok());
    // Any certificate of the bundle ends a path, also one that is not a root.
    assert!(judge(&[&leaf], &[&middle], now()).is_ok());
}

#[test]
fn what_does_not_lead_to_the_bundle_is_refused() {
    let (ours, theirs) = (root(authority("root", None)), root(authority("root", None)));
    let forged = theirs.issue(leaf("leaf"));
    assert_eq!(refused(&[&forged], &[&ours]), ChainError::Signature);
    assert_eq!(refused(&[&forged, &theirs], &[&ours]), ChainError::Signature);
    let other = root(authority("other", None));
    assert_eq!(refused(&[&other.issue(leaf("leaf"))], &[&ours]), ChainError::NotTrusted);
    assert_eq!(refused(&[&root(leaf("self"))], &[&ours]), ChainError::NotTrusted);
    assert_eq!(refused(&[&ours.issue(leaf("leaf"))], &[]), ChainError::NotTrusted);
    assert_eq!(verify(&[], &bundle(&[&ours]), now()).err(), Some(ChainError::Empty));
    let mut longer = ours.issue(leaf("leaf")).der;
    longer.push(0);
    assert_eq!(verify(&[longer], &bundle(&[&ours]), now()).err(), Some(ChainError::Unreadable));
    assert_eq!(verify(&[b"nonsense".to_vec()], &bundle(&[&ours]), now()).err(), Some(ChainError::Unreadable));
}

#[test]
fn dates_bind_every_certificate_to_the_second() {
    let root = root(valid(authority("root", None), 0, 3 * DAY));
    let middle = root.issue(valid(authority("middle", None), 0, 2 * DAY));
    let leaf = middle.issue(valid(leaf("leaf"), 0, DAY));
    let at = |seconds| judge(&[&leaf, &middle], &[&root], later(seconds)).err();
    assert_eq!(at(0), None);
    assert_eq!(at(-1), Some(ChainError::NotYetValid));
    assert_eq!(at(DAY), None);
    assert_eq!(at(DAY + 1), Some(ChainError::Expired));
    let long_leaf = middle.issue(valid(named("leaf"), 0, 9 * DAY));
    let long = |seconds| judge(&[&long_leaf, &middle], &[&root], later(seconds)).err();
    assert_eq!(long(2 * DAY), None);
    assert_eq!(long(2 * DAY + 1), Some(ChainError::Expired));
    let under_root = root.issue(valid(named("leaf"), 0, 9 * DAY));
    assert_eq!(judge(&[&under_root], &[&root], later(3 * DAY + 1)).err(), Some(ChainError::Expired));
}

#[test]
fn only_authorities_issue() {
    let root = root(authority("root", None));
    let middle = root.issue(leaf("middle"));
    assert_eq!(refused(&[&middle.issue(leaf("leaf")), &middle], &[&root]), ChainError::NotAnAuthority);
    let not_for_certificates = root.issue(with_usage(authority("middle", None), KeyUsagePurpose::CrlSign));
    let below = not_for_certificates.issue(leaf("leaf"));
    assert_eq!(refused(&[&below, &not_for_certificates], &[&root]), ChainError::NotAnAuthority);
    // The bundle's own are bound by the same rule.
    assert_eq!(refused(&[&middle.issue(leaf("leaf"))], &[&middle]), ChainError::NotAnAuthority);
}

#[test]
fn path_lengths_are_kept_also_by_the_bundle() {
    let root = root(authority("root", Some(1)));
    let first = root.issue(authority("first", None));
    let second = first.issue(authority("second", None));
    assert!(judge(&[&first.issue(leaf("leaf")), &first], &[&root], now()).is_ok());
    let below = second.issue(leaf("leaf"));
    assert_eq!(refused(&[&below, &second, &first], &[&root]), ChainError::PathLength);
    let narrow = root.issue(authority("narrow", Some(0)));
    let under_narrow = narrow.issue(authority("second", None));
    assert_eq!(
        refused(&[&under_narrow.issue(leaf("leaf")), &under_narrow, &narrow], &[&narrow]),
        ChainError::PathLength
    );
    assert!(judge(&[&narrow.issue(leaf("leaf"))], &[&narrow], now()).is_ok());
}

#[test]
fn four_certificates_at_most_the_bundles_own_not_counted() {
    let root = root(authority("root", None));
    let mut chain = vec![root.issue(authority("a0", None))];
    for at in 1..4 {
        let next = chain[at - 1].issue(authority(&format!("a{at}"), None));
        chain.push(next);
    }
    let leaf_of = |depth: usize| chain[depth].issue(leaf("leaf"));
    let with = |leaf: &Made, depth: usize, root: &[&Made]| {
        let whole: Vec<_> =
            [leaf].into_iter().chain(chain[..=depth].iter().rev()).chain(root.iter().copied()).collect();
        judge(&whole, &[&self::root(authority("x", None)), root.first().copied().unwrap_or(&chain[0])], now()).err()
    };
    assert_eq!(with(&leaf_of(2), 2, &[&root]), None);
    assert_eq!(with(&leaf_of(3), 3, &[&root]), Some(ChainError::TooLong));
}

#[test]
fn a_leaf_must_be_one_that_may_sign_data() {
    let root = root(authority("root", None));
    let issued = |params| judge(&[&root.issue(params)], &[&root], now()).err();
    assert_eq!(issued(named("no extensions")), None);
    let encipher = with_usage(named("x"), KeyUsagePurpose::KeyEncipherment);
    assert_eq!(issued(encipher), Some(ChainError::KeyUsage));
    let server = with_purpose(leaf("x"), ExtendedKeyUsagePurpose::ServerAuth);
    assert_eq!(issued(server), Some(ChainError::ExtendedKeyUsage));
    assert_eq!(issued(with_purpose(leaf("x"), ExtendedKeyUsagePurpose::Any)), None);
}

#[test]
fn a_leaf_of_the_bundle_is_believed_whatever_it_is_for() {
    let server = root(with_purpose(authority("self", None), ExtendedKeyUsagePurpose::ServerAuth));
    assert!(judge(&[&server], &[&server], now()).is_ok());
    let plain = root(leaf("self"));
    assert!(judge(&[&plain], &[&plain], now()).is_ok());
    assert_eq!(judge(&[&plain], &[&plain], later(DAY + 1)).err(), Some(ChainError::Expired));
}

#[test]
fn unknown_critical_extensions_are_refused_and_others_are_not() {
    let root = root(authority("root", None));
    let with = |critical: bool| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        extension.set_criticality(critical);
        let mut params = leaf("leaf");
        params.custom_extensions = vec![extension];
        judge(&[&root.issue(params)], &[&root], now()).err()
    };
    assert_eq!(with(false), None);
    assert_eq!(with(true), Some(ChainError::CriticalExtension));
}

#[test]
fn name_constraints_bind_subjects_and_alternative_names() {
    let constrained = |permitted: Vec<GeneralSubtree>, excluded: Vec<GeneralSubtree>| {
        let mut params = authority("root", None);
        params.name_constraints = Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded });
        root(params)
    };
    let dns = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let under = |root: &Made, names: &[&str]| {
        let mut params = leaf("leaf");
        params.subject_alt_names = names.iter().map(|name| dns_name(name)).collect();
        judge(&[&root.issue(params)], &[root], now()).err()
    };
    let permitted = constrained(vec![dns("example.com")], Vec::new());
    assert_eq!(under(&permitted, &[]), None);
    assert_eq!(under(&permitted, &["a.example.com", "EXAMPLE.com"]), None);
    assert_eq!(under(&permitted, &["a.example.com", "example.org"]), Some(ChainError::Name));
    assert_eq!(under(&permitted, &["notexample.com"]), Some(ChainError::Name));
    let excluded = constrained(Vec::new(), vec![dns("example.com")]);
    assert_eq!(under(&excluded, &["example.org"]), None);
    assert_eq!(under(&excluded, &["a.example.com"]), Some(ChainError::Name));

    let acme = constrained(vec![GeneralSubtree::DirectoryName(organisation("Acme"))], Vec::new());
    let of = |organisation_name: &str| {
        let mut params = leaf("leaf");
        params.distinguished_name = organisation(organisation_name);
        judge(&[&acme.issue(params)], &[&acme], now()).err()
    };
    assert_eq!(of("Acme"), None);
    assert_eq!(of("ACME"), None);
    assert_eq!(of("Evil"), Some(ChainError::Name));
}

#[test]
fn many_certificates_of_one_name_cost_a_bounded_number_of_signatures() {
    let ours = root(authority("root", None));
    let twins: Vec<_> = (0..3).map(|_| root(authority("root", None))).collect();
    let leaf = twins[0].issue(leaf("leaf"));
    let trusted: Vec<_> = (0..MAX_SIGNATURE_CHECKS + 4).map(|_| root(authority("root", None))).collect();
    let trusted: Vec<_> = trusted.iter().chain([&ours]).collect();
    let chain: Vec<_> = [&leaf].into_iter().chain(&twins).collect();
    assert_eq!(refused(&chain, &trusted), ChainError::TooLong);
}
