//! Reading a request body: never more than a limit in memory, compressed or not.

use axum::body::Body;
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt as _;
use std::io::Read as _;

/// A body that is too large is still read to here before it is refused: a sender that is cut off in the middle sees a broken
/// connection instead of the reason.
const DRAINED: usize = 64 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    TooLarge {
        limit: usize,
    },
    /// The sender broke off.
    Interrupted,
    BrokenGzip,
}

/// The bytes of a body, up to `limit`.
pub async fn read(body: Body, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut seen = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| BodyError::Interrupted)?;
        seen += chunk.len();
        if seen <= limit {
            bytes.extend_from_slice(&chunk);
        } else if seen > DRAINED {
            break;
        }
    }
    if seen > limit {
        Err(BodyError::TooLarge { limit })
    } else {
        Ok(bytes)
    }
}

/// Unpacks gzip, up to `limit` bytes of output: a bomb costs no more than that.
pub fn gunzip(packed: &[u8], limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut unpacked = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(packed)
        .take(bound)
        .read_to_end(&mut unpacked)
        .map_err(|_| BodyError::BrokenGzip)?;
    if unpacked.len() > limit {
        Err(BodyError::TooLarge { limit })
    } else {
        Ok(unpacked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit_and_what_fits_is_unpacked() {
        let bomb = packed(&vec![0; 10_000_000]);
        assert!(bomb.len() < 20_000);
        assert_eq!(gunzip(&bomb, 1000), Err(BodyError::TooLarge { limit: 1000 }));
        assert_eq!(gunzip(&packed(b"hello"), 5), Ok(b"hello".to_vec()));
        assert_eq!(gunzip(&packed(b"hello")[..8], 5), Err(BodyError::BrokenGzip));
    }
}
