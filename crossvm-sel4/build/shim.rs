//! Compiles the C files of the shim.

use std::env;

use crate::prefix;

/// The shim's C files.
const FILES: [&str; 6] = ["kernel", "message", "thread", "boot", "arm", "x86"];

/// Compiles them against the seL4 that the environment names.
///
/// # Errors
/// What is wrong with it, or with the compiler.
pub(crate) fn compile() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=SEL4_PREFIX");
    println!("cargo::rerun-if-changed=shim");
    let target = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let installed = prefix::check(env::var_os("SEL4_PREFIX").as_deref(), &target)?;
    println!("cargo::rerun-if-changed={}", installed.include.display());

    let mut build = cc::Build::new();
    // Whoever has named a compiler knows better.
    let triple = env::var("TARGET").unwrap_or_default();
    let named = [format!("CC_{triple}"), format!("CC_{}", triple.replace('-', "_")), "TARGET_CC".into(), "CC".into()];
    if named.iter().all(|name| env::var_os(name).is_none()) {
        let in_path =
            |program: &str| env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()));
        build.compiler(prefix::compiler(&target, &env::var("HOST").unwrap_or_default(), in_path)?);
    }
    build
        .std("gnu11")
        .pic(false)
        .opt_level(2)
        .extra_warnings(true)
        // The headers are not ours to warn about.
        .flag("-isystem")
        .flag(installed.include.as_os_str())
        // Registers of floating point are not saved for the shim's sake; older headers reach one type through another, and
        // define variables that each file then has.
        .flags(["-ffreestanding", "-fcommon", "-fno-stack-protector", "-mgeneral-regs-only", "-fno-strict-aliasing"])
        // The IPC buffer's address in a plain variable: one thread uses the shim.
        .define("__thread", "")
        // Bits that do not fit are cut off, not asserted.
        .define("NDEBUG", None)
        .files(FILES.map(|file| format!("shim/{file}.c")));
    if installed.five {
        build.define("CROSSVM_SEL4_5", None);
    }
    build.try_compile("crossvm_sel4_shim").map_err(|error| format!("the shim to libsel4 does not compile: {error}"))?;
    if installed.vtx && target == "x86_64" {
        println!("cargo::rustc-cfg=sel4_vtx");
    }
    Ok(())
}
