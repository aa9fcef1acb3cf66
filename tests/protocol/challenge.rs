//! Reading a `WWW-Authenticate` challenge as the strictest client does: `key="value"` parameters only, one `scope`.
//!
//! Written without the program's own parser on purpose: a mistake in that one must not excuse itself here.

/// `Bearer realm="…",service="…",scope="…",error="…"`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) realm: String,
    pub(crate) service: String,
    pub(crate) scope: Option<String>,
    pub(crate) error: Option<String>,
}

impl Challenge {
    /// Reads one header value; what is wrong with it otherwise.
    pub(crate) fn parse(header: &str) -> Result<Self, String> {
        let mut rest = header.strip_prefix("Bearer ").ok_or("the challenge is not a Bearer challenge")?;
        // The specification's program finds the scheme by its last mention, so neither word may stand further on.
        let lower = rest.to_ascii_lowercase();
        if lower.contains("bearer") || lower.contains("basic") {
            return Err("the words bearer and basic may stand only at the start".to_owned());
        }
        let mut challenge = Self::default();
        loop {
            let (key, after) = rest.split_once("=\"").ok_or_else(|| format!("no quoted parameter at {rest:?}"))?;
            let (value, after) = after.split_once('"').ok_or_else(|| format!("no closing quote at {after:?}"))?;
            challenge.set(key, value)?;
            rest = match after.strip_prefix(',') {
                Some(more) => more.trim_start(),
                None if after.is_empty() => return challenge.complete(),
                None => return Err(format!("neither a comma nor the end at {after:?}")),
            };
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let field = match key {
            "realm" => &mut self.realm,
            "service" => &mut self.service,
            "scope" => self.scope.get_or_insert_default(),
            "error" => self.error.get_or_insert_default(),
            _ => return Ok(()),
        };
        if !field.is_empty() {
            return Err(format!("two parameters {key}"));
        }
        value.clone_into(field);
        Ok(())
    }

    fn complete(self) -> Result<Self, String> {
        if self.realm.is_empty() || self.service.is_empty() {
            return Err("realm and service are both needed".to_owned());
        }
        Ok(self)
    }
}

#[test]
fn a_challenge_with_two_scopes_in_one_parameter_is_read() {
    let header = r#"Bearer realm="http://h/token",service="s",scope="repository:a:pull,push repository:b:pull",error="insufficient_scope""#;
    let expected = Challenge {
        realm: "http://h/token".to_owned(),
        service: "s".to_owned(),
        scope: Some("repository:a:pull,push repository:b:pull".to_owned()),
        error: Some("insufficient_scope".to_owned()),
    };
    assert_eq!(Challenge::parse(header), Ok(expected));
}

#[test]
fn challenges_that_some_client_misreads_are_refused() {
    let refused = [
        r#"Basic realm="r""#,
        r#"Bearer realm="http://h/t",service="s",scope="a",scope="b""#,
        r#"Bearer realm="http://h/basic",service="s""#,
        r#"Bearer realm="http://h/t" service="s""#,
        r"Bearer realm=r,service=s",
        r#"Bearer service="s""#,
    ];
    for header in refused {
        assert!(Challenge::parse(header).is_err(), "{header}");
    }
}
