//! What the objects hold: bytes that follow from the object and its version.
//!
//! The eight bytes at offset `8 * i` are a function of a seed and `i`, so bytes of another object,
//! of an older version or from another offset are noticed, and the start of an object can be
//! checked on its own. Plain additions, shifts and xors keep it fast on large objects.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The seed of an object's contents.
pub(crate) fn seed(object: u32, version: u32) -> u64 {
    let mut bits = (u64::from(version) << 32 | u64::from(object)).wrapping_add(STEP);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The words of the contents in order.
fn words(seed: u64) -> impl Iterator<Item = u64> {
    let mut at = seed;
    std::iter::repeat_with(move || {
        at = at.wrapping_add(STEP);
        at ^ (at >> 29)
    })
}

/// Writes the contents.
pub(crate) fn fill(bytes: &mut [u8], seed: u64) {
    let (whole, rest) = bytes.as_chunks_mut::<8>();
    let mut words = words(seed);
    for (chunk, word) in whole.iter_mut().zip(&mut words) {
        *chunk = word.to_le_bytes();
    }
    if let Some(word) = words.next() {
        let last = word.to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Whether `bytes` are the contents, or the start of them.
pub(crate) fn check(bytes: &[u8], seed: u64) -> bool {
    let (whole, rest) = bytes.as_chunks::<8>();
    let mut words = words(seed);
    let mut difference = 0;
    for (chunk, word) in whole.iter().zip(&mut words) {
        difference |= u64::from_le_bytes(*chunk) ^ word;
    }
    let last = words.next().unwrap_or_default().to_le_bytes();
    difference == 0 && rest == &last[..rest.len()]
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (whole, rest) = bytes.as_chunks::<8>();
    let bits = whole.iter().fold(0, |bits, chunk| bits | u64::from_ne_bytes(*chunk));
    bits == 0 && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_noticed() {
        for length in [0, 1, 7, 8, 9, 31, 64, 100] {
            let mut bytes = vec![0xaa; length];
            fill(&mut bytes, seed(5, 1));
            assert!(check(&bytes, seed(5, 1)));
            for at in 0..length {
                bytes[at] ^= 0x10;
                assert!(!check(&bytes, seed(5, 1)), "byte {at} of {length}");
                bytes[at] ^= 0x10;
            }
        }
    }

    #[test]
    fn other_objects_versions_and_offsets_are_noticed() {
        let mut bytes = [0; 48];
        fill(&mut bytes, seed(5, 1));
        assert!(check(&bytes[..29], seed(5, 1)), "the start of the contents");
        assert!(!check(&bytes, seed(6, 1)));
        assert!(!check(&bytes, seed(5, 2)));
        assert!(!check(&bytes[8..], seed(5, 1)));
    }

    #[test]
    fn zeroes_are_told_from_others() {
        assert!(is_zero(&[]) && is_zero(&[0; 21]));
        for at in 0..21 {
            let mut bytes = [0; 21];
            bytes[at] = 1;
            assert!(!is_zero(&bytes));
        }
    }
}
