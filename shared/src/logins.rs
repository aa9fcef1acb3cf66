//! What stands between passwords and whoever guesses them, the same at both services: how often somebody may try, and how many
//! passwords are hashed at once.

pub mod queue;
pub mod throttle;

/// The highest cost of bcrypt that is compared with a password: what `htpasswd -C` goes up to. Each step doubles the time, 17 takes several seconds,
/// and 31 would hold a place in the queue for most of a day.
pub const MAX_BCRYPT_COST: u32 = 17;
