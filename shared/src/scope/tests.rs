use proptest::prelude::*;

use super::*;
use crate::access::{MAX_RESOURCE_NAME_BYTES, tests::resources};

fn list(texts: &[&str]) -> Result<String, ScopeError> {
    Scopes::parse_list(texts.iter().copied()).map(|scopes| scopes.to_string())
}

#[test]
fn scopes_are_read_as_clients_write_them() {
    let table = [
        ("repository:acme/web:pull,push", "repository:acme/web:pull,push"),
        ("repository:acme/web:push,pull,pull", "repository:acme/web:pull,push"),
        ("repository:acme/web:*", "repository:acme/web:*"),
        ("repository:acme/web:push,*", "repository:acme/web:*,push"),
        ("repository(plugin):acme/web:pull", "repository:acme/web:pull"),
        ("repository:host.example:5000/acme/web:pull", "repository:host.example:5000/acme/web:pull"),
        ("repository:acme/web:", "repository:acme/web:"),
        ("repository:acme/web:,pull,", "repository:acme/web:pull"),
        ("registry:catalog:*", "registry:catalog:*"),
        ("namespace:acme:admin", "namespace:acme:admin"),
        ("repository:Host.io/Acme:scan", "repository:Host.io/Acme:scan"),
        ("kind2:a:verb", "kind2:a:verb"),
    ];
    for (text, printed) in table {
        assert_eq!(text.parse::<Scope>().map(|scope| scope.to_string()), Ok(printed.to_owned()), "{text}");
    }
}

#[test]
fn what_is_no_scope_is_refused() {
    let table = [
        ("", ScopeError::Malformed),
        ("repository", ScopeError::Malformed),
        ("repository:acme", ScopeError::Malformed),
        (":acme:pull", ScopeError::Kind),
        ("Repository:acme:pull", ScopeError::Kind),
        ("repository():acme:pull", ScopeError::Kind),
        ("repository(plugin:acme:pull", ScopeError::Kind),
        ("repository(plugin)x:acme:pull", ScopeError::Kind),
        ("repository((a)):acme:pull", ScopeError::Kind),
        ("(plugin):acme:pull", ScopeError::Kind),
        ("repository)::pull", ScopeError::Kind),
        ("repository::pull", ScopeError::Name(ResourceNameError)),
        ("repository:a:b:c:pull", ScopeError::Name(ResourceNameError)),
        ("repository:a b:pull", ScopeError::Name(ResourceNameError)),
        ("repository:a\"b:pull", ScopeError::Name(ResourceNameError)),
        ("repository:a\\b:pull", ScopeError::Name(ResourceNameError)),
        ("repository:a\r\nb:pull", ScopeError::Name(ResourceNameError)),
        ("repository:é:pull", ScopeError::Name(ResourceNameError)),
        ("repository:acme:Pull", ScopeError::Action),
        ("repository:acme:pull;push", ScopeError::Action),
        ("repository:acme:pull,**", ScopeError::Action),
        ("repository:acme:pull\n", ScopeError::Action),
    ];
    for (text, error) in table {
        assert_eq!(text.parse::<Scope>(), Err(error), "{text:?}");
    }
}

#[test]
fn scopes_about_one_resource_are_merged() {
    assert_eq!(list(&[]), Ok(String::new()));
    assert_eq!(list(&["", "  "]), Ok(String::new()));
    assert_eq!(
        list(&["repository:b:pull repository:a:push", "repository(x):b:push", "registry:b:pull"]),
        Ok("repository:b:pull,push repository:a:push registry:b:pull".into())
    );
}

