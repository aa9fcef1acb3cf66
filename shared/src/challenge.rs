//! The challenge that sends a client to the token server (RFC 6750, section 3; Distribution token specification).

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::scope::{self, MAX_SCOPE_BYTES, MAX_SCOPES, Scope, ScopeError};

/// The longest challenge that is read, in bytes: the longest scope, and as much again for everything else.
pub const MAX_CHALLENGE_BYTES: usize = 2 * MAX_SCOPE_BYTES;

/// A `WWW-Authenticate: Bearer` challenge. A request that requires several accesses names them all in one `scope`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerChallenge {
    /// The address of the token server.
    pub realm: String,
    /// The service that the token must be for.
    pub service: String,
    /// What the request requires. The parameter is left out when this is empty, as on `/v2/`.
    pub scope: Vec<Scope>,
    /// What was wrong with the token, if one was presented.
    pub error: Option<ChallengeError>,
    /// The same in a sentence. Docker prints it, and where a HEAD is refused it is all that anybody can print.
    pub description: Option<String>,
}

/// What was wrong with a presented token (RFC 6750, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeError {
    /// It is malformed, untrusted, expired or revoked.
    InvalidToken,
    /// It does not allow what the request requires. containerd fetches another one only then.
    InsufficientScope,
}

impl ChallengeError {
    /// The code of the `error` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

impl fmt::Display for BearerChallenge {
    /// Prints the value of the header. Control characters have no form in a header and are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer realm={},service={}", Quoted(&self.realm), Quoted(&self.service))?;
        if !self.scope.is_empty() {
            let mut scope = String::new();
            scope::write_list(&self.scope, &mut scope)?;
            write!(f, ",scope={}", Quoted(&scope))?;
        }
        if let Some(error) = self.error {
            write!(f, ",error={}", Quoted(error.as_str()))?;
        }
        let describe = |text: &String| write!(f, ",error_description={}", Quoted(&printable(text)));
        self.description.as_ref().map_or(Ok(()), describe)
    }
}

/// The sentence in the characters that a description may have (RFC 6750, section 3): a header with another would not be sent at all.
fn printable(text: &str) -> String {
    let fitting = |character| match character {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => character,
        _ => '?',
    };
    text.chars().map(fitting).collect()
}

/// A quoted string (RFC 9110, section 5.6.4).
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars().filter(|character| !character.is_ascii_control()) {
            if matches!(character, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{character}")?;
        }
        f.write_str("\"")
    }
}

/// Why a text is no bearer challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChallengeSyntaxError {
    /// It is longer than [`MAX_CHALLENGE_BYTES`].
    #[error("a challenge has at most {MAX_CHALLENGE_BYTES} bytes")]
    TooLong,
    /// It is of another scheme than `Bearer`.
    #[error("not a bearer challenge")]
    NotBearer,
    /// Its parameters do not have the form `name="value"`, divided by commas.
    #[error("the challenge's parameters are malformed")]
    Malformed,
    /// One of the parameters that are known here stands twice.
    #[error("a parameter of the challenge stands twice")]
    Twice,
    /// It names no realm.
    #[error("the challenge has no realm")]
    NoRealm,
    /// Its scope is malformed.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

impl FromStr for BearerChallenge {
    type Err = ChallengeSyntaxError;

    /// Reads the one challenge of a header. Parameters and errors that are unknown here are passed over.
    fn from_str(text: &str) -> Result<Self, ChallengeSyntaxError> {
        if text.len() > MAX_CHALLENGE_BYTES {
            return Err(ChallengeSyntaxError::TooLong);
        }
        let (scheme, parameters) = text.trim().split_once(' ').ok_or(ChallengeSyntaxError::NotBearer)?;
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(ChallengeSyntaxError::NotBearer);
        }
        let [realm, service, scope, error, description] = known_parameters(parameters)?;
        Ok(Self {
            realm: realm.ok_or(ChallengeSyntaxError::NoRealm)?,
            service: service.unwrap_or_default(),
            scope: parse_scope(&scope.unwrap_or_default())?,
            error: error.and_then(|error| {
                [ChallengeError::InvalidToken, ChallengeError::InsufficientScope]
                    .into_iter()
                    .find(|known| known.as_str() == error)
            }),
            description: description.as_deref().map(printable),
        })
    }
}

