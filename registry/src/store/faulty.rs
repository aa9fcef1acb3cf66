//! A store that fails as asked: what a disk, a network or a crash does to the store behind it.

use std::{
    collections::VecDeque,
    fmt, io, mem,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use shared::digest::{Algorithm, Hasher};
use url::Url;

use super::{Found, Listed, OpenUpload, Reading, StorageKey, Store, StoreError};

/// A call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// The opening of an upload's bytes, by its first step.
    Open,
    Write,
    Hash,
    Finish,
    Put,
    Read,
    Size,
    Delete,
    SetAside,
    List,
}

/// What happens instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done, an error is answered.
    Error,
    /// It is done, an error is answered.
    LostAnswer,
    /// It is done, late.
    Delay(Duration),
    /// Only this many bytes of a write are done, then an error is answered.
    ShortWrite(usize),
    /// The disk is full.
    Full,
    /// Of a deletion: it is answered now, and done when [`Faulty::deliver`] is called.
    Late,
}

/// What happens at random, and how often: each call has so many chances in a thousand to meet a fault.
#[derive(Clone, Copy, Debug)]
struct Weather {
    state: u64,
    per_mille: u64,
    faults: u64,
}

impl Weather {
    /// splitmix64: the same faults for the same seed and the same calls.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// What this call meets. A read is answered wrongly by no fault: lost bytes are another story.
    fn meets(&mut self, call: Call) -> Option<Fault> {
        if self.draw() % 1000 >= self.per_mille {
            return None;
        }
        self.faults += 1;
        let late = Fault::Delay(Duration::from_millis(self.draw() % 20));
        Some(match (call, self.draw() % 5) {
            (Call::Delete, 0 | 1) => Fault::Late,
            (Call::Write, 0) => Fault::ShortWrite(usize::try_from(self.draw() % 8).unwrap_or(0)),
            (Call::Write | Call::Finish, 1) => Fault::Full,
            (_, 0..3) => Fault::LostAnswer,
            (_, 3) => late,
            _ => Fault::Error,
        })
    }
}

/// Wraps a store and has planned faults, each of which happens once, at the next call of its kind; and faults at random, while it storms.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn Store>,
    plan: Arc<Mutex<VecDeque<(Call, Fault)>>>,
    weather: Arc<Mutex<Option<Weather>>>,
    late: Arc<Mutex<Vec<StorageKey>>>,
    /// What it says instead of what the store behind it does.
    part_size: Option<u64>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, plan: Arc::default(), weather: Arc::default(), late: Arc::default(), part_size: None }
    }

    /// Says that it takes parts of so many bytes, as object stores do.
    pub(crate) fn in_parts_of(self, bytes: u64) -> Self {
        Self { part_size: Some(bytes), ..self }
    }

    /// The next `call` without a fault of its own meets `fault`.
    pub(crate) fn plan(&self, call: Call, fault: Fault) {
        self.plan.lock().unwrap().push_back((call, fault));
    }

    /// Whether everything planned has happened.
    pub(crate) fn is_spent(&self) -> bool {
        self.plan.lock().unwrap().is_empty()
    }

    /// From now on calls meet faults at random, the same ones for the same seed.
    pub(crate) fn storm(&self, seed: u64, per_mille: u64) {
        *self.weather.lock().unwrap() = Some(Weather { state: seed, per_mille, faults: 0 });
    }

    /// Ends a storm; answers how many faults there were.
    pub(crate) fn calm(&self) -> u64 {
        self.weather.lock().unwrap().take().map_or(0, |weather| weather.faults)
    }

    /// Carries out the deletions that are late; answers how many.
    pub(crate) async fn deliver(&self) -> usize {
        let keys = std::mem::take(&mut *self.late.lock().unwrap());
        self.inner.delete(&keys).await.unwrap();
        keys.len()
    }

    fn plans(&self, call: Call) -> bool {
        self.plan.lock().unwrap().iter().any(|(planned, _)| *planned == call)
    }

    fn next(&self, call: Call) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        match plan.iter().position(|(planned, _)| *planned == call) {
            Some(position) => plan.remove(position).map(|(_, fault)| fault),
            None => self.weather.lock().unwrap().as_mut()?.meets(call),
        }
    }

    /// Does `work`, or what was planned instead of it.
    async fn perform<T>(
        &self,
        call: Call,
        key: &StorageKey,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.meet(self.next(call), key, work).await
    }

    /// Does `work`, or what `fault` makes of it.
    async fn meet<T>(
        &self,
        fault: Option<Fault>,
        key: &StorageKey,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match fault {
            None => work.await,
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                work.await
            }
            Some(Fault::LostAnswer) => {
                work.await?;
                Err(failure(key))
            }
            Some(Fault::Full) => Err(StoreError::NoSpace(key.clone())),
            Some(Fault::Error | Fault::ShortWrite(_) | Fault::Late) => Err(failure(key)),
        }
    }
}

