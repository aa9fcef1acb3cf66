//! What a directory may say: the shape of LDAP messages (RFC 4511, section 4), checked before the client library sees a byte of them.
//!
//! The library takes what it reads for well-formed: a wrong type is a panic there, a deep nesting the end of the stack and with it of
//! the process, an announced length is waited for. Here every level is named, so nothing can be nested deeper than an entry is, and
//! every message has a weight that is counted against what one operation may bring.

use std::str;

use thiserror::Error;

/// Largest message, in bytes. An entry is one message: a group of 100,000 members of 100 bytes fits.
pub(super) const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// Most that the answers to one operation may weigh, in bytes of memory.
pub(super) const MAX_WEIGHT: usize = 64 * 1024 * 1024;
/// What one element costs besides its bytes, once it is read into a tree.
const ELEMENT_WEIGHT: usize = 128;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTROLS: u8 = 0xa0;
/// `[3]` of a result: where else to ask.
const REFERRAL: u8 = 0xa3;
/// `[10]`, the name of an extended response.
const EXTENDED_NAME: u8 = 0x8a;
/// `[7]`, what SASL answers, that name, and `[11]`, the value of an extended response.
const RESULT_ENDS: [u8; 3] = [0x87, EXTENDED_NAME, 0x8b];

/// A message that no directory sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum BadMessage {
    /// It is not what RFC 4511 says.
    #[error("its answer is not LDAP")]
    Malformed,
    /// It is larger than any entry.
    #[error("an answer of more than {MAX_MESSAGE} bytes")]
    Oversized,
}

/// What a message answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A bind.
    Bind,
    /// A search, and another message follows.
    SearchGoesOn,
    /// A search, for the last time.
    SearchEnds,
    /// An extended operation.
    Extended,
}

/// A message whose every part is where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    /// Which request it answers; 0 for none.
    pub(super) id: u32,
    /// What it is.
    pub(super) answer: Answer,
    /// The code of a result; None where the message has none.
    pub(super) code: Option<u32>,
    /// What it takes in memory.
    pub(super) weight: usize,
}

/// The length in bytes of the message that begins here; None until enough of it is there to tell.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, BadMessage> {
    match bytes {
        [] | [SEQUENCE] => Ok(None),
        [SEQUENCE, ..] => match header(bytes)? {
            Some((head, content)) if head + content <= MAX_MESSAGE => Ok(Some(head + content)),
            Some(_) => Err(BadMessage::Oversized),
            None => Ok(None),
        },
        _ => Err(BadMessage::Malformed),
    }
}

/// Reads a whole message.
pub(super) fn read(bytes: &[u8]) -> Result<Message, BadMessage> {
    let mut reader = Reader { rest: bytes, elements: 0 };
    let message = reader.message().ok_or(BadMessage::Malformed)?;
    Ok(Message { weight: bytes.len() + reader.elements * ELEMENT_WEIGHT, ..message })
}

/// The cookie of a control for paged results (RFC 2696): `SEQUENCE { size INTEGER, cookie OCTET STRING }`.
pub(super) fn page_cookie(value: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader { rest: value, elements: 0 };
    let mut inner = reader.only(SEQUENCE)?;
    inner.take(INTEGER)?;
    let cookie = inner.take(OCTET_STRING)?.to_vec();
    inner.end()?;
    Some(cookie)
}

/// How long head and content of an element are. Lengths are definite, and have four bytes at most.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, BadMessage> {
    let Some(first) = bytes.get(1) else { return Ok(None) };
    let more = match first {
        0..=0x7f => return Ok(Some((2, usize::from(*first)))),
        0x81..=0x84 => usize::from(first - 0x80),
        _ => return Err(BadMessage::Malformed),
    };
    let Some(length) = bytes.get(2..2 + more) else { return Ok(None) };
    Ok(Some((2 + more, length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))))
}

/// Reads elements one after the other; None wherever something else stands than what was asked for.
struct Reader<'a> {
    rest: &'a [u8],
    elements: usize,
}

