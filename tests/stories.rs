//! What people and machines do with a registry, told in their order and with the clients that they use.

mod apart;
mod audit_trail;
mod backups;
mod command_socket;
mod commands;
mod compose;
mod configured;
mod deletes;
mod docker;
mod doctor;
mod facts;
mod foreign_issuers;
mod full_disk;
mod garbage;
mod guessing;
mod guests;
mod hanging_up;
mod hostile;
mod key_sets;
#[cfg(debug_assertions)]
mod kill_matrix;
mod kills;
mod lifecycle;
mod many_uploads;
mod needs_go;
mod request_ids;
mod revocations;
mod robots;
mod skopeo;
mod starting;
mod strangers;
mod tls;
mod token_attacks;
mod undelete;
mod uploads;