fn parse_scope(text: &str) -> Result<Vec<Scope>, ScopeError> {
    if text.len() > MAX_SCOPE_BYTES {
        return Err(ScopeError::TooLong);
    }
    let scopes = scope::words(text).map(str::parse).collect::<Result<Vec<_>, _>>()?;
    if scopes.len() > MAX_SCOPES { Err(ScopeError::TooManyScopes) } else { Ok(scopes) }
}

const PARAMETERS: [&str; 5] = ["realm", "service", "scope", "error", "error_description"];

/// The values of [`PARAMETERS`], where they stand there.
fn known_parameters(text: &str) -> Result<[Option<String>; 5], ChallengeSyntaxError> {
    let mut known = [const { None }; 5];
    let mut rest = text.trim_start();
    loop {
        let (name, value) = rest.split_once('=').ok_or(ChallengeSyntaxError::Malformed)?;
        let name = name.trim_end();
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(ChallengeSyntaxError::Malformed);
        }
        let (value, after) = parse_value(value.trim_start())?;
        let position = PARAMETERS.into_iter().position(|it| it.eq_ignore_ascii_case(name));
        if let Some(position) = position
            && known[position].replace(value).is_some()
        {
            return Err(ChallengeSyntaxError::Twice);
        }
        let after = after.trim_start();
        if after.is_empty() {
            return Ok(known);
        }
        rest = after.strip_prefix(',').ok_or(ChallengeSyntaxError::Malformed)?.trim_start();
    }
}