fn failure(key: &StorageKey) -> StoreError {
    StoreError::Io { key: key.clone(), source: io::Error::other("planned") }
}

impl Store for Faulty {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn part_size(&self) -> Option<u64> {
        self.part_size.or(self.inner.part_size())
    }

    fn room(&self, bytes: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.room(bytes)
    }

    fn upload(&self, key: &StorageKey, found: Found) -> Box<dyn OpenUpload> {
        let inner = self.inner.upload(key, found);
        Box::new(FaultyUpload { inner, key: key.clone(), store: self.clone(), opened: false })
    }

    fn put<'a>(&'a self, key: &'a StorageKey, bytes: Bytes) -> BoxFuture<'a, Result<(), StoreError>> {
        self.perform(Call::Put, key, self.inner.put(key, bytes)).boxed()
    }

    fn read<'a>(&'a self, key: &'a StorageKey, range: Range<u64>) -> BoxFuture<'a, Result<Reading, StoreError>> {
        self.perform(Call::Read, key, self.inner.read(key, range)).boxed()
    }

    fn size<'a>(&'a self, key: &'a StorageKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.perform(Call::Size, key, self.inner.size(key)).boxed()
    }

    fn delete<'a>(&'a self, keys: &'a [StorageKey]) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let key = keys.first().cloned().unwrap_or_else(|| StorageKey::stored("none"));
            match self.next(Call::Delete) {
                Some(Fault::Late) => {
                    self.late.lock().unwrap().extend_from_slice(keys);
                    Ok(())
                }
                fault => self.meet(fault, &key, self.inner.delete(keys)).await,
            }
        }
        .boxed()
    }

    fn set_aside<'a>(&'a self, key: &'a StorageKey, line: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.perform(Call::SetAside, key, self.inner.set_aside(key, line)).boxed()
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a StorageKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        async move { self.perform(Call::List, &StorageKey::stored("list"), self.inner.list(after, limit)).await }
            .boxed()
    }

    fn redirect<'a>(&'a self, key: &'a StorageKey, life: Duration) -> BoxFuture<'a, Result<Option<Url>, StoreError>> {
        self.inner.redirect(key, life)
    }
}

struct FaultyUpload {
    inner: Box<dyn OpenUpload>,
    key: StorageKey,
    store: Faulty,
    opened: bool,
}

impl FaultyUpload {
    /// Opens the bytes as the first step would, or does what was planned instead.
    async fn open(&mut self) -> Result<(), StoreError> {
        if mem::replace(&mut self.opened, true) || !self.store.plans(Call::Open) {
            return Ok(());
        }
        // To write nothing is to open.
        let opening = self.inner.write(0, Vec::new(), Hasher::new(Algorithm::Sha256));
        self.store.perform(Call::Open, &self.key, opening).await.map(drop)
    }
}

impl fmt::Debug for FaultyUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyUpload").field("key", &self.key).finish_non_exhaustive()
    }
}

