//! The bytes of one segment.

use std::fmt;
use std::sync::Arc;

use crate::Element;
use crate::memory::Memory;
use crate::pool::Shelves;

/// Owned bytes, aligned for every [`Element`], without a type of their own: the dtype is the array's.
///
/// Two buffers are equal if their bytes are, so a NaN equals itself here and 0.0 differs from -0.0.
pub struct Buffer {
    /// It has room for the bytes; what is beyond them is never shown.
    memory: Memory,
    /// Length in bytes.
    len: usize,
    /// The pool that the memory goes back to.
    home: Option<Arc<Shelves>>,
}

impl Buffer {
    /// `bytes` zero bytes. The pages come from the system when they are first touched, so a buffer that is
    /// written by several threads is not cleared by one of them first.
    pub fn zeroed(bytes: usize) -> Buffer {
        Buffer { memory: Memory::zeroed(bytes), len: bytes, home: None }
    }

    /// Memory of a pool, as a buffer of `bytes` bytes.
    pub(crate) fn pooled(memory: Memory, bytes: usize, home: Arc<Shelves>) -> Buffer {
        debug_assert!(bytes <= memory.room());
        Buffer { memory, len: bytes, home: Some(home) }
    }

    /// A copy of `bytes`, which need no alignment.
    pub fn from_bytes(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::zeroed(bytes.len());
        buffer.as_bytes_mut().copy_from_slice(bytes);
        buffer
    }

    /// A copy of `values`.
    pub fn from_slice<T: Element>(values: &[T]) -> Buffer {
        Buffer::from_bytes(bytemuck::cast_slice(values))
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes: elements in order, each little-endian.
    pub fn as_bytes(&self) -> &[u8] {
        &self.memory.as_bytes()[..self.len]
    }

    /// The bytes, to be written.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory.as_bytes_mut()[..self.len]
    }

    /// The elements, `len() / size_of::<T>()` of them.
    ///
    /// # Panics
    /// If the length is not a multiple of the element's size: whoever made the buffer has checked that.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        bytemuck::cast_slice(self.as_bytes())
    }

    /// The elements, to be written.
    ///
    /// # Panics
    /// As [`Buffer::as_slice`].
    pub fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.as_bytes_mut())
    }
}

impl Clone for Buffer {
    /// A copy, which is no pool's.
    fn clone(&self) -> Buffer {
        Buffer::from_bytes(self.as_bytes())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.take_back(std::mem::take(&mut self.memory));
        }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Buffer) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    /// The length only: a segment has megabytes, and a log line should not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::LINE;

    #[test]
    fn every_length_keeps_its_bytes() {
        for len in 0..40_usize {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8 + 1).collect();
            let buffer = Buffer::from_bytes(&bytes);
            assert_eq!((buffer.len(), buffer.is_empty()), (len, len == 0));
            assert_eq!(buffer.as_bytes(), bytes);
            assert_eq!(buffer.as_slice::<u8>(), bytes);
            assert_eq!(Buffer::zeroed(len).as_bytes(), vec![0; len]);
        }
    }

    #[test]
    fn elements_are_little_endian_and_written_through() {
        let mut buffer = Buffer::from_slice(&[1_i32, -2, 0x0102_0304]);
        assert_eq!(buffer.as_bytes(), [1, 0, 0, 0, 254, 255, 255, 255, 4, 3, 2, 1]);
        buffer.as_mut_slice::<i32>()[1] = 7;
        buffer.as_bytes_mut()[0] = 9;
        assert_eq!(buffer.as_slice::<i32>(), [9, 7, 0x0102_0304]);
        assert_eq!(Buffer::from_slice(&[1.5_f64]).as_slice::<f64>(), [1.5]);
    }

    #[test]
    fn bytes_at_an_odd_address_become_aligned() {
        let bytes: Vec<u8> = (0..17).collect();
        let buffer = Buffer::from_bytes(&bytes[1..]);
        assert_eq!(buffer.as_bytes().as_ptr() as usize % LINE, 0);
        assert_eq!(buffer.clone().as_bytes().as_ptr() as usize % LINE, 0);
        assert_eq!(buffer.as_slice::<u64>()[0], u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8]));
    }

    #[test]
    #[should_panic]
    fn half_an_element_is_not_shown() {
        Buffer::zeroed(12).as_slice::<f64>();
    }

    #[test]
    fn equality_is_of_bytes_and_length() {
        assert_eq!(Buffer::from_slice(&[f64::NAN]), Buffer::from_slice(&[f64::NAN]));
        assert_ne!(Buffer::from_slice(&[0.0]), Buffer::from_slice(&[-0.0]));
        assert_ne!(Buffer::zeroed(3), Buffer::zeroed(4));
    }

    #[test]
    fn debug_shows_the_length_only() {
        assert_eq!(format!("{:?}", Buffer::zeroed(24)), "Buffer { len: 24 }");
    }
}
