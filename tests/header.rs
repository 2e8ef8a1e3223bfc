//! The headers compile alone, with warnings as errors, in every language version that they promise.

use std::process::Command;

/// Compiles only the include, which shows what a header forgets to include itself.
fn compile_alone(mut compiler: Command, language: &str, standard: &str, header: &str, flags: &[&str]) {
    let scratch = coverslip_testkit::Scratch::new("header");
    let source = scratch.join("alone.txt");
    // The header is included twice to test its guard. Pedantic C refuses an empty unit, hence the declaration.
    let include = format!("#include <coverslip/{header}>\n");
    std::fs::write(&source, format!("{include}{include}int alone(void);\n")).expect("the source");
    compiler.args(["-fsyntax-only", &format!("-std={standard}")]).args(flags);
    coverslip_testkit::run(compiler.arg("-x").arg(language).arg(&source));
}

#[test]
fn the_c_header_is_c11_and_c17() {
    for standard in ["c11", "c17"] {
        compile_alone(coverslip_testkit::cc(), "c", standard, "coverslip.h", &["-Wconversion", "-Wshadow"]);
    }
}

#[test]
fn the_c_header_is_cpp11_to_cpp20() {
    for standard in ["c++11", "c++14", "c++17", "c++20"] {
        let Some(compiler) = coverslip_testkit::cxx() else { return };
        compile_alone(compiler, "c++", standard, "coverslip.h", &["-Wconversion", "-Wshadow", "-Wold-style-cast"]);
    }
}

#[test]
fn the_cpp_header_is_cpp17_and_cpp20() {
    let flags = ["-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wold-style-cast"];
    for standard in ["c++17", "c++20"] {
        let Some(compiler) = coverslip_testkit::cxx() else { return };
        compile_alone(compiler, "c++", standard, "coverslip.hpp", &flags);
    }
}

/// A host without exceptions is told so, and not by the first `throw`.
#[test]
fn the_cpp_header_says_that_it_needs_exceptions() {
    let Some(mut compiler) = coverslip_testkit::cxx() else { return };
    let scratch = coverslip_testkit::Scratch::new("no-exceptions");
    let source = scratch.join("alone.cpp");
    std::fs::write(&source, "#include <coverslip/coverslip.hpp>\n").expect("the source");
    let output = compiler.args(["-std=c++17", "-fno-exceptions", "-fsyntax-only"]).arg(&source).output();
    let output = output.expect("a compiler");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("compile with exceptions"), "{said}");
}

/// A host that loads the library by path must not need it at link time: coverslip.hpp refers to the entry point only if
/// `Library::linked` is called.
#[test]
fn the_cpp_header_links_without_the_library() {
    let Some(mut compiler) = coverslip_testkit::cxx() else { return };
    let scratch = coverslip_testkit::Scratch::new("by-path");
    let source = coverslip_testkit::root().join("tests/cpp/by_path.cpp");
    let program = scratch.join("by_path");
    coverslip_testkit::run(compiler.arg("-std=c++17").arg(source).arg("-o").arg(&program).args(["-ldl", "-pthread"]));
    coverslip_testkit::run(Command::new(program).arg(scratch.join("libnothing.so")));
}

/// Tests the wrapper's own promises (order of closing, exceptions, buffers) with a function table of the test program.
#[test]
fn the_cpp_wrapper_keeps_its_promises() {
    let Some(mut compiler) = coverslip_testkit::cxx() else { return };
    let scratch = coverslip_testkit::Scratch::new("wrapper");
    let program = scratch.join("wrapper");
    let source = coverslip_testkit::root().join("tests/cpp/wrapper.cpp");
    coverslip_testkit::run(compiler.arg("-std=c++17").arg(source).arg("-o").arg(&program).args(["-ldl", "-pthread"]));
    coverslip_testkit::run(&mut Command::new(program));
}
