//! The binary: parse, load, run, print, exit code.

fn main() {}
