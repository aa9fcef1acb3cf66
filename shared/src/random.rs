//! Randomness from the operating system, by way of ring.

use ring::rand::{SecureRandom, SystemRandom};

/// `N` random bytes fit for keys, secrets and identifiers.
///
/// # Panics
/// If the operating system has no randomness to give. No key, id or salt may be made then, and a process that got as far as serving has drawn some
/// before, so this is a machine that is broken, not a condition to handle.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// Fills `bytes` with random bytes; for lengths known only at run time.
///
/// # Panics
/// As [`bytes`].
#[expect(clippy::expect_used, reason = "see Panics: nothing may be made without randomness")]
pub fn fill(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the operating system gives randomness");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn draws_do_not_repeat() {
        let draws: HashSet<[u8; 16]> = (0..1_000).map(|_| bytes()).collect();
        assert_eq!(draws.len(), 1_000);
    }

    #[test]
    fn every_byte_is_drawn() {
        let mut seen = [false; 37];
        for _ in 0..64 {
            let draw: [u8; 37] = bytes();
            for (seen, byte) in seen.iter_mut().zip(draw) {
                *seen |= byte != 0;
            }
        }
        assert!(seen.iter().all(|byte| *byte));
    }
}