impl<'a> Reader<'a> {
    fn message(&mut self) -> Option<Message> {
        let mut message = self.only(SEQUENCE)?;
        let id = message.number(INTEGER)?;
        let (answer, code) = message.operation()?;
        if message.peek() == Some(CONTROLS) {
            let mut controls = message.inside(CONTROLS)?;
            while controls.peek().is_some() {
                controls.control()?;
            }
            message.elements += controls.elements;
        }
        message.end()?;
        self.elements += message.elements;
        Some(Message { id, answer, code, weight: 0 })
    }

    fn operation(&mut self) -> Option<(Answer, Option<u32>)> {
        match self.peek()? {
            0x61 => Some((Answer::Bind, Some(self.result(0x61)?))),
            0x64 => self.entry().map(|()| (Answer::SearchGoesOn, None)),
            0x65 => Some((Answer::SearchEnds, Some(self.result(0x65)?))),
            0x73 => self.texts(0x73).map(|()| (Answer::SearchGoesOn, None)),
            0x78 => Some((Answer::Extended, Some(self.result(0x78)?))),
            _ => None,
        }
    }

    /// `LDAPResult`, with what bind and extended responses add.
    fn result(&mut self, tag: u8) -> Option<u32> {
        let mut result = self.inside(tag)?;
        let code = result.number(ENUMERATED)?;
        result.text()?;
        result.text()?;
        if result.peek() == Some(REFERRAL) {
            result.texts(REFERRAL)?;
        }
        for tag in RESULT_ENDS {
            if result.peek() == Some(tag) {
                let content = result.take(tag)?;
                // Only the name is read as text.
                if tag == EXTENDED_NAME {
                    str::from_utf8(content).ok()?;
                }
            }
        }
        result.end()?;
        self.elements += result.elements;
        Some(code)
    }

    fn entry(&mut self) -> Option<()> {
        let mut entry = self.inside(0x64)?;
        entry.text()?;
        let mut attributes = entry.inside(SEQUENCE)?;
        while attributes.peek().is_some() {
            let mut attribute = attributes.inside(SEQUENCE)?;
            attribute.text()?;
            let mut values = attribute.inside(SET)?;
            while values.peek().is_some() {
                values.take(OCTET_STRING)?;
            }
            attribute.end()?;
            attributes.elements += attribute.elements + values.elements;
        }
        entry.end()?;
        self.elements += entry.elements + attributes.elements;
        Some(())
    }

    fn control(&mut self) -> Option<()> {
        let mut control = self.inside(SEQUENCE)?;
        control.text()?;
        if control.peek() == Some(BOOLEAN) {
            control.take(BOOLEAN).filter(|value| value.len() == 1)?;
        }
        if control.peek() == Some(OCTET_STRING) {
            control.take(OCTET_STRING)?;
        }
        control.end()?;
        self.elements += control.elements;
        Some(())
    }

    fn texts(&mut self, tag: u8) -> Option<()> {
        let mut texts = self.inside(tag)?;
        while texts.peek().is_some() {
            texts.text()?;
        }
        self.elements += texts.elements;
        Some(())
    }

    fn text(&mut self) -> Option<()> {
        str::from_utf8(self.take(OCTET_STRING)?).ok().map(drop)
    }

    fn number(&mut self, tag: u8) -> Option<u32> {
        let bytes = self.take(tag)?;
        let negative = bytes.first().is_none_or(|first| *first >= 0x80);
        (bytes.len() <= 4 && !negative).then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    fn only(&mut self, tag: u8) -> Option<Self> {
        let inside = self.inside(tag)?;
        self.end().map(|()| inside)
    }

    fn inside(&mut self, tag: u8) -> Option<Self> {
        Some(Self { rest: self.take(tag)?, elements: 0 })
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.peek()? != tag {
            return None;
        }
        let (head, content) = header(self.rest).ok()??;
        let taken = self.rest.get(head..head.checked_add(content)?)?;
        self.rest = &self.rest[head + content..];
        self.elements += 1;
        Some(taken)
    }

    fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests;
