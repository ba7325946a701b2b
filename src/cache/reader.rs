//! One of many who read an entry.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;

use super::entry::{Entry, Look};
use super::on_disk;

/// The rest of the entry does not come: its writer gave up, or this reader held the others up for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

/// Reads an entry from its first byte to its end. Dropping it tells the writer.
#[derive(Debug)]
pub struct Reader {
    entry: Arc<Entry>,
    id: u64,
    offset: u64,
}

impl Reader {
    pub(super) fn join(entry: &Arc<Entry>) -> (Self, bool) {
        let (id, whole) = entry.enter();
        (Self { entry: Arc::clone(entry), id, offset: 0 }, whole)
    }

    #[cfg(test)]
    pub(super) fn has_file(&self) -> bool {
        self.entry.has_file()
    }

    /// The next bytes; `None` at the end. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`Lost`], after everything that did come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Lost> {
        let bytes = loop {
            let mut news = pin!(self.entry.news.notified());
            // From here on no news is missed.
            news.as_mut().enable();
            match self.entry.look(self.id, self.offset) {
                Look::File { at, length } => break self.read(at, length).await?,
                Look::Piece(bytes) => break bytes,
                Look::Wait => news.await,
                Look::Over => return Ok(None),
                Look::Lost => return Err(Lost),
            }
        };
        self.offset += bytes.len() as u64;
        self.entry.advance(self.id, self.offset);
        Ok(Some(bytes))
    }

    async fn read(&self, at: u64, length: usize) -> Result<Bytes, Lost> {
        // The bytes are nearly always in the page cache; when they are not, no other connection waits for the disk.
        if let Some(bytes) = self.entry.read_now(at, length) {
            return Ok(bytes);
        }
        let entry = Arc::clone(&self.entry);
        match on_disk(move || entry.read(at, length)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => {
                tracing::warn!(%error, "kept bytes cannot be read");
                Err(Lost)
            }
            Err(error) => {
                tracing::error!(%error, "a read of kept bytes did not end");
                Err(Lost)
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.entry.leave(self.id);
    }
}
