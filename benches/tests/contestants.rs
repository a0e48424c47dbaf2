//! Every contestant answers every question right, in a small size.

use benches::contestants::{
    block_sets, large_readers, readers, shared_readers, shared_stores, stores,
};
use benches::questions::handing_over::HandingOver;
use benches::questions::raw_blocks::RawBlocks;
use benches::questions::{churning, reading};
use benches::remote::Question;
use benches::rounds::{Effort, Entrant, take_turns};
use std::path::PathBuf;
use std::time::Duration;

const EFFORT: Effort = Effort { span: Duration::from_micros(100), cold_reads: 10 };

/// Two rounds: what the first leaves behind must not spoil the second.
fn all_are_right(entrants: &[Entrant]) {
    let samples = take_turns(entrants, 2, EFFORT, || {}).unwrap();
    assert_eq!(samples.len(), entrants.len());
    assert!(samples.iter().flatten().all(|sample| *sample > 0.0 && sample.is_finite()));
}

#[test]
fn reading() {
    all_are_right(&readers(&reading::Hot { objects: 40 }));
    all_are_right(&readers(&reading::Cold { objects: 40 }));
    all_are_right(&large_readers(&reading::Fresh { objects: 40 }));
}

#[test]
fn reading_with_threads() {
    all_are_right(&shared_readers(&reading::Together { objects: 40, threads: 1 }));
    all_are_right(&shared_readers(&reading::Together { objects: 40, threads: 3 }));
}

#[test]
fn removing_and_inserting() {
    let question = churning::Alone { live: 40 };
    all_are_right(&stores(&question));
    all_are_right(&[question.boxes()]);
}

#[test]
fn removing_and_inserting_with_threads() {
    all_are_right(&shared_stores(&churning::Together { live: 40, threads: 1 }));
    all_are_right(&shared_stores(&churning::Together { live: 40, threads: 3 }));
}

#[test]
fn handing_over() {
    all_are_right(&shared_stores(&HandingOver));
}

#[test]
fn raw_blocks() {
    all_are_right(&block_sets(&RawBlocks { live: 40 }));
}

#[test]
fn other_allocators() {
    let programs = [
        env!("CARGO_BIN_EXE_allocator-system"),
        env!("CARGO_BIN_EXE_allocator-jemalloc"),
        env!("CARGO_BIN_EXE_allocator-mimalloc"),
    ];
    let entrants = programs.iter().flat_map(|program| {
        [Question::Boxes { live: 40 }, Question::Blocks { live: 40 }].map(|question| {
            question.entrant(format!("{program} {question:?}"), PathBuf::from(program))
        })
    });
    all_are_right(&entrants.collect::<Vec<_>>());
}
