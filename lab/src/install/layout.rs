//! What the installed tree looks like: on Linux a library with its chain of names, on Windows a DLL and the import library
//! that hosts link.

use std::io;

use crate::host::WORKER;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What a host links with on Linux; also the end of the chain of links.
const LINK_NAME: &str = "libcoverslip.so";

/// Places below the prefix, with `/`.
pub(super) struct Layout {
    /// The shared library.
    pub(super) library: String,
    /// The worker, where the library looks for it.
    pub(super) worker: String,
    /// Symbolic links, and what they lead to.
    pub(super) links: Vec<(String, String)>,
    /// The property by which CMake tells the linker of the library.
    pub(super) linking: String,
    /// Files that are made here, with their content.
    pub(super) made: Vec<(String, Vec<u8>)>,
}

impl Layout {
    /// For a library of this major version of the contract.
    ///
    /// # Errors
    /// This system's is not known.
    pub(super) fn new(contract: u32) -> io::Result<Layout> {
        if cfg!(windows) {
            return Ok(Layout {
                library: "bin/coverslip.dll".into(),
                worker: format!("bin/{WORKER}"),
                links: Vec::new(),
                linking: "IMPORTED_IMPLIB \"${_coverslip_prefix}/lib/coverslip.lib\"".into(),
                made: vec![("lib/coverslip.lib".into(), import_library()?)],
            });
        }
        if !cfg!(target_os = "linux") {
            let text = "`coverslip install` knows the trees of Linux and Windows only; copy the library by hand";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let (real_name, soname) = (format!("{LINK_NAME}.{VERSION}"), format!("{LINK_NAME}.{contract}"));
        Ok(Layout {
            library: format!("lib/{real_name}"),
            worker: format!("lib/{WORKER}"),
            linking: format!("IMPORTED_SONAME \"{soname}\""),
            links: vec![(format!("lib/{soname}"), real_name), (format!("lib/{LINK_NAME}"), soname)],
            made: Vec::new(),
        })
    }

    /// The library's own name.
    pub(super) fn library_name(&self) -> &str {
        self.library.rsplit('/').next().unwrap_or(&self.library)
    }
}

/// The import library of `coverslip.dll`, in the short form that the linkers of MSVC, LLVM and GNU take.
#[cfg(windows)]
fn import_library() -> io::Result<Vec<u8>> {
    use ar_archive_writer::{COFFShortExport, MachineTypes, write_import_library};

    let machine = if cfg!(target_arch = "aarch64") { MachineTypes::ARM64 } else { MachineTypes::AMD64 };
    let entry = COFFShortExport {
        name: "coverslip_get_api".into(),
        ext_name: None,
        symbol_name: None,
        import_name: None,
        export_as: None,
        ordinal: 0,
        noname: false,
        data: false,
        private: false,
        constant: false,
    };
    let mut library = io::Cursor::new(Vec::new());
    write_import_library(&mut library, "coverslip.dll", &[entry], machine, false, false, &[])?;
    Ok(library.into_inner())
}

#[cfg(not(windows))]
fn import_library() -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::Unsupported.into())
}
