//! Compiles the fake TensorRT (`fake.cpp`) and the fake driver against NVIDIA's headers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The classes whose methods the fake overrides: name in the header, namespace, and name of the stub.
const STUBS: &[(&str, &str, &str)] = &[
    ("VHostMemory", "nvinfer1", "StubHostMemory"),
    ("VTensor", "nvinfer1", "StubTensor"),
    ("VNetworkDefinition", "nvinfer1", "StubNetworkDefinition"),
    ("VOptimizationProfile", "nvinfer1", "StubOptimizationProfile"),
    ("VTimingCache", "nvinfer1", "StubTimingCache"),
    ("VBuilderConfig", "nvinfer1", "StubBuilderConfig"),
    ("VBuilder", "nvinfer1", "StubBuilder"),
    ("VRuntimeCache", "nvinfer1", "StubRuntimeCache"),
    ("VRuntimeConfig", "nvinfer1", "StubRuntimeConfig"),
    ("VExecutionContext", "nvinfer1", "StubExecutionContext"),
    ("VCudaEngine", "nvinfer1", "StubCudaEngine"),
    ("VRuntime", "nvinfer1", "StubRuntime"),
    ("IParserError", "nvonnxparser", "StubParserError"),
    ("IParser", "nvonnxparser", "StubParser"),
];

