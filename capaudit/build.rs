//! Puts the BPF object where the library embeds it from.
fn main() {
    println!("cargo::rerun-if-changed=../capaudit-ebpf/target/bpfel-unknown-none/release/capaudit");
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::copy(
        "../capaudit-ebpf/target/bpfel-unknown-none/release/capaudit",
        format!("{out}/capaudit.bpf.o"),
    )
    .unwrap();
}
