//! The headers compile alone, in every version of the languages that they promise, with warnings as errors.

use std::process::Command;

/// Compiles nothing but the include: what a header forgets to include itself shows here.
fn compile_alone(mut compiler: Command, language: &str, standard: &str, header: &str, flags: &[&str]) {
    let scratch = coverslip_testkit::Scratch::new("header");
    let source = scratch.join("alone.txt");
    // Twice: the include guard. The unit must not be empty either, which pedantic C refuses.
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

/// A host that loads the library by path must not need it at link time: coverslip.hpp may mention the entry point only
/// where `Library::linked` is called.
#[test]
fn the_cpp_header_links_without_the_library() {
    let Some(mut compiler) = coverslip_testkit::cxx() else { return };
    let scratch = coverslip_testkit::Scratch::new("by-path");
    let source = coverslip_testkit::root().join("tests/cpp/by_path.cpp");
    let program = scratch.join("by_path");
    coverslip_testkit::run(compiler.arg("-std=c++17").arg(source).arg("-o").arg(&program).args(["-ldl", "-pthread"]));
    coverslip_testkit::run(Command::new(program).arg(scratch.join("libnothing.so")));
}

/// The wrapper's own promises (order of closing, exceptions, buffers), held against a function table that the test
/// program brings itself.
#[test]
fn the_cpp_wrapper_keeps_its_promises() {
    let Some(mut compiler) = coverslip_testkit::cxx() else { return };
    let scratch = coverslip_testkit::Scratch::new("wrapper");
    let program = scratch.join("wrapper");
    let source = coverslip_testkit::root().join("tests/cpp/wrapper.cpp");
    coverslip_testkit::run(compiler.arg("-std=c++17").arg(source).arg("-o").arg(&program).args(["-ldl", "-pthread"]));
    coverslip_testkit::run(&mut Command::new(program));
}