/// NVIDIA's headers, one folder per release: `TensorRT-Headers` in the package `trtx-sys` on crates.io, which is only
/// fetched.
pub(crate) fn headers() -> Option<PathBuf> {
    std::env::var_os("COVERSLIP_TENSORRT_HEADERS").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Compiles a fake's source for one release into `out`, and gives the path of the library.
pub(crate) fn fake(source: &Path, headers: &Path, release: &str, out: &Path) -> PathBuf {
    std::fs::create_dir_all(out).unwrap();
    let include = headers.join(release);
    std::fs::write(out.join("stubs.h"), stubs(&include)).unwrap();
    let rtx = release.contains("RTX");
    let [library, parser] = match release {
        _ if rtx => ["libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1"],
        _ if release.contains("-10.") => ["libnvinfer.so.10", "libnvonnxparser.so.10"],
        _ => ["libnvinfer.so.11", "libnvonnxparser.so.11"],
    };
    for (name, define) in [(library, "-DFAKE_LIBRARY"), (parser, "-DFAKE_PARSER")] {
        let mut compiler = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
        compiler.args(["-std=c++17", "-w", "-g", "-fPIC", "-shared", "-fvisibility=hidden", define]);
        if rtx {
            compiler.arg("-DFAKE_RTX");
        }
        if release.contains("-10.") {
            compiler.arg("-DFAKE_10");
        }
        compiler.arg("-I").arg(&include).arg("-I").arg(headers).arg("-I").arg(out);
        compiler.arg(source).arg("-o").arg(out.join(name));
        run(&mut compiler);
    }
    out.join(library)
}

/// A library that reports a TensorRT version and exports nothing else.
pub(crate) fn version(out: &Path, name: &str, packed: i32) -> PathBuf {
    c(
        out,
        name,
        &format!(
            "int getInferLibVersion(void) {{ return {packed}; }}\n\
         void *createInferRuntime_INTERNAL(void *logger, int version) {{ __builtin_trap(); }}\n"
        ),
    )
}

/// A driver whose `cuInit` returns `code`, with `devices` devices.
pub(crate) fn driver(out: &Path, code: i32, devices: i32) {
    c(
        out,
        "libcuda.so.1",
        &format!(
            "static int synchronized;\n\
         int cuInit(unsigned flags) {{ return {code}; }}\n\
         int cuDriverGetVersion(int *version) {{ *version = 13000; return 0; }}\n\
         int cuDeviceGetCount(int *count) {{ *count = {devices}; return 0; }}\n\
         int cuStreamSynchronize(void *stream) {{ ++synchronized; return 0; }}\n\
         int cuDeviceGet(int *device, int ordinal) {{ *device = 70 + ordinal; return 0; }}\n\
         int cuDeviceGetName(char *name, int length, int device) {{\n\
           const char *text = \"A card\"; int i = 0;\n\
           for (; text[i]; ++i) name[i] = text[i];\n\
           name[i] = 0; return device == 70 ? 0 : 1;\n\
         }}\n\
         int cuDeviceGetUuid(unsigned char *uuid, int device) {{\n\
           for (int i = 0; i < 16; ++i) uuid[i] = 16 * (i % 16) + 5;\n\
           return 0;\n\
         }}\n\
         int cuDeviceTotalMem_v2(unsigned long *bytes, int device) {{ *bytes = 24ul << 30; return 0; }}\n\
         int cuDeviceGetAttribute(int *value, int which, int device) {{\n\
           *value = which == 75 ? 8 : which == 76 ? 9 : which == 16 ? 142 : -1; return 0;\n\
         }}\n\
         int fake_synchronized(void) {{ return synchronized; }}\n"
        ),
    );
}

fn c(out: &Path, name: &str, source: &str) -> PathBuf {
    std::fs::create_dir_all(out).unwrap();
    let (file, library) = (out.join(format!("{name}.c")), out.join(name));
    std::fs::write(&file, source).unwrap();
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    run(compiler.args(["-w", "-fPIC", "-shared"]).arg(&file).arg("-o").arg(&library));
    library
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The stubs: for each class, one that overrides all its pure methods.
fn stubs(include: &Path) -> String {
    let read = |name: &str| without_comments(&std::fs::read_to_string(include.join(name)).unwrap());
    let (implementation, parser) = (read("NvInferImpl.h"), read("NvOnnxParser.h"));
    let mut out = String::new();
    for (class, namespace, stub) in STUBS {
        let (header, base) = match *namespace {
            "nvinfer1" => (&implementation, format!("apiv::{class}")),
            _ => (&parser, (*class).to_owned()),
        };
        // TensorRT has no runtime cache.
        let Some(body) = body(header, class) else { continue };
        writeln!(out, "namespace {namespace} {{\nstruct {stub} : {base}\n{{").unwrap();
        for method in pure_methods(body) {
            writeln!(out, "    {method} override {{ unexpected({:?}); }}", format!("{class}: {method}")).unwrap();
        }
        out.push_str("};\n}\n");
    }
    for (class, namespace, stub) in STUBS.iter().filter(|(_, namespace, _)| *namespace != "nvinfer1") {
        let _ = class;
        writeln!(out, "using {namespace}::{stub};").unwrap();
    }
    out
}

/// Without comments, and without what a feature macro of NVIDIA's own builds adds.
fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find("/*") {
        out.push_str(&rest[..begin]);
        rest = rest[begin..].split_once("*/").map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    let mut out: Vec<&str> = out.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    while let Some(begin) = out.iter().position(|line| line.starts_with("#if ENABLE_FEATURE_")) {
        let end = out[begin..].iter().position(|line| line.starts_with("#endif")).expect("an end");
        out.drain(begin..=begin + end);
    }
    out.join("\n")
}

/// The text between the braces of a class.
fn body<'t>(text: &'t str, class: &str) -> Option<&'t str> {
    let begin = text.match_indices(&format!("class {class}")).find_map(|(at, head)| {
        let rest = &text[at + head.len()..];
        let brace = rest.find('{')?;
        // Neither a declaration nor a longer name.
        let between = &rest[..brace];
        (!between.contains(';') && between.starts_with([' ', '\n'])).then_some(at + head.len() + brace + 1)
    })?;
    let mut depth = 1;
    let end = text[begin..].char_indices().find_map(|(at, char)| {
        depth += match char {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        (depth == 0).then_some(begin + at)
    })?;
    Some(&text[begin..end])
}

/// The pure virtual methods, in the form that overrides them.
fn pure_methods(body: &str) -> impl Iterator<Item = String> {
    body.split(';').filter_map(|statement| {
        let words = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        let method = words.split_once("virtual ")?.1.strip_suffix("= 0")?.replace("= nullptr", "");
        Some(method.replace("TRT_NODISCARD ", "").replace("TRT_DEPRECATED ", "").trim().to_owned())
    })
}
