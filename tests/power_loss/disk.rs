//! A disk under a directory of files, as it may be found after its power was lost.
//!
//! It promises what POSIX promises and nothing that a certain filesystem adds. What a file or a directory was given since its last sync may be there or
//! not, each piece for itself and in any order: pages of writes, lengths, names. A sync of a file says nothing about the file's name; that is the
//! directory's. Two things are taken for granted: a rename within a directory is one step, and a name leads to the whole of what was synced under it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::chance::Chance;

/// What a disk writes at once: a write may be torn between two of these.
const PAGE: u64 = 4096;

/// A file or a directory, by when it was made.
pub(super) type Id = usize;

/// Which syncs are believed. A test that would hold without syncs shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syncs {
    /// All of them.
    Honoured,
    /// Those of directories do nothing.
    NotOfDirectories,
    /// Those of the database's files do nothing.
    NotOfTheDatabase,
    /// Those of blobs do nothing.
    NotOfBlobs,
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// All of it is lost.
    Everything,
    /// All of it was written in time.
    Nothing,
    /// Each piece is lost or not, whatever came before or behind it.
    AnyOfIt,
    /// Names and lengths are there, the bytes are not.
    Bytes,
    /// The bytes are there, the names are not.
    Names,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
}

/// A change of a directory.
#[derive(Clone, Debug)]
enum Entry {
    Linked(String, Id),
    Unlinked(String),
    Renamed(String, String, Id),
}

#[derive(Clone, Debug)]
enum Node {
    File { synced: Vec<u8>, since: Vec<Change>, path: PathBuf },
    Directory { synced: BTreeMap<String, Id>, since: Vec<Entry>, now: BTreeMap<String, Id> },
}

/// How much of a file's or a directory's changes had been made when a sync was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    id: Id,
    changes: usize,
    /// How often changes had become durable before: those are no longer in the list.
    generation: usize,
}

/// The disk.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    generations: Vec<usize>,
    /// Writes that have not returned yet: any part of them may be there.
    under_way: BTreeMap<u32, (Id, Change)>,
    syncs: Syncs,
}

impl Disk {
    /// An empty directory, synced.
    pub(super) fn new(root: &Path, syncs: Syncs) -> Self {
        let directory = Node::Directory { synced: BTreeMap::new(), since: Vec::new(), now: BTreeMap::new() };
        Self { root: root.to_owned(), nodes: vec![directory], generations: vec![0], under_way: BTreeMap::new(), syncs }
    }

    /// What stands at a path, if that is below the root and was not there before the trace.
    pub(super) fn find(&self, path: &Path) -> Option<Id> {
        let below = path.strip_prefix(&self.root).ok()?;
        below.iter().try_fold(0, |directory, name| match &self.nodes[directory] {
            Node::Directory { now, .. } => now.get(name.to_str()?).copied(),
            Node::File { .. } => None,
        })
    }

    /// The directory that a path lies in, and its name there.
    fn place(&self, path: &Path) -> Option<(Id, String)> {
        let name = path.file_name()?.to_str()?.to_owned();
        path.strip_prefix(&self.root).ok()?;
        Some((self.find(path.parent()?)?, name))
    }

    /// Makes an empty file; `None` outside.
    pub(super) fn make_file(&mut self, path: &Path) -> Option<Id> {
        self.make(path, Node::File { synced: Vec::new(), since: Vec::new(), path: path.to_owned() })
    }

    pub(super) fn make_directory(&mut self, path: &Path) -> Option<Id> {
        self.make(path, Node::Directory { synced: BTreeMap::new(), since: Vec::new(), now: BTreeMap::new() })
    }

    fn make(&mut self, path: &Path, node: Node) -> Option<Id> {
        let (directory, name) = self.place(path)?;
        self.nodes.push(node);
        self.generations.push(0);
        let id = self.nodes.len() - 1;
        self.enter(directory, Entry::Linked(name, id));
        Some(id)
    }

