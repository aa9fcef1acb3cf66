//! A trace played on a [`Disk`]: which files a server had open, what it did to them, and what it told its clients.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use super::{
    disk::{Disk, Id, Promise, Syncs},
    trace::{Call, Moment},
};

/// What is traced: everything that changes a file or a directory, that says which one is meant, or that speaks to a client.
pub(super) const TRACED: &str = "openat,open,creat,close,dup,dup2,dup3,fcntl,lseek,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,\
    fsync,fdatasync,sync,syncfs,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,mkdir,mkdirat,mmap,\
    sendto,sendmsg,sendmmsg,sendfile,splice,copy_file_range,io_uring_setup";

/// What a 201 names: `(repository, digest)`.
pub(super) type Answered = (String, String);

#[derive(Clone, Copy, Debug)]
struct Open {
    id: Id,
    position: u64,
}

/// A server on its way through the trace.
pub(super) struct Replay {
    pub(super) disk: Disk,
    open: HashMap<i64, Open>,
    promises: BTreeMap<u32, Promise>,
    /// Manifests that were answered with 201, once for each answer, in order.
    pub(super) manifests: Vec<Answered>,
    /// Blobs that were answered with 201.
    pub(super) blobs: Vec<Answered>,
    /// How many syncs have come to their end.
    pub(super) syncs: usize,
}

impl Replay {
    pub(super) fn new(root: &Path, syncs: Syncs) -> Self {
        Self {
            disk: Disk::new(root, syncs),
            open: HashMap::new(),
            promises: BTreeMap::new(),
            manifests: Vec::new(),
            blobs: Vec::new(),
            syncs: 0,
        }
    }

    pub(super) fn play(&mut self, moment: &Moment<'_>) {
        match moment {
            Moment::Begun(call) => self.begun(call),
            Moment::Ended(call, result) if *result >= 0 => self.ended(call, *result),
            // What failed has changed nothing; but a write may have been begun.
            Moment::Ended(call, _) => self.disk.write_ended(call.thread, 0),
        }
    }

    fn begun(&mut self, call: &Call<'_>) {
        match call.name {
            // Another thread may be given the number before this call has returned.
            "close" => drop(self.open.remove(&call.number(0))),
            "write" | "writev" | "pwrite64" | "pwritev" => self.write_begun(call),
            "sendto" | "sendmsg" | "sendmmsg" => self.hear(&call.data()),
            "fsync" | "fdatasync" => {
                if let Some(open) = self.open.get(&call.number(0)) {
                    self.promises.insert(call.thread, self.disk.promise(open.id));
                }
            }
            _ => {}
        }
    }

    fn write_begun(&mut self, call: &Call<'_>) {
        let data = call.data();
        let Some(open) = self.open.get_mut(&call.number(0)) else { return self.hear(&data) };
        let offset = match call.name {
            "write" | "writev" => open.position,
            _ => u64::try_from(call.last_number()).expect("offsets are not negative"),
        };
        self.disk.write_begun(call.thread, open.id, offset, data);
    }

    fn ended(&mut self, call: &Call<'_>, result: i64) {
        match call.name {
            "openat" => self.opened(call, result),
            "write" | "writev" | "pwrite64" | "pwritev" => self.wrote(call, result),
            "fsync" | "fdatasync" => {
                if let Some(promise) = self.promises.remove(&call.thread) {
                    self.disk.keep(promise);
                    self.syncs += 1;
                }
            }
            "ftruncate" => {
                if let Some(open) = self.open.get(&call.number(0)) {
                    self.disk.cut(open.id, u64::try_from(call.number(1)).expect("lengths are not negative"));
                }
            }
            "lseek" => {
                if let Some(open) = self.open.get_mut(&call.number(0)) {
                    open.position = u64::try_from(result).expect("positions are not negative");
                }
            }
            "dup" => self.duplicated(call, result),
            "fcntl" if call.argument(1).starts_with("F_DUPFD") => self.duplicated(call, result),
            "unlink" => self.disk.remove(Path::new(&call.path(0))),
            "unlinkat" => self.disk.remove(Path::new(&call.path(1))),
            "rename" => self.disk.rename(Path::new(&call.path(0)), Path::new(&call.path(1))),
            "renameat" | "renameat2" => self.disk.rename(Path::new(&call.path(1)), Path::new(&call.path(3))),
            "mkdir" => drop(self.disk.make_directory(Path::new(&call.path(0)))),
            "mkdirat" => drop(self.disk.make_directory(Path::new(&call.path(1)))),
            "fcntl" | "close" | "sendto" | "sendmsg" => {}
            "mmap" => self.mapped(call),
            other => self.not_modelled(other, call),
        }
    }

