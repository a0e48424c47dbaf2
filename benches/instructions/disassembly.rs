//! The text and kind of instructions, from `objdump`.

use crate::trace::Executed;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What counts about an instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Plain,
    /// An atomic read-modify-write, or a full fence.
    Locked,
    SystemCall,
}

/// Looks every instruction up in its object file.
pub(crate) fn fill_in(executed: &mut BTreeMap<(PathBuf, u64), Executed>) -> Result<()> {
    let mut ranges: BTreeMap<PathBuf, (u64, u64)> = BTreeMap::new();
    for (object, address) in executed.keys() {
        let range = ranges.entry(object.clone()).or_insert((*address, *address));
        range.1 = *address;
    }
    for (object, (first, last)) in ranges {
        let listing = disassemble(&object, first, last)?;
        for (address, text) in listing.lines().filter_map(instruction) {
            if let Some(place) = executed.get_mut(&(object.clone(), address)) {
                place.kind = kind(text);
                place.text = text.to_owned();
            }
        }
    }
    let unknown = executed.iter().find(|(_, place)| place.text.is_empty());
    if let Some(((object, address), _)) = unknown {
        ensure!(false, "objdump shows no instruction at {address:#x} of {}", object.display());
    }
    Ok(())
}

fn disassemble(object: &Path, first: u64, last: u64) -> Result<String> {
    /// No instruction of x86 is longer.
    const LONGEST: u64 = 15;
    let output = Command::new("objdump")
        .args(["--disassemble", "--no-show-raw-insn", "--demangle"])
        .arg(format!("--start-address={first:#x}"))
        .arg(format!("--stop-address={:#x}", last + LONGEST))
        .arg(object)
        .output()
        .context("cannot run objdump")?;
    ensure!(output.status.success(), "objdump cannot read {}", object.display());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Address and text of a line such as `4aef: lock incq (%rax)`, with a tab.
fn instruction(line: &str) -> Option<(u64, &str)> {
    let (address, text) = line.trim_start().split_once(":\t")?;
    Some((u64::from_str_radix(address, 16).ok()?, text.trim_end()))
}

/// An exchange with memory locks without saying so.
fn kind(text: &str) -> Kind {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let touches_memory = text.contains('(') || text.contains("%fs:");
    match name {
        "lock" | "mfence" => Kind::Locked,
        _ if name.starts_with("xchg") && touches_memory => Kind::Locked,
        "syscall" => Kind::SystemCall,
        _ => Kind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_locks_is_known() {
        let locked = ["lock incq (%rax)", "xchg   %eax,(%rdi)", "mfence", "xchgl %eax,%fs:0x8"];
        assert!(locked.iter().all(|text| kind(text) == Kind::Locked));
        let plain = ["incq   (%rax)", "xchg   %ax,%ax", "mov    (%rcx,%rdx,8),%rdx", "lfence"];
        assert!(plain.iter().all(|text| kind(text) == Kind::Plain));
        assert_eq!(kind("syscall"), Kind::SystemCall);
    }

    #[test]
    fn lines_are_understood() {
        let line = "   4aef:\tlock incq (%rax)  ";
        assert_eq!(instruction(line), Some((0x4aef, "lock incq (%rax)")));
        assert_eq!(instruction("0000000000044690 <count_get_own_guard>:"), None);
        assert_eq!(instruction("Disassembly of section .text:"), None);
    }
}