#[test]
fn the_sixty_fifth_resource_is_refused() {
    assert_eq!(MAX_SCOPES, 64);
    let texts = |count: usize| (0..count).map(|number| format!("repository:a{number}:pull")).collect::<Vec<_>>();
    for joined in [texts(64).join(" "), texts(64).join("  ")] {
        assert!(list(&[&joined]).is_ok());
        assert!(list(&[&joined, "repository:a0:push"]).is_ok(), "the same resource again");
        assert_eq!(list(&[&joined, "repository:b:pull"]), Err(ScopeError::TooManyScopes));
    }
    assert_eq!(list(&texts(65).iter().map(String::as_str).collect::<Vec<_>>()), Err(ScopeError::TooManyScopes));
}

#[test]
fn the_thirty_third_action_is_refused() {
    assert_eq!(MAX_ACTIONS, 32);
    let scope =
        |count: usize| format!("repository:a:{}", (1..=count).map(|n| "x".repeat(n)).collect::<Vec<_>>().join(","));
    assert!(scope(32).parse::<Scope>().is_ok());
    assert!(format!("{},x", scope(32)).parse::<Scope>().is_ok(), "the same action again");
    assert_eq!(scope(33).parse::<Scope>(), Err(ScopeError::TooManyActions));
    assert_eq!(list(&[&scope(32), "repository:a:pull"]), Err(ScopeError::TooManyActions), "merged");
}

#[test]
fn scopes_end_at_8_kib_together() {
    assert_eq!(MAX_SCOPE_BYTES, 8192);
    let scope = |bytes: usize| format!("repository:a:{}", "x".repeat(bytes - "repository:a:".len()));
    assert!(scope(8192).parse::<Scope>().is_ok());
    assert_eq!(scope(8193).parse::<Scope>(), Err(ScopeError::TooLong));
    assert!(list(&[&scope(8000), &scope(192)]).is_ok());
    assert_eq!(list(&[&scope(8000), &scope(193)]), Err(ScopeError::TooLong));
    assert_eq!(list(&[&" ".repeat(8193)]), Err(ScopeError::TooLong));
}

#[test]
fn a_resource_name_ends_at_512_bytes() {
    let scope = |bytes: usize| format!("repository:{}:pull", "a".repeat(bytes));
    assert_eq!(MAX_RESOURCE_NAME_BYTES, 512);
    assert!(scope(512).parse::<Scope>().is_ok());
    assert_eq!(scope(513).parse::<Scope>(), Err(ScopeError::Name(ResourceNameError)));
}

pub(crate) fn scopes() -> impl Strategy<Value = Scope> {
    let action = prop_oneof!["[a-z]{1,6}", Just("*".to_owned()), Just("pull".to_owned()), Just("push".to_owned())];
    (resources(), prop::collection::vec(action, 0..5))
        .prop_map(|(resource, actions)| Scope::new(resource, actions.iter().map(|text| Action::from(text.as_str()))))
}

proptest! {
    #[test]
    fn printing_and_parsing_are_inverse(scope in scopes()) {
        prop_assert_eq!(scope.to_string().parse(), Ok(scope.clone()));
        let json = serde_json::to_string(&scope).unwrap();
        prop_assert_eq!(serde_json::from_str::<Scope>(&json).unwrap(), scope);
    }

    #[test]
    fn printing_and_parsing_lists_are_inverse(scopes in prop::collection::vec(scopes(), 0..6)) {
        let merged: Scopes = scopes.iter().cloned().collect();
        prop_assert_eq!(Scopes::parse_list([merged.to_string().as_str()].into_iter()), Ok(merged.clone()));
        let texts: Vec<String> = scopes.iter().map(Scope::to_string).collect();
        prop_assert_eq!(Scopes::parse_list(texts.iter().map(String::as_str)), Ok(merged));
    }

    #[test]
    fn whatever_is_accepted_prints_to_something_equal(text in "[a-z(]{0,6}[)]?:[a-z:/]{0,8}:[a-z,*]{0,8}|.{0,20}") {
        if let Ok(scope) = text.parse::<Scope>() {
            prop_assert_eq!(scope.to_string().parse(), Ok(scope));
        }
    }
}
