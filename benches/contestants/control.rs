//! Nobody: what the measurement itself costs, and what the machine gives.

use super::{Collection, Reader};
use crate::object::Object;
use std::hint::black_box;

/// Numbers that are their own keys.
#[derive(Debug)]
pub struct Numbers;

impl Collection for Numbers {
    type Key = u32;

    fn fill(count: usize) -> (Self, Vec<u32>) {
        (Self, (0..count as u32).collect())
    }

    fn find(&self, number: u32) -> Option<Object> {
        Some(Object::new(u64::from(number)))
    }
}

/// The loop of the readers without a look-up. It shares nothing, so the gain of its threads is all
/// that the machine can give at that time.
#[derive(Debug)]
pub struct Control;

impl Reader for Control {
    const NAME: &'static str = "no look-up (control)";
    type From = Numbers;

    fn sum(_: &Numbers, keys: &[u32]) -> u64 {
        keys.iter().map(|key| u64::from(black_box(*key))).sum()
    }
}
