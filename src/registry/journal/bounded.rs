//! The first bytes of a file that others go on writing behind them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

/// A file up to some length. Has a position of its own.
#[derive(Debug)]
pub(in super::super) struct Bounded {
    file: File,
    at: u64,
    length: u64,
}

impl Bounded {
    /// The first `length` bytes.
    pub(in super::super) fn new(file: File, length: u64) -> Self {
        Self { file, at: 0, length }
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.length.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = rest.min(buffer.len());
        let size = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += size as u64;
        Ok(size)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
