//! argon2 over memory that goes back to the kernel.
//!
//! The C library keeps what it has once handed out in one piece and got back: after a hash of 19 MiB glibc holds pieces of that size
//! in the arena of every thread that hashed, for good, and gives back nothing smaller either. A piece above 32 MiB is one that it
//! maps for the caller and unmaps again, and learns nothing from. So more is reserved than is used; what nobody touches costs nothing.

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};

/// The memory that is reserved for a hash at least, in blocks.
const RESERVED_BLOCKS: usize = 33 * 1024 * 1024 / Block::SIZE;

/// Hashes a password; None if argon2 does not accept salt or parameters.
pub(super) fn hash(argon2: &Argon2<'_>, algorithm: Algorithm, password: &[u8], salt: &[u8]) -> Option<PasswordHash> {
    let hash = output(argon2, password, salt)?;
    Some(PasswordHash {
        algorithm: algorithm.ident(),
        version: Some(Version::default().into()),
        params: ParamsString::try_from(argon2.params()).ok()?,
        salt: Some(Salt::new(salt).ok()?),
        hash: Some(hash),
    })
}

/// True if the password is the one that was hashed. The outputs are compared in constant time.
pub(super) fn verify(hash: &PasswordHash, password: &[u8]) -> bool {
    let verified = || {
        let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
        let version = hash.version.map(Version::try_from).transpose().ok()?.unwrap_or_default();
        let argon2 = Argon2::new(algorithm, version, Params::try_from(hash).ok()?);
        Some(output(&argon2, password, hash.salt.as_ref()?)? == *hash.hash.as_ref()?)
    };
    verified().unwrap_or(false)
}

fn output(argon2: &Argon2<'_>, password: &[u8], salt: &[u8]) -> Option<Output> {
    let params = argon2.params();
    let mut blocks = Vec::with_capacity(params.block_count().max(RESERVED_BLOCKS));
    blocks.resize(params.block_count(), Block::new());
    let mut buffer = [0; Output::MAX_LENGTH];
    let output = buffer.get_mut(..params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN))?;
    argon2.hash_password_into_with_memory(password, salt, output, &mut blocks).ok()?;
    Output::new(output).ok()
}
