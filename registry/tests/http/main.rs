//! The registry as clients see it: requests through its router, content on SQLite and files.

#[cfg(test)]
mod access;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod blobs;
#[cfg(test)]
mod client;
mod doctor;
#[cfg(test)]
mod immutable;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod quotas;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod undelete;
#[cfg(test)]
mod walk;