impl OpenUpload for FaultyUpload {
    fn write(&mut self, offset: u64, pieces: Vec<Bytes>, hasher: Hasher) -> BoxFuture<'_, Result<Hasher, StoreError>> {
        async move {
            self.open().await?;
            match self.store.next(Call::Write) {
                Some(Fault::ShortWrite(bytes)) => {
                    let whole = Bytes::from(pieces.concat());
                    let written = whole.slice(..bytes.min(whole.len()));
                    self.inner.write(offset, vec![written], hasher).await?;
                    Err(failure(&self.key))
                }
                fault => self.store.meet(fault, &self.key, self.inner.write(offset, pieces, hasher)).await,
            }
        }
        .boxed()
    }

    fn hash(&mut self, algorithm: Algorithm, length: u64) -> BoxFuture<'_, Result<Hasher, StoreError>> {
        async move {
            self.open().await?;
            self.store.perform(Call::Hash, &self.key, self.inner.hash(algorithm, length)).await
        }
        .boxed()
    }

    fn finish(&mut self, length: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.open().await?;
            self.store.perform(Call::Finish, &self.key, self.inner.finish(length)).await
        }
        .boxed()
    }
}

#[tokio::test]
async fn without_a_plan_it_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let filesystem = super::filesystem::Filesystem::open(directory.path()).unwrap();
    let faulty = Faulty::new(Arc::new(filesystem));
    super::contract::holds(Arc::new(faulty.clone())).await;
    assert!(faulty.is_spent());
}

#[tokio::test]
async fn faults_happen_once_and_as_planned() {
    let directory = tempfile::tempdir().unwrap();
    let store = Faulty::new(Arc::new(super::filesystem::Filesystem::open(directory.path()).unwrap()));
    let key = StorageKey::fresh();
    store.plan(Call::Put, Fault::Error);
    store.plan(Call::Put, Fault::LostAnswer);
    store.put(&key, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(store.size(&key).await.unwrap(), None, "an error does nothing");
    store.put(&key, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(store.size(&key).await.unwrap(), Some(1), "a lost answer does everything");
    store.plan(Call::Size, Fault::Full);
    assert!(matches!(store.size(&key).await, Err(StoreError::NoSpace(_))));
    store.plan(Call::Size, Fault::Delay(Duration::from_millis(1)));
    assert_eq!(store.size(&key).await.unwrap(), Some(1), "late, but done");
    let key = StorageKey::fresh();
    let mut upload = store.upload(&key, Found::Nothing);
    store.plan(Call::Write, Fault::ShortWrite(2));
    let hasher = Hasher::new(Algorithm::Sha256);
    upload.write(0, vec![Bytes::from_static(b"abc")], hasher).await.unwrap_err();
    assert_eq!(store.size(&key).await.unwrap(), Some(2));
    store.plan(Call::Delete, Fault::Late);
    store.delete(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(store.size(&key).await.unwrap(), Some(2), "it says so, and has not done it");
    assert_eq!(store.deliver().await, 1);
    assert_eq!(store.size(&key).await.unwrap(), None);
    assert!(store.is_spent());
}

#[tokio::test]
async fn a_storm_is_the_same_for_the_same_seed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Faulty::new(Arc::new(super::filesystem::Filesystem::open(directory.path()).unwrap()));
    let mut runs = Vec::new();
    for _ in 0..2 {
        store.storm(7, 500);
        let mut answers = Vec::new();
        for _ in 0..100 {
            answers.push(store.size(&StorageKey::stored("blobs/00/0")).await.is_ok());
        }
        runs.push((answers, store.calm()));
    }
    assert_eq!(runs[0], runs[1]);
    assert!((30..70).contains(&runs[0].1), "half of a hundred calls: {}", runs[0].1);
    assert!(store.size(&StorageKey::stored("blobs/00/0")).await.is_ok(), "a calm store is a store");
}
