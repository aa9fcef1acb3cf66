//! Stories of bytes, told over everything below `http`: content, collector, metadata and store together.

mod backups;
mod batches;
mod beside_each_other;
mod by_hand;
mod collecting;
mod faults;
mod found_bytes;
mod large_manifests;
mod model;
mod quotas;
pub(crate) mod stage;
mod stress;
mod tags_in_order;
