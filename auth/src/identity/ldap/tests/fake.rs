//! A directory that says what a test wants, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the fake does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Sends these bytes.
    Says(Vec<u8>),
    /// Sends nothing, and keeps the connection.
    Stalls,
    /// Sends these bytes and closes.
    SaysAndLeaves(Vec<u8>),
    /// Sends these bytes over and over.
    Repeats(Vec<u8>),
}

pub(crate) struct Fake {
    pub(crate) url: String,
    /// Every request of every connection, as it came.
    pub(crate) requests: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// `answer` gets the number of the message and the tag of its operation.
    pub(crate) async fn start(answer: impl Fn(u8, u8) -> Does + Send + Sync + 'static) -> Self {
        Self::reading(move |id, operation, _| answer(id, operation)).await
    }

    /// And the whole request.
    pub(crate) async fn reading(answer: impl Fn(u8, u8, &[u8]) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ldap://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (answer, seen) = (Arc::new(answer), requests.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), seen.clone()));
            }
        });
        Self { url, requests, task }
    }

    pub(crate) fn seen(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(u8, u8, &[u8]) -> Does>, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut bytes = Vec::new();
    loop {
        let whole = loop {
            if let Some(whole) =
                crate::identity::ldap::message::length(&bytes).unwrap().filter(|whole| *whole <= bytes.len())
            {
                break whole;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let request: Vec<u8> = bytes.drain(..whole).collect();
        let (id, operation) = head(&request);
        let does = answer(id, operation, &request);
        seen.lock().unwrap().push(request);
        match does {
            Does::Says(answer) => stream.write_all(&answer).await.unwrap_or(()),
            Does::Stalls => {}
            Does::SaysAndLeaves(answer) => {
                let _ = stream.write_all(&answer).await;
                return;
            }
            Does::Repeats(answer) => while stream.write_all(&answer).await.is_ok() {},
        }
    }
}

/// The number of a message, and the tag of its operation.
pub(crate) fn head(request: &[u8]) -> (u8, u8) {
    let head = if request[1] < 0x80 { 2 } else { 2 + usize::from(request[1] - 0x80) };
    (request[head + 2], request[head + 3])
}

pub(crate) const BIND: u8 = 0x60;
pub(crate) const SEARCH: u8 = 0x63;
pub(crate) const EXTENDED: u8 = 0x77;

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => bytes.push(length),
        _ => {
            bytes.push(0x84);
            bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        }
    }
    bytes.extend(content);
    bytes
}

pub(crate) fn result(id: u8, tag: u8, code: u8) -> Vec<u8> {
    let result = tlv(tag, &[tlv(0x0a, &[code]), tlv(0x04, b""), tlv(0x04, b"as you wish")].concat());
    tlv(0x30, &[tlv(0x02, &[id]), result].concat())
}

/// The end of the last page of a search.
pub(crate) fn last_page(id: u8) -> Vec<u8> {
    page(id, b"")
}

/// The end of a page, with the cookie for the next one.
pub(crate) fn page(id: u8, cookie: &[u8]) -> Vec<u8> {
    let done = tlv(0x65, &[tlv(0x0a, &[0]), tlv(0x04, b""), tlv(0x04, b"")].concat());
    let mark = tlv(0x30, &[tlv(0x02, &[0]), tlv(0x04, cookie)].concat());
    let control = tlv(0x30, &[tlv(0x04, b"1.2.840.113556.1.4.319"), tlv(0x04, &mark)].concat());
    tlv(0x30, &[tlv(0x02, &[id]), done, tlv(0xa0, &control)].concat())
}

pub(crate) fn entry(id: u8, name: &str, attributes: &[(&str, &[u8])]) -> Vec<u8> {
    let one =
        |(name, value): &(&str, &[u8])| tlv(0x30, &[tlv(0x04, name.as_bytes()), tlv(0x31, &tlv(0x04, value))].concat());
    let list = tlv(0x30, &attributes.iter().flat_map(one).collect::<Vec<u8>>());
    let entry = tlv(0x64, &[tlv(0x04, name.as_bytes()), list].concat());
    tlv(0x30, &[tlv(0x02, &[id]), entry].concat())
}

/// Alice's entry, and the end of the search that found it.
pub(crate) fn alice(id: u8) -> Vec<u8> {
    let attributes: [(&str, &[u8]); 3] =
        [("uid", b"alice"), ("entryUUID", b"7b1e5e2a-0000-1040-8000-abcdef012345"), ("cn", b"Alice")];
    [entry(id, "uid=alice,ou=people,dc=corp,dc=test", &attributes), result(id, 0x65, 0)].concat()
}

/// A directory that knows Alice, whatever it is asked, and takes every password.
pub(crate) fn friendly(id: u8, operation: u8) -> Does {
    match operation {
        BIND => Does::Says(result(id, 0x61, 0)),
        SEARCH => Does::Says(alice(id)),
        _ => Does::Stalls,
    }
}
