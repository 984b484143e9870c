//! Elsewhere nothing is folded.

/// Nothing.
pub const STRIDE: usize = 256;

/// There is none.
#[derive(Clone, Debug)]
pub enum Folded {}

impl Folded {
    /// None.
    pub fn after(_: u32) -> Option<Folded> {
        None
    }

    /// Never called.
    pub fn read(&mut self, _: &[[u8; STRIDE]], _: &[u8]) {
        match *self {}
    }

    /// Never called.
    pub fn copy_past_caches(&mut self, _: &[[u8; STRIDE]], _: &mut [u8]) {
        match *self {}
    }

    /// Never called.
    pub fn finish(&self) -> u32 {
        match *self {}
    }
}