    fn opened(&mut self, call: &Call<'_>, descriptor: i64) {
        let path = PathBuf::from(call.path(1));
        // SQLite makes this one anew when it opens a database: what it held before a loss of power counts for nothing.
        if path.to_string_lossy().ends_with("-shm") {
            return;
        }
        let flags = call.argument(2);
        assert!(
            !flags.contains("O_DIRECT|") && !flags.contains("O_SYNC") && !flags.contains("O_DSYNC"),
            "not modelled: {flags}"
        );
        let found = self.disk.find(&path);
        let made = || flags.contains("O_CREAT");
        let Some(id) = found.or_else(|| made().then(|| self.disk.make_file(&path)).flatten()) else { return };
        if flags.contains("O_TRUNC") {
            self.disk.cut(id, 0);
        }
        self.open.insert(descriptor, Open { id, position: 0 });
    }

    fn wrote(&mut self, call: &Call<'_>, taken: i64) {
        let taken = usize::try_from(taken).expect("a count is not negative");
        self.disk.write_ended(call.thread, taken);
        if matches!(call.name, "write" | "writev")
            && let Some(open) = self.open.get_mut(&call.number(0))
        {
            open.position += taken as u64;
        }
    }

    fn duplicated(&mut self, call: &Call<'_>, descriptor: i64) {
        if let Some(open) = self.open.get(&call.number(0)).copied() {
            self.open.insert(descriptor, open);
        }
    }

    /// Bytes that are changed through memory are seen by no tracer.
    fn mapped(&self, call: &Call<'_>) {
        let (protection, flags) = (call.argument(2), call.argument(3));
        let unseen = protection.contains("PROT_WRITE") && flags.contains("MAP_SHARED");
        assert!(
            !unseen || !self.open.contains_key(&call.number(4)),
            "a file is written through memory: {}",
            call.arguments
        );
    }

    /// A call that this replay does not know how to play must not be about a file of the registry.
    fn not_modelled(&self, name: &str, call: &Call<'_>) {
        let elsewhere = match name {
            "io_uring_setup" | "sync" => false,
            "sendfile" | "fallocate" | "pwritev2" | "syncfs" | "sync_file_range" | "dup2" | "dup3" => {
                !self.open.contains_key(&call.number(0))
            }
            "copy_file_range" | "splice" => !self.open.contains_key(&call.number(2)),
            _ => !call.arguments.is_empty() && self.disk.find(Path::new(&call.path(0))).is_none(),
        };
        assert!(elsewhere, "not modelled: {name}({})", call.arguments);
    }

    /// Notes what a client is told. From the call's beginning on the client may have heard it.
    fn hear(&mut self, said: &[u8]) {
        let Some(head) = said.strip_prefix(b"HTTP/1.1 201 ") else { return };
        let head = String::from_utf8_lossy(head);
        let location = head.lines().take_while(|line| !line.is_empty()).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
        });
        let location = location.unwrap_or_else(|| panic!("a 201 without a place: {head}"));
        let (_, path) = location.split_once("/v2/").unwrap_or_else(|| panic!("whose is {location}?"));
        for (kind, heard) in [("/manifests/", &mut self.manifests), ("/blobs/", &mut self.blobs)] {
            if let Some((repository, digest)) = path.split_once(kind) {
                heard.push((repository.to_owned(), digest.to_owned()));
            }
        }
    }
}