/// A token or a quoted string, and what stands behind it.
fn parse_value(text: &str) -> Result<(String, &str), ChallengeSyntaxError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        let is_token = !value.is_empty() && value.bytes().all(is_token_byte);
        return if is_token { Ok((value.to_owned(), after)) } else { Err(ChallengeSyntaxError::Malformed) };
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        let character = match character {
            '"' => return Ok((value, characters.as_str())),
            '\\' => characters.next().ok_or(ChallengeSyntaxError::Malformed)?,
            other => other,
        };
        if character.is_ascii_control() {
            return Err(ChallengeSyntaxError::Malformed);
        }
        value.push(character);
    }
    Err(ChallengeSyntaxError::Malformed)
}

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scope::tests::scopes;

    fn challenge(text: &str) -> Result<BearerChallenge, ChallengeSyntaxError> {
        text.parse()
    }

    fn acme() -> BearerChallenge {
        BearerChallenge {
            realm: "https://auth.example.com/token".into(),
            service: "registry.example.com".into(),
            scope: vec!["repository:acme/web:pull,push".parse().unwrap(), "repository:base/img:pull".parse().unwrap()],
            error: Some(ChallengeError::InsufficientScope),
            description: None,
        }
    }

    #[test]
    fn a_challenge_is_written_as_docker_reads_it() {
        let text = concat!(
            r#"Bearer realm="https://auth.example.com/token",service="registry.example.com","#,
            r#"scope="repository:acme/web:pull,push repository:base/img:pull",error="insufficient_scope""#
        );
        assert_eq!(acme().to_string(), text);
        assert_eq!(challenge(text), Ok(acme()));
        let bare = BearerChallenge { scope: vec![], error: None, ..acme() };
        let text = r#"Bearer realm="https://auth.example.com/token",service="registry.example.com""#;
        assert_eq!(bare.to_string(), text);
        assert_eq!(challenge(text), Ok(bare));
    }

    #[test]
    fn a_description_says_it_in_the_characters_of_a_header() {
        let described = BearerChallenge { description: Some("\u{fc}ber \"alice\" \\ may\r\nnot".into()), ..acme() };
        let text = described.to_string();
        assert!(text.ends_with(r#",error="insufficient_scope",error_description="?ber 'alice' / may??not""#), "{text}");
        let read = challenge(&text).unwrap();
        assert_eq!(read.description.as_deref(), Some("?ber 'alice' / may??not"));
        assert_eq!(read.to_string(), text);
    }

    #[test]
    fn strangers_challenges_are_read() {
        let read =
            challenge(r#"bearer Realm=a , SERVICE = "b" ,charset="UTF-8", error=invalid_request,x="\"" "#).unwrap();
        assert_eq!((read.realm.as_str(), read.service.as_str(), read.error), ("a", "b", None));
        let read = challenge(r#"Bearer realm="a",scope="repository:x:pull  repository:x:push""#).unwrap();
        assert_eq!((read.service.as_str(), read.scope.len()), ("", 2));
    }

    #[test]
    fn what_is_no_bearer_challenge_is_refused() {
        use ChallengeSyntaxError::{Malformed, NoRealm, NotBearer, Twice};
        let table = [
            ("", NotBearer),
            ("Bearer", NotBearer),
            (r#"Basic realm="x""#, NotBearer),
            (r#"Bearerrealm="x""#, NotBearer),
            (r#"Bearer service="x""#, NoRealm),
            ("Bearer realm", Malformed),
            ("Bearer realm=", Malformed),
            ("Bearer =x", Malformed),
            (r#"Bearer realm="x"#, Malformed),
            (r#"Bearer realm="x\"#, Malformed),
            (r#"Bearer realm="x" service="y""#, Malformed),
            (r#"Bearer realm="x","#, Malformed),
            (r#"Bearer realm="x",,service="y""#, Malformed),
            ("Bearer realm=http://x", Malformed),
            ("Bearer realm=\"a\r\nb\"", Malformed),
            ("Bearer realm=\"a\\\nb\"", Malformed),
            (r#"Bearer re alm="x""#, Malformed),
            (r#"Bearer realm="x",realm="y""#, Twice),
            (r#"Bearer realm="x",scope="",Scope="""#, Twice),
        ];
        for (text, error) in table {
            assert_eq!(challenge(text), Err(error), "{text:?}");
        }
        let bad_scope = challenge(r#"Bearer realm="x",scope="repository:x""#);
        assert_eq!(bad_scope, Err(ChallengeSyntaxError::Scope(ScopeError::Malformed)));
    }

    #[test]
    fn every_limit_holds_at_its_edge() {
        let padded = |bytes: usize| {
            let text = r#"Bearer realm="x",y="""#;
            text.replace(r#"y="""#, &format!(r#"y="{}""#, "z".repeat(bytes - text.len())))
        };
        assert!(challenge(&padded(MAX_CHALLENGE_BYTES)).is_ok());
        assert_eq!(challenge(&padded(MAX_CHALLENGE_BYTES + 1)), Err(ChallengeSyntaxError::TooLong));

        let scopes = |count: usize| format!(r#"Bearer realm="x",scope="{}""#, "repository:a:pull ".repeat(count));
        assert!(challenge(&scopes(64)).is_ok());
        assert_eq!(challenge(&scopes(65)), Err(ChallengeSyntaxError::Scope(ScopeError::TooManyScopes)));
        let long = |bytes: usize| format!(r#"Bearer realm="x",scope="{}""#, " ".repeat(bytes));
        assert!(challenge(&long(8192)).is_ok());
        assert_eq!(challenge(&long(8193)), Err(ChallengeSyntaxError::Scope(ScopeError::TooLong)));
    }

    #[test]
    fn nothing_in_a_realm_can_end_the_header() {
        let sly = BearerChallenge { realm: "a\r\nSet-Cookie: x=\"\\".into(), ..acme() };
        assert!(sly.to_string().starts_with(r#"Bearer realm="aSet-Cookie: x=\"\\",service="#), "{sly}");
    }

    fn challenges() -> impl Strategy<Value = BearerChallenge> {
        let text = || r#"([ -~]|é|\\|"){0,20}"#;
        let errors = prop::sample::select(vec![
            None,
            Some(ChallengeError::InvalidToken),
            Some(ChallengeError::InsufficientScope),
        ]);
        let description = prop::option::of("[ -!#-\\[\\]-~]{0,20}");
        (text(), text(), prop::collection::vec(scopes(), 0..4), errors, description).prop_map(
            |(realm, service, scope, error, description)| BearerChallenge { realm, service, scope, error, description },
        )
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(challenge in challenges()) {
            prop_assert_eq!(challenge.to_string().parse(), Ok(challenge));
        }

        #[test]
        fn whatever_is_accepted_reads_back_as_itself(
            text in r#"(Bearer )?(realm="?\\?[a-zé\n]{0,3}"?,)?([a-z]{0,3}=?"?\\?[a-zé, ]{0,4}"?,?){0,3}"#
        ) {
            if let Ok(challenge) = text.parse::<BearerChallenge>() {
                prop_assert_eq!(challenge.to_string().parse(), Ok(challenge));
            }
        }
    }
}
