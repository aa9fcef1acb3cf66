//! What stands between passwords and whoever guesses them, the same at both services: how often somebody may try, and how many
//! passwords are hashed at once.

pub mod queue;
pub mod throttle;