    pub(super) fn remove(&mut self, path: &Path) {
        if let Some((directory, name)) = self.place(path) {
            self.enter(directory, Entry::Unlinked(name));
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        let (Some((left, old)), Some((entered, new))) = (self.place(from), self.place(to)) else { return };
        assert_eq!(left, entered, "a rename between directories is not modelled: {} {}", from.display(), to.display());
        // A socket: nobody opens it, and it has no bytes.
        let Some(id) = self.find(from) else { return };
        self.enter(left, Entry::Renamed(old, new, id));
    }

    fn enter(&mut self, directory: Id, entry: Entry) {
        let Node::Directory { since, now, .. } = &mut self.nodes[directory] else { panic!("no directory") };
        entry.apply(now);
        since.push(entry);
    }

    /// A write was asked for by a thread.
    pub(super) fn write_begun(&mut self, thread: u32, id: Id, offset: u64, data: Vec<u8>) {
        self.under_way.insert(thread, (id, Change::Write { offset, data }));
    }

    /// It returned: so many bytes were taken.
    pub(super) fn write_ended(&mut self, thread: u32, taken: usize) {
        let Some((id, Change::Write { offset, mut data })) = self.under_way.remove(&thread) else { return };
        data.truncate(taken);
        self.change(id, Change::Write { offset, data });
    }

    pub(super) fn cut(&mut self, id: Id, length: u64) {
        self.change(id, Change::Length(length));
    }

    fn change(&mut self, id: Id, change: Change) {
        let Node::File { since, .. } = &mut self.nodes[id] else { panic!("a directory is not written") };
        since.push(change);
    }

    /// A sync was asked for: what it will vouch for.
    pub(super) fn promise(&self, id: Id) -> Promise {
        let changes = match &self.nodes[id] {
            Node::File { since, .. } => since.len(),
            Node::Directory { since, .. } => since.len(),
        };
        Promise { id, changes, generation: self.generations[id] }
    }

    /// It returned.
    pub(super) fn keep(&mut self, promise: Promise) {
        let Promise { id, changes, generation } = promise;
        if !self.is_believed(id) {
            return;
        }
        // Another sync came to its end in between and took the first of these changes with it.
        let done = self.generations[id] - generation;
        let count = changes.saturating_sub(done);
        self.generations[id] += count;
        match &mut self.nodes[id] {
            Node::File { synced, since, .. } => since.drain(..count).for_each(|change| change.apply(synced)),
            Node::Directory { synced, since, .. } => since.drain(..count).for_each(|entry| entry.apply(synced)),
        }
    }

    fn is_believed(&self, id: Id) -> bool {
        let of_database = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".db"));
        match (&self.nodes[id], self.syncs) {
            (_, Syncs::Honoured) | (Node::File { .. }, Syncs::NotOfDirectories) => true,
            (Node::Directory { .. }, syncs) => syncs != Syncs::NotOfDirectories,
            (Node::File { path, .. }, Syncs::NotOfTheDatabase) => !of_database(path),
            (Node::File { path, .. }, Syncs::NotOfBlobs) => of_database(path),
        }
    }

    /// How many changes are not durable yet.
    pub(super) fn waiting(&self) -> usize {
        let waiting = |node: &Node| match node {
            Node::File { since, .. } => since.len(),
            Node::Directory { since, .. } => since.len(),
        };
        self.nodes.iter().map(waiting).sum::<usize>() + self.under_way.len()
    }

    /// Writes into `target` what may be found when the power is lost now.
    pub(super) fn crash(&self, target: &Path, loss: Loss, chance: &mut Chance) {
        self.write_directory(0, target, loss, chance);
    }

    fn write_directory(&self, id: Id, target: &Path, loss: Loss, chance: &mut Chance) {
        let Node::Directory { synced, since, .. } = &self.nodes[id] else { panic!("no directory") };
        let mut entries = synced.clone();
        for entry in since.iter().filter(|_| loss.keeps_name(chance)) {
            entry.apply(&mut entries);
        }
        fs::create_dir_all(target).expect("a directory can be made");
        let mut written = BTreeSet::new();
        for (name, id) in entries {
            match &self.nodes[id] {
                Node::Directory { .. } => self.write_directory(id, &target.join(name), loss, chance),
                // A file that lost both ends of a rename would stand here twice; its bytes are the same.
                Node::File { .. } => {
                    fs::write(target.join(&name), self.content(id, loss, chance)).expect("a file can be written");
                    written.insert(id);
                }
            }
        }
    }

    fn content(&self, id: Id, loss: Loss, chance: &mut Chance) -> Vec<u8> {
        let Node::File { synced, since, .. } = &self.nodes[id] else { panic!("no file") };
        let mut content = synced.clone();
        let under_way = self.under_way.values().filter(|(written, _)| *written == id).map(|(_, change)| change);
        for change in since.iter().chain(under_way) {
            change.apply_in_part(&mut content, loss, chance);
        }
        content
    }
}

impl Loss {
    fn keeps_name(self, chance: &mut Chance) -> bool {
        match self {
            Self::Everything | Self::Names => false,
            Self::Nothing | Self::Bytes => true,
            Self::AnyOfIt => chance.coin(),
        }
    }

