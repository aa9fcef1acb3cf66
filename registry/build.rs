//! Builds again when a migration is added: `sqlx::migrate!` reads the directory at compile time, and cargo does not see it.

fn main() {
    println!("cargo:rerun-if-changed=../migrations/registry");
}
