//! Programs that Debian does not carry and Go builds: crane, helm, regctl, and CNCF Distribution 3. Where Go is missing these are the tests that
//! `make test` leaves out, by their names, and says so on its last line.

mod crane;
mod distribution;
mod helm;
mod regctl;
