//! What the token issuer and the registry that enforces its tokens must agree on, and plumbing that neither of them owns.
//!
//! A thing belongs here if changing it would force both services to change. There are no handlers here and no tables.

pub mod clock;
pub mod random;
pub mod secret;
