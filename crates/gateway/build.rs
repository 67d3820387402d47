//! Compiles the protocol of `proto/` into Rust, with protox, so that no protoc is needed.

use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 1] = ["proto/dce/v1/live_bids.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    let output = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    // For server reflection.
    std::fs::write(output.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().build_transport(false).compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
