//! Stories of bytes, told over everything below `http`: content, collector, metadata and store together.

mod beside_each_other;
mod collecting;
pub(crate) mod stage;
