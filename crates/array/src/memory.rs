//! The memory under a buffer: words of the allocator, or large pages of the system.
//!
//! What is read and written from end to end at the speed of memory meets a page of 4 KiB every half microsecond; a large one is looked
//! up, asked for and cleared once where 512 small ones would be. The system gives one only where all of it lies in one mapping, on a
//! multiple of its size, which no allocator cares for: so it is asked directly. All `unsafe` code for this is in this file.

/// A line of the cache of every CPU in use, and the widest vector: one that lies across two lines is read twice.
pub(crate) const LINE: usize = 64;

pub(crate) const WORD: usize = size_of::<u64>();

/// Words more than the bytes need, among which the first byte finds the beginning of a line.
const SLACK: usize = LINE / WORD - 1;

/// What x86-64 and, with small pages of 4 KiB, ARM call a large page.
pub const LARGE_PAGE: usize = 2 << 20;

/// Room for bytes, of which the first is the first of a line of the cache.
#[derive(Debug)]
pub(crate) enum Memory {
    /// Whole words, for the alignment, and how many of them are before the first byte.
    Words(Vec<u64>, usize),
    #[cfg(target_os = "linux")]
    Pages(pages::Pages),
}

impl Memory {
    /// Room for so many bytes, all zero. The pages come from the system when they are first touched, so what is written by several
    /// threads is not cleared by one of them first.
    pub(crate) fn zeroed(bytes: usize) -> Memory {
        let words = vec![0_u64; bytes.div_ceil(WORD) + SLACK];
        let skip = (words.as_ptr() as usize).wrapping_neg() % LINE / WORD;
        Memory::Words(words, skip)
    }

    /// The same, on as many large pages as there is room for, if the system gives them.
    pub(crate) fn on_large_pages(bytes: usize) -> Memory {
        #[cfg(target_os = "linux")]
        if bytes >= LARGE_PAGE
            && let Some(pages) = pages::Pages::zeroed(bytes)
        {
            return Memory::Pages(pages);
        }
        Memory::zeroed(bytes)
    }

    /// Bytes that there is room for, in whole words.
    pub(crate) fn room(&self) -> usize {
        match self {
            Memory::Words(words, _) => words.len().saturating_sub(SLACK) * WORD,
            #[cfg(target_os = "linux")]
            Memory::Pages(pages) => pages.room(),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Memory::Words(words, skip) => bytemuck::cast_slice(&words[*skip..]),
            #[cfg(target_os = "linux")]
            Memory::Pages(pages) => pages.as_bytes(),
        }
    }

    pub(crate) fn as_bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Words(words, skip) => bytemuck::cast_slice_mut(&mut words[*skip..]),
            #[cfg(target_os = "linux")]
            Memory::Pages(pages) => pages.as_bytes_mut(),
        }
    }
}

impl Default for Memory {
    /// Room for nothing.
    fn default() -> Memory {
        Memory::Words(Vec::new(), 0)
    }
}

#[cfg(target_os = "linux")]
mod pages {
    use super::{LARGE_PAGE, WORD};
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    use rustix::param::page_size;
    use std::ptr::{self, NonNull};

    /// A mapping of its own that begins on a multiple of [`LARGE_PAGE`].
    #[derive(Debug)]
    pub(crate) struct Pages {
        start: NonNull<u8>,
        /// Bytes that are mapped.
        mapped: usize,
        /// Bytes that were asked for, in whole words.
        room: usize,
    }

    // SAFETY: the mapping belongs to no thread, and is borrowed through `Pages` like any other memory.
    #[expect(unsafe_code, reason = "a pointer says nothing about threads")]
    unsafe impl Send for Pages {}
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "a pointer says nothing about threads")]
    unsafe impl Sync for Pages {}

    impl Pages {
        /// None where the system refuses: no memory, or no more mappings.
        pub(crate) fn zeroed(bytes: usize) -> Option<Pages> {
            let room = bytes.checked_next_multiple_of(WORD)?;
            let mapped = room.checked_next_multiple_of(page_size())?;
            // With one large page more, of which what lies before the first multiple and behind the end is given back at once.
            let wide = mapped.checked_add(LARGE_PAGE)?;
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: the system chooses an address where nothing is.
            #[expect(unsafe_code, reason = "mapping memory can replace what is there; without an address it does not")]
            let start = unsafe { mmap_anonymous(ptr::null_mut(), wide, access, MapFlags::PRIVATE) }.ok()?;
            let before = (start as usize).wrapping_neg() % LARGE_PAGE;
            // SAFETY: both are parts of the mapping that was made above, in whole pages, and nobody has seen them.
            #[expect(unsafe_code, reason = "the system calls take addresses; there are no safe ones")]
            let start = unsafe {
                let first = start.byte_add(before);
                if before > 0 {
                    let _ = munmap(start, before);
                }
                let _ = munmap(first.byte_add(mapped), LARGE_PAGE - before);
                first
            };
            let mut pages = Pages { start: NonNull::new(start.cast())?, mapped, room };
            super::prefer_large_pages(pages.as_bytes_mut());
            Some(pages)
        }

        pub(crate) fn room(&self) -> usize {
            self.room
        }

        pub(crate) fn as_bytes(&self) -> &[u8] {
            // SAFETY: `room` bytes from `start` on are mapped for as long as `self` lives, zero until they are written, and
            // borrowed with it.
            #[expect(unsafe_code, reason = "what the system has mapped is known by its address only")]
            unsafe {
                std::slice::from_raw_parts(self.start.as_ptr(), self.room)
            }
        }

        pub(crate) fn as_bytes_mut(&mut self) -> &mut [u8] {
            // SAFETY: as above, borrowed for writing.
            #[expect(unsafe_code, reason = "what the system has mapped is known by its address only")]
            unsafe {
                std::slice::from_raw_parts_mut(self.start.as_ptr(), self.room)
            }
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: this mapping was made for `self`, and nobody borrows it any more.
            #[expect(unsafe_code, reason = "the system call takes an address; there is no safe one")]
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.mapped) };
        }
    }
}

