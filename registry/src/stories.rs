//! Stories of bytes, told over everything below `http`: content, collector, metadata and store together.

mod collecting;
pub(crate) mod stage;
