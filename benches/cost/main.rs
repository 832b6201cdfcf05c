//! What Attune costs: processor time, memory and calls, measured over whole processes against the simulated store.
//!
//! `cargo bench` runs all of it; `cargo bench -- calls quota` only those named.

mod calls;
mod changes;
mod first_pass;
mod odoo;
mod quota;
mod support;

fn main() {
    support::be_the_simulator_if_asked();
    let named: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let benches: [(&str, fn()); 5] = [
        ("first_pass", first_pass::run),
        ("changes", changes::run),
        ("calls", calls::run),
        ("quota", quota::run),
        ("odoo", odoo::run),
    ];
    for (name, run) in benches {
        if named.is_empty() || named.iter().any(|word| word == name) {
            println!("\n== {name}");
            run();
        }
    }
}