/// Asks for large pages under bytes that have not been touched yet: where they fill whole ones, there is one fault for 2 MiB instead of
/// 512, and fewer misses of the address cache afterwards. An end that fills none is left alone: it would take all of one.
#[cfg(target_os = "linux")]
pub fn prefer_large_pages(bytes: &mut [u8]) {
    let before = bytes.as_ptr().align_offset(LARGE_PAGE);
    let len = bytes.len().saturating_sub(before) / LARGE_PAGE * LARGE_PAGE;
    if len == 0 {
        return;
    }
    let start = bytes[before..].as_mut_ptr().cast();
    // SAFETY: the range lies within `bytes`, which are borrowed for writing, and this advice does not change what is in
    // memory. That it is refused, on a system without large pages, does no harm.
    #[expect(unsafe_code, reason = "the system call takes an address; there is no safe one")]
    let _ = unsafe { rustix::mm::madvise(start, len, rustix::mm::Advice::LinuxHugepage) };
}

/// Other systems have no such advice.
#[cfg(not(target_os = "linux"))]
pub fn prefer_large_pages(_: &mut [u8]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_room_is_zero_aligned_and_can_be_written_to_its_end() {
        for bytes in [0, 1, 7, 64, 4096, LARGE_PAGE - 1, LARGE_PAGE, LARGE_PAGE + 1, 3 * LARGE_PAGE + 4097] {
            for mut memory in [Memory::zeroed(bytes), Memory::on_large_pages(bytes)] {
                assert_eq!(memory.room(), bytes.next_multiple_of(WORD));
                let room = memory.room();
                assert_eq!(memory.as_bytes().as_ptr() as usize % LINE, 0, "{bytes} bytes");
                assert!(memory.as_bytes()[..room].iter().all(|byte| *byte == 0), "{bytes} bytes");
                memory.as_bytes_mut()[..room].fill(7);
                assert!(memory.as_bytes()[..room].iter().all(|byte| *byte == 7), "{bytes} bytes");
            }
        }
        assert_eq!(Memory::default().room(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_fills_a_large_page_begins_on_one() {
        let memories: Vec<Memory> = (0..9).map(|n| Memory::on_large_pages(LARGE_PAGE + n * 5000)).collect();
        for memory in &memories {
            assert!(matches!(memory, Memory::Pages(_)));
            assert_eq!(memory.as_bytes().as_ptr() as usize % LARGE_PAGE, 0);
        }
        assert!(matches!(Memory::on_large_pages(LARGE_PAGE - 1), Memory::Words(..)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn dropped_pages_go_back_to_the_system_and_others_stay() {
        let mapped = || {
            let status = std::fs::read_to_string("/proc/self/statm").unwrap();
            status.split(' ').next().unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
        };
        const GIB: usize = 1 << 30;
        let mut stays = Memory::on_large_pages(LARGE_PAGE);
        stays.as_bytes_mut().fill(1);
        let before = mapped();
        let goes: Vec<Memory> = (0..16).map(|_| Memory::on_large_pages(GIB)).collect();
        assert!(mapped() >= before + 16 * GIB);
        drop(goes);
        assert!(mapped() < before + 8 * GIB, "other tests have some, too");
        assert!(stays.as_bytes().iter().all(|byte| *byte == 1));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn more_than_there_are_addresses_is_refused() {
        assert!(pages::Pages::zeroed(usize::MAX).is_none());
        assert!(pages::Pages::zeroed(1 << 60).is_none());
    }
}
