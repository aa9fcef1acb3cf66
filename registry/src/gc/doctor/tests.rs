//! Every fault, made by hand, what the doctor says of it, and what a repair leaves of it.

mod broken;
mod cases;
mod dry;
mod goes_on;
mod healthy;
mod large;
mod referrers;
mod repaired;
