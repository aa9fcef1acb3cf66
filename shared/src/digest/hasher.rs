//! A hasher whose state can be put down and taken up again, so that a resumed upload is not read twice.

use std::fmt;

use sha2::{
    Digest as _, Sha256, Sha512,
    digest::common::hazmat::{SerializableState, SerializedState},
};
use thiserror::Error;

use super::{Algorithm, Digest};

/// The first byte of a saved state. It changes when the form of what follows does, with sha2's own form included.
const STATE_VERSION: u8 = 1;
const SHA256: u8 = 1;
const SHA512: u8 = 2;
/// Version, algorithm, and the length as eight bytes, little-endian.
const HEADER_BYTES: usize = 10;

/// A saved state that this program cannot take up: written by another version, damaged, or no state at all.
/// The content has to be hashed again from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the saved hasher state is not readable by this version")]
pub struct UnreadableState;

/// Hashes content as it streams by and counts its bytes.
#[derive(Clone)]
pub struct Hasher {
    state: State,
    length: u64,
}

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { state, length: 0 }
    }

    /// Takes in the next bytes of the content.
    pub fn update(&mut self, content: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(content),
            State::Sha512(state) => state.update(content),
        }
        self.length += content.len() as u64;
    }

    /// How many bytes were taken in, those before a save included.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// What the digest will be made with.
    pub const fn algorithm(&self) -> Algorithm {
        match self.state {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Sha256(state) => Digest::sha256(state.finalize().into()),
            State::Sha512(state) => Digest::sha512(state.finalize().into()),
        }
    }

    /// The state as bytes for [`Hasher::resume`]. It holds the last, incomplete block of the content in clear.
    pub fn save(&self) -> Vec<u8> {
        let mut saved = vec![STATE_VERSION];
        match &self.state {
            State::Sha256(state) => self.append(&mut saved, SHA256, &state.serialize()),
            State::Sha512(state) => self.append(&mut saved, SHA512, &state.serialize()),
        }
        saved
    }

    fn append(&self, saved: &mut Vec<u8>, algorithm: u8, state: &[u8]) {
        saved.push(algorithm);
        saved.extend_from_slice(&self.length.to_le_bytes());
        saved.extend_from_slice(state);
    }

    /// Takes up a state that [`Hasher::save`] put down.
    ///
    /// # Errors
    /// [`UnreadableState`] if the state is of another version or algorithm, or has not the size of one.
    pub fn resume(saved: &[u8]) -> Result<Self, UnreadableState> {
        let (header, state) = saved.split_first_chunk::<HEADER_BYTES>().ok_or(UnreadableState)?;
        let [STATE_VERSION, algorithm, length @ ..] = *header else { return Err(UnreadableState) };
        let state = match algorithm {
            SHA256 => State::Sha256(deserialize(state)?),
            SHA512 => State::Sha512(deserialize(state)?),
            _ => return Err(UnreadableState),
        };
        Ok(Self { state, length: u64::from_le_bytes(length) })
    }
}

fn deserialize<S: SerializableState>(bytes: &[u8]) -> Result<S, UnreadableState> {
    let state: &SerializedState<S> = bytes.try_into().map_err(|_| UnreadableState)?;
    S::deserialize(state).map_err(|_| UnreadableState)
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("algorithm", &self.algorithm())
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
