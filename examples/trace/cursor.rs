//! A position in a byte slice that never reads past the end.

use super::{ParseError, Problem};

/// Reads little-endian fields one after the other.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Cursor { bytes, at }
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Number of bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], ParseError> {
        match self.bytes[self.at..].get(..count) {
            Some(field) => {
                self.at += count;
                Ok(field)
            }
            None => Err(ParseError { offset: self.bytes.len(), problem: Problem::UnexpectedEnd }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ParseError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, ParseError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, ParseError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A variable-length number: seven bits a byte, the least significant first.
    pub(super) fn var(&mut self) -> Result<u64, ParseError> {
        let start = self.at;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ParseError { offset: start, problem: Problem::NumberTooLong })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_read_back() {
        for value in (0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            let mut rest: u64 = value;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            let mut cursor = Cursor::new(&bytes, 0);
            assert_eq!(cursor.var(), Ok(value));
            assert_eq!(cursor.left(), 0);
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused_where_it_starts() {
        let too_long = Err(ParseError { offset: 1, problem: Problem::NumberTooLong });
        let mut bytes = vec![0xff; 12];
        assert_eq!(Cursor::new(&bytes, 1).var(), too_long);
        bytes[10] = 2; // the tenth byte of the number holds its bit 64
        assert_eq!(Cursor::new(&bytes, 1).var(), too_long);
        bytes[10] = 1;
        assert_eq!(Cursor::new(&bytes, 1).var(), Ok(u64::MAX));
    }

    #[test]
    fn the_end_is_reported_at_the_end() {
        let end = ParseError { offset: 3, problem: Problem::UnexpectedEnd };
        assert_eq!(Cursor::new(&[1, 2, 3], 1).u32(), Err(end.clone()));
        assert_eq!(Cursor::new(&[1, 0x80, 0x80], 1).var(), Err(end.clone()));
        assert_eq!(Cursor::new(&[1, 2, 3], 3).u8(), Err(end.clone()));
        assert_eq!(Cursor::new(&[1, 2, 3], 0).take(usize::MAX), Err(end));
    }
}
