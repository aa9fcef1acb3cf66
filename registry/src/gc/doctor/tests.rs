//! Every fault, made by hand, and what the doctor says of it.

mod broken;
mod cases;
mod healthy;