    fn keeps_bytes(self, chance: &mut Chance) -> bool {
        match self {
            Self::Everything | Self::Bytes => false,
            Self::Nothing | Self::Names => true,
            Self::AnyOfIt => chance.coin(),
        }
    }

    /// A length without its bytes: the file is as long as it should be and reads as zeros.
    fn keeps_length(self, chance: &mut Chance) -> bool {
        self == Self::Bytes || self.keeps_bytes(chance)
    }
}

impl Entry {
    fn apply(&self, entries: &mut BTreeMap<String, Id>) {
        match self {
            Self::Linked(name, id) => {
                entries.insert(name.clone(), *id);
            }
            Self::Unlinked(name) => {
                entries.remove(name);
            }
            Self::Renamed(old, new, id) => {
                entries.remove(old);
                entries.insert(new.clone(), *id);
            }
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => put(content, *offset, data),
            Self::Length(length) => content.resize(usize::try_from(*length).expect("files here are small"), 0),
        }
    }

    /// Applies what was not lost, page by page.
    fn apply_in_part(&self, content: &mut Vec<u8>, loss: Loss, chance: &mut Chance) {
        match self {
            Self::Write { offset, data } => {
                if loss.keeps_length(chance) {
                    let end = usize::try_from(*offset).expect("files here are small") + data.len();
                    content.resize(content.len().max(end), 0);
                }
                let mut from = 0;
                while from < data.len() {
                    let at = offset + from as u64;
                    let page = usize::try_from(PAGE - at % PAGE).expect("a page is small").min(data.len() - from);
                    if loss.keeps_bytes(chance) {
                        put(content, at, &data[from..from + page]);
                    }
                    from += page;
                }
            }
            Self::Length(_) => {
                if loss.keeps_length(chance) {
                    self.apply(content);
                }
            }
        }
    }
}

fn put(content: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let offset = usize::try_from(offset).expect("files here are small");
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(data);
}

#[test]
fn what_was_not_synced_may_be_lost_and_what_was_synced_may_not() {
    let root = Path::new("/data");
    let mut disk = Disk::new(root, Syncs::Honoured);
    let file = disk.make_file(&root.join("a")).unwrap();
    disk.write_begun(1, file, 0, b"first".to_vec());
    disk.write_ended(1, 5);
    let promise = disk.promise(file);
    disk.write_begun(1, file, 5, b" second".to_vec());
    disk.write_ended(1, 7);
    disk.keep(promise);
    let found = |disk: &Disk, loss| {
        let target = tempfile::tempdir().unwrap();
        disk.crash(target.path(), loss, &mut Chance::new(7));
        fs::read_to_string(target.path().join("a")).ok()
    };
    assert_eq!(found(&disk, Loss::Everything), None, "the name was not synced");
    assert_eq!(found(&disk, Loss::Nothing).as_deref(), Some("first second"));
    assert_eq!(found(&disk, Loss::Bytes).as_deref(), Some("first\0\0\0\0\0\0\0"));
    let promise = disk.promise(0);
    disk.keep(promise);
    assert_eq!(found(&disk, Loss::Everything).as_deref(), Some("first"), "behind the sync's beginning");
    assert_eq!(found(&disk, Loss::Names).as_deref(), Some("first second"));
    disk.remove(&root.join("a"));
    assert_eq!(disk.find(&root.join("a")), None);
    assert_eq!(found(&disk, Loss::Names).as_deref(), Some("first second"), "the removal was not synced");
    assert_eq!(found(&disk, Loss::Nothing), None);
    assert_eq!(disk.waiting(), 2);
}

#[test]
fn two_syncs_of_one_file_at_once_keep_what_each_was_asked_for() {
    let root = Path::new("/data");
    let mut disk = Disk::new(root, Syncs::Honoured);
    let file = disk.make_file(&root.join("a")).unwrap();
    let write = |disk: &mut Disk, offset, data: &[u8]| {
        disk.write_begun(1, file, offset, data.to_vec());
        disk.write_ended(1, data.len());
    };
    write(&mut disk, 0, b"a");
    let early = disk.promise(file);
    write(&mut disk, 1, b"b");
    let late = disk.promise(file);
    write(&mut disk, 2, b"c");
    disk.keep(late);
    disk.keep(early);
    let Node::File { synced, since, .. } = &disk.nodes[file] else { panic!() };
    assert_eq!((synced.as_slice(), since.len()), (&b"ab"[..], 1));
}
