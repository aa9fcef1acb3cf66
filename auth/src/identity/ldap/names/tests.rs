use proptest::prelude::*;

use super::*;

fn dn(text: &str) -> String {
    text.parse::<Dn>().unwrap().to_string()
}

#[test]
fn one_name_in_many_spellings_is_one_name() {
    for (one, other) in [
        ("CN=Dev,OU=Groups,DC=corp,DC=test", "cn=dev, ou=groups , dc=CORP,dc=test"),
        ("cn=Müller\\, Anna,dc=x", "cn=M\\C3\\BCller\\2C anna,dc=x"),
        ("cn=a\\+b,dc=x", "cn=\"a+b\",dc=x"),
        ("cn=a+uid=b,dc=x", "UID=B+CN=A,dc=x"),
        ("cn=a  b,dc=x", "cn=a b,dc=x"),
        ("cn=\\ a\\ ,dc=x", "cn=a,dc=x"),
        ("cn=a\\=b,dc=x", "cn=a\\3Db,dc=x"),
        ("cn=a;dc=x", "cn=a,dc=x"),
    ] {
        assert_eq!(dn(one), dn(other));
    }
    for (one, other) in
        [("cn=a,dc=x", "cn=a\\,dc=x"), ("cn=a+uid=b,dc=x", "cn=a,uid=b,dc=x"), ("cn=ab,dc=x", "cn=a b,dc=x")]
    {
        assert_ne!(one.parse::<Dn>(), other.parse::<Dn>());
    }
}

#[test]
fn what_is_no_name_is_refused() {
    for text in [
        "",
        "dev",
        "cn=",
        "=x",
        "cn=a,",
        "cn=a,,dc=x",
        "cn=a\\",
        "c n=a",
        "cn=\"a",
        &format!("cn={}", "a".repeat(MAX_NAME_BYTES)),
    ] {
        assert!(text.parse::<Dn>().is_err(), "{text:?}");
    }
}

/// T34: what somebody types is a value and nothing else.
#[test]
fn filters_are_built_by_escaping_only() {
    for (typed, filter) in [
        ("alice", "(uid=alice)"),
        ("*", "(uid=\\2a)"),
        ("a)(uid=*", "(uid=a\\29\\28uid=\\2a)"),
        ("\0", "(uid=\\00)"),
        ("admin)(|(a=b", "(uid=admin\\29\\28\\7c\\28a=b)"),
        ("a\\2a", "(uid=a\\5c2a)"),
        ("Ünal", "(uid=\\c3\\9cnal)"),
    ] {
        let made = Filter::equals("uid", typed.as_bytes());
        assert_eq!(made.as_str(), filter);
        assert!(super::super::connection::is_filter(made.as_str()));
    }
}

/// T35: a name in a template is one value of the distinguished name.
#[test]
fn t35_templates_are_filled_by_escaping_only() {
    let template: Template = "uid={username},ou=people,dc=x".parse().unwrap();
    for (typed, name) in [
        ("alice", "uid=alice,ou=people,dc=x"),
        ("x,ou=admins", "uid=x\\,ou\\=admins,ou=people,dc=x"),
        ("a+cn=b", "uid=a\\+cn\\=b,ou=people,dc=x"),
        ("\"a\"", "uid=\\\"a\\\",ou=people,dc=x"),
        ("a\\", "uid=a\\\\,ou=people,dc=x"),
        ("<a>;", "uid=\\<a\\>\\;,ou=people,dc=x"),
        ("#a", "uid=\\#a,ou=people,dc=x"),
        (" a ", "uid=\\ a\\ ,ou=people,dc=x"),
        (" ", "uid=\\ ,ou=people,dc=x"),
        ("a\0b", "uid=a\\00b,ou=people,dc=x"),
    ] {
        assert_eq!(template.name_of(typed), name);
    }
    for text in
        ["uid=alice,dc=x", "{username}", "uid={username}x,dc=x", "{username}=a,dc=x", "uid={username},cn={username}"]
    {
        assert_eq!(text.parse::<Template>(), Err(NameError::Template), "{text}");
    }
}

#[test]
fn attributes_cannot_carry_a_filter() {
    for name in ["uid", "sAMAccountName", "2.5.4.3", "mail-alias"] {
        assert!(name.parse::<Attribute>().is_ok(), "{name}");
    }
    for name in ["", "uid)(a", "u id", "uid=*", "ü", "-uid", "uid;binary"] {
        assert!(name.parse::<Attribute>().is_err(), "{name}");
    }
}

proptest! {
    #[test]
    fn whatever_is_typed_stays_one_value(typed in "\\PC{1,20}") {
        let template: Template = "uid={username},ou=people,dc=x".parse().unwrap();
        let name = template.name_of(&typed);
        prop_assert_eq!(split(&name, &[',', ';']).len(), 3);
        prop_assert_eq!(split(&name, &['+']).len(), 1);
        prop_assert!(super::super::connection::is_filter(Filter::equals("uid", typed.as_bytes()).as_str()));
    }

    #[test]
    fn a_name_in_its_one_spelling_stays_as_it_is(values in proptest::collection::vec("[a-zA-Z0-9 ,+\"\\\\<>;=#ßÄ]{1,8}", 1..4)) {
        let text = values.iter().map(|value| format!("cn={}", escaped_in_name(value))).collect::<Vec<_>>().join(",");
        if let Ok(name) = text.parse::<Dn>() {
            prop_assert_eq!(name.as_str().parse::<Dn>().unwrap(), name);
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<Dn>();
        let _ = text.parse::<Template>();
    }
}
