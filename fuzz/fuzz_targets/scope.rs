//! Scopes, as a stranger sends them to the token server, and challenges, as a stranger's registry sends them.
//! Nothing panics, no limit is passed, and what is accepted prints to something that reads back as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::{
    challenge::{BearerChallenge, MAX_CHALLENGE_BYTES},
    scope::{MAX_ACTIONS, MAX_SCOPES, Scope, Scopes},
};

fuzz_target!(|text: &str| {
    if let Ok(scope) = text.parse::<Scope>() {
        assert_eq!(scope.to_string().parse(), Ok(scope));
    }
    // Lines stand for the repeated parameter.
    if let Ok(scopes) = Scopes::parse_list(text.lines()) {
        assert!(scopes.as_slice().len() <= MAX_SCOPES);
        assert!(scopes.iter().all(|scope| scope.actions.len() <= MAX_ACTIONS));
        assert_eq!(Scopes::parse_list([scopes.to_string().as_str()].into_iter()), Ok(scopes));
    }
    if let Ok(challenge) = text.parse::<BearerChallenge>() {
        let printed = challenge.to_string();
        // Quotes and parameters that had been left out can make the longest ones longer.
        if printed.len() <= MAX_CHALLENGE_BYTES {
            assert_eq!(printed.parse(), Ok(challenge));
        }
    }
});
