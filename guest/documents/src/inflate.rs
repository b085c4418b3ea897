//! Inflating under a budget: what comes out of all the streams of a file together is bounded before it is allocated.

use crate::error::ExtractError;
use miniz_oxide::inflate::{
    DecompressError, TINFLStatus, decompress_slice_iter_to_slice, decompress_to_vec_with_limit,
    decompress_to_vec_zlib_with_limit,
};

/// How much one part of a file may be when inflated, in bytes: it is held as a whole.
const PART_BYTES_MAX: usize = 32 << 20;

/// How much may still be inflated.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    left: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Budget {
        Budget { bytes_max, left: bytes_max }
    }

    /// How many bytes the next part may have.
    pub(crate) fn left(&self) -> usize {
        self.left.min(PART_BYTES_MAX)
    }

    /// Takes what was made of it.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`] where there is not so much left.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), ExtractError> {
        if bytes > self.left() {
            return Err(self.spent());
        }
        self.left -= bytes;
        Ok(())
    }

    /// What is said when there is nothing left.
    pub(crate) fn spent(&self) -> ExtractError {
        if self.left > PART_BYTES_MAX {
            return ExtractError::TooLarge(format!(
                "one of its parts is more than {PART_BYTES_MAX} bytes when unpacked"
            ));
        }
        ExtractError::TooLarge(format!("its parts are more than {} bytes when unpacked", self.bytes_max))
    }

    /// Inflates raw deflate whose length is known: one allocation. `None` where it is not what was told.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(crate) fn inflate_exact(
        &mut self,
        input: &[u8],
        length: usize,
    ) -> Result<Option<Vec<u8>>, ExtractError> {
        self.take(length)?;
        let mut output = vec![0; length];
        let inflated = decompress_slice_iter_to_slice(&mut output, std::iter::once(input), false, true);
        Ok(inflated.is_ok_and(|written| written == length).then_some(output))
    }

    /// Inflates zlib's format, or raw deflate where the header is missing. Of damaged data, what came before the damage.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(crate) fn inflate(&mut self, input: &[u8]) -> Result<Vec<u8>, ExtractError> {
        let output = match decompress_to_vec_zlib_with_limit(input, self.left()) {
            Ok(output) => output,
            Err(DecompressError { status: TINFLStatus::HasMoreOutput, .. }) => return Err(self.spent()),
            Err(DecompressError { output, .. }) if output.iter().any(|byte| *byte != 0) => {
                without_zeros(output)
            }
            Err(_) => match decompress_to_vec_with_limit(input, self.left()) {
                Ok(output) => output,
                Err(error) => without_zeros(error.output),
            },
        };
        self.take(output.len())?;
        Ok(output)
    }
}

/// The buffer of a decoder that stopped half-way, without what it did not write.
fn without_zeros(mut output: Vec<u8>) -> Vec<u8> {
    while output.last() == Some(&0) {
        output.pop();
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

    #[test]
    fn what_does_not_fit_the_budget_is_refused() {
        let zeros = compress_to_vec_zlib(&vec![b'a'; 100_000], 9);
        assert_eq!(Budget::new(100_000).inflate(&zeros).unwrap().len(), 100_000);
        assert_eq!(Budget::new(99_999).inflate(&zeros).unwrap_err().code(), "file_too_large");
        let mut twice = Budget::new(150_000);
        assert!(twice.inflate(&zeros).is_ok());
        assert!(twice.inflate(&zeros).is_err());
    }

    #[test]
    fn a_wrong_length_is_noticed() {
        let raw = compress_to_vec(b"hello hello hello", 9);
        assert_eq!(Budget::new(100).inflate_exact(&raw, 17).unwrap().unwrap(), b"hello hello hello");
        assert_eq!(Budget::new(100).inflate_exact(&raw, 16).unwrap(), None);
        assert_eq!(Budget::new(100).inflate_exact(&raw, 18).unwrap(), None);
        assert!(Budget::new(16).inflate_exact(&raw, 17).is_err());
    }

    #[test]
    fn of_damaged_data_the_beginning_is_kept() {
        let text: Vec<u8> = (0..20_000u32).flat_map(|number| number.to_string().into_bytes()).collect();
        let packed = compress_to_vec_zlib(&text, 6);
        let half = Budget::new(1 << 20).inflate(&packed[..packed.len() / 2]).unwrap();
        assert!(half.len() > 1_000);
        assert!(text.starts_with(&half[..1_000]));
    }
}
