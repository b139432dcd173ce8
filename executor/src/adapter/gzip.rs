//! Answers that come compressed: never more is kept, nor for long more is unpacked, than there is room for.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use super::capture::Captured;

/// An answer's body on its way in, as it comes or unpacked.
pub(super) enum Body {
    Plain(Captured),
    Gzip(Box<MultiGzDecoder<Unpacked>>),
}

/// Takes what there is room for, and then no more: a few bytes can stand for terabytes.
pub(super) struct Unpacked(Captured);

impl Write for Unpacked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        if self.0.is_over() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Body {
    /// Nothing yet, and at most `limit` bytes later.
    pub(super) fn new(is_gzip: bool, limit: usize) -> Self {
        let captured = Captured::new(limit);
        if is_gzip {
            Self::Gzip(Box::new(MultiGzDecoder::new(Unpacked(captured))))
        } else {
            Self::Plain(captured)
        }
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// It is not compressed as it says.
    pub(super) fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(captured) => captured.push(chunk),
            Self::Gzip(decoder) => {
                let unpacked = decoder.write_all(chunk);
                if !decoder.get_ref().0.is_over() {
                    unpacked?;
                }
            }
        }
        Ok(())
    }

    /// Whether there is more than the limit.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Plain(captured) => captured.is_over(),
            Self::Gzip(decoder) => decoder.get_ref().0.is_over(),
        }
    }

    /// What came.
    ///
    /// # Errors
    /// It ends in the middle.
    pub(super) fn finish(self) -> io::Result<Captured> {
        match self {
            Self::Plain(captured) => Ok(captured),
            Self::Gzip(mut decoder) => {
                let ended = decoder.try_finish();
                if !decoder.get_ref().0.is_over() {
                    ended?;
                }
                let rest = Unpacked(Captured::new(0));
                Ok(std::mem::replace(decoder.get_mut(), rest).0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes)?;
        encoder.finish()
    }

    fn unpacked(packed: &[u8], limit: usize, parts: usize) -> io::Result<(Vec<u8>, bool)> {
        let mut body = Body::new(true, limit);
        for part in packed.chunks(parts) {
            body.push(part)?;
        }
        let captured = body.finish()?;
        Ok((captured.bytes().to_vec(), captured.is_over()))
    }

    #[test]
    fn what_is_packed_is_unpacked_up_to_the_limit() -> io::Result<()> {
        let text = b"hello, hello, hello".repeat(20);
        let packed = packed(&text)?;
        for parts in [1, 7, 1_000] {
            assert_eq!(unpacked(&packed, text.len(), parts)?, (text.clone(), false));
            assert_eq!(unpacked(&packed, 9, parts)?, (b"hello, he".to_vec(), true));
        }
        Ok(())
    }

    #[test]
    fn a_bomb_is_not_unpacked() -> io::Result<()> {
        let bomb = packed(&vec![0; 64 * 1024 * 1024])?;
        assert!(bomb.len() < 100_000);
        let mut body = Body::new(true, 1_000);
        body.push(&bomb)?;
        assert!(body.is_over());
        let captured = body.finish()?;
        assert_eq!(captured.bytes().len(), 1_000);
        Ok(())
    }

    #[test]
    fn what_is_broken_is_told() -> io::Result<()> {
        let mut packed = packed(b"hello, hello, hello")?;
        assert!(unpacked(b"no gzip at all", 100, 100).is_err());
        packed.truncate(packed.len() - 4);
        assert!(unpacked(&packed, 100, 100).is_err());
        Ok(())
    }
}
