//! Stories of uploads: how they go well, who may write them, and what becomes of them when something breaks.

mod broken;
mod going_well;
mod one_writer;
