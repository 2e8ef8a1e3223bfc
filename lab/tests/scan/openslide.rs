//! OpenSlide is somebody else's code, in C: whatever it does with a file, the command ends in one sentence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{COMMAND, bundle, folder, stderr};

/// A library of OpenSlide's interface that does what the file's name says.
const LIBRARY: &str = r#"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *name;
const char *openslide_get_version(void) { return "9.9"; }
void *openslide_open(const char *path) {
    name = strdup(strrchr(path, '/') + 1);
    if (strstr(name, "crash-at-open")) *(volatile int *)0 = 1;
    return (void *)name;
}
void openslide_close(void *slide) { (void)slide; }
const char *openslide_get_error(void *slide) { (void)slide; return NULL; }
int32_t openslide_get_level_count(void *slide) { (void)slide; return 1; }
void openslide_get_level_dimensions(void *slide, int32_t level, int64_t *w, int64_t *h) {
    (void)slide, (void)level;
    *w = *h = 448;
}
void openslide_read_region(void *slide, uint32_t *to, int64_t x, int64_t y, int32_t level, int64_t w, int64_t h) {
    (void)slide, (void)x, (void)y, (void)level;
    if (strstr(name, "abort-at-read")) abort();
    while (strstr(name, "all-memory")) {
        char *more = malloc(64 << 20);
        if (more == NULL) abort();
    }
    for (int64_t i = 0; i < w * h; i++) to[i] = 0xFFC080A0u;
}
const char *openslide_get_property_value(void *slide, const char *name) {
    (void)slide;
    return strncmp(name, "openslide.mpp", 13) == 0 ? "0.5" : NULL;
}
const char *const *openslide_get_associated_image_names(void *slide) {
    static const char *const none[] = {NULL};
    (void)slide;
    return none;
}
void openslide_get_associated_image_dimensions(void *s, const char *n, int64_t *w, int64_t *h) { (void)s, (void)n, (void)w, (void)h; }
"#;

fn library() -> PathBuf {
    let (source, library) = (folder().join("openslide.c"), folder().join("libopenslide-odd.so"));
    fs::write(&source, LIBRARY).unwrap();
    coverslip_testkit::run(coverslip_testkit::cc().args(["-shared", "-fPIC", "-w", "-o"]).args([&library, &source]));
    library
}

fn scanned(library: &Path, name: &str) -> Output {
    let slide = folder().join(format!("{name}.odd"));
    fs::write(&slide, "nothing that anybody reads").unwrap();
    let mut command = Command::new(COMMAND);
    command.arg("scan").arg(&slide).args(["--reader", "openslide", "--bundle"]).arg(bundle());
    command.arg("--out").arg(folder().join(format!("{name}-out"))).env("COVERSLIP_OPENSLIDE", library);
    command.output().unwrap()
}

#[test]
fn whatever_openslide_does_the_command_ends_in_a_sentence() {
    let library = library();
    let whole = scanned(&library, "good");
    assert!(whole.status.success(), "{}", stderr(&whole));
    for name in ["crash-at-open", "abort-at-read", "all-memory"] {
        let output = scanned(&library, name);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("OpenSlide 9.9") && said.contains("it crashed, or took more memory"), "{name}: {said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("coverslip: ")).count(), 1, "{name}: {said}");
    }
}
